"""The audit log: one chain, whose every break is found."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.auditlog import Deed, append, check, hash_of, page, read_file, verify, verify_file
from collector.desk import Desk, Row
from collector.store import StoreUnavailable

ROWS = 6


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "t.desk")
    yield made
    made.close()


def fill(desk: Desk, count: int = ROWS) -> None:
    for number in range(count):
        with desk.transaction() as change:
            deed = Deed(actor="ada", at_ns=number, reason=None if number % 2 else "why")
            append(
                change,
                deed,
                action="pin",
                subject=f"role{number}",
                before=None,
                after={"n": number},
            )


def tamper(desk: Desk, *statements: str) -> None:
    with desk.transaction() as change:
        change.run("DROP TRIGGER audit_log_keeps")
        change.run("DROP TRIGGER audit_log_keeps_all")
        for statement in statements:
            change.run(statement)


def test_an_untouched_log_is_whole(desk: Desk, tmp_path: Path) -> None:
    assert verify(desk).fault is None
    fill(desk)
    found = verify(desk)
    assert (found.rows, found.fault) == (ROWS, None)
    assert verify_file(tmp_path / "t.desk") == found
    assert verify(desk, noted=found.head).fault is None


def test_the_table_itself_refuses_to_change_or_remove_a_row(desk: Desk) -> None:
    fill(desk)
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), desk.transaction() as done:
            done.run(statement)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_log SET actor = 'eve' WHERE sequence = 3", "row 3 was changed"),
        ("UPDATE audit_log SET reason = 'other' WHERE sequence = 1", "row 1 was changed"),
        ("UPDATE audit_log SET reason = '' WHERE sequence = 2", "row 2 was changed"),
        ("UPDATE audit_log SET at_ns = 9 WHERE sequence = 6", "row 6 was changed"),
        ("DELETE FROM audit_log WHERE sequence = 1", "row 1 is missing"),
        ("DELETE FROM audit_log WHERE sequence = 4", "row 4 is missing"),
        ("DELETE FROM audit_log WHERE sequence = 6", "missing at the end"),
        ("DELETE FROM audit_log", "missing at the end"),
        (
            "UPDATE audit_log SET sequence = CASE sequence WHEN 2 THEN -3 ELSE -2 END "
            "WHERE sequence IN (2, 3)",
            "row 1 is missing: row -3",
        ),
    ],
)
def test_every_tampering_is_found_with_its_place(desk: Desk, statement: str, fault: str) -> None:
    fill(desk)
    tamper(desk, statement)
    found = verify(desk).fault
    assert found is not None
    assert fault in found


def test_a_row_that_was_hashed_again_breaks_the_one_after_it(desk: Desk) -> None:
    fill(desk)
    row = desk.rows("SELECT * FROM audit_log WHERE sequence = 3")[0] | {"actor": "eve"}
    tamper(desk, f"UPDATE audit_log SET actor = 'eve', hash = '{hash_of(row)}' WHERE sequence = 3")
    assert verify(desk).fault == "row 4 does not follow on the row before it"


def test_a_log_that_was_rewritten_whole_lacks_the_head_that_was_noted(
    desk: Desk, tmp_path: Path
) -> None:
    fill(desk)
    noted = verify(desk).head
    other = Desk(tmp_path / "other.desk")
    fill(other, 3)
    assert verify(other).fault is None
    fault = verify(other, noted=noted).fault
    assert fault is not None
    assert "noted head" in fault
    other.close()


def test_a_page_is_newest_first_with_its_values_opened(desk: Desk) -> None:
    fill(desk)
    rows = page(desk, limit=2, before=5)
    assert [row["sequence"] for row in rows] == [4, 3]
    assert rows[0]["after"] == {"n": 3}


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nothing"):
        verify_file(tmp_path / "nothing.desk")


def swapped(rows: list[Row], one: int, other: int) -> list[Row]:
    rows[one], rows[other] = rows[other], rows[one]
    return rows


def dropped(rows: list[Row], one: int, _: int) -> list[Row]:
    return rows[:one] + rows[one + 1 :]


def repeated(rows: list[Row], one: int, other: int) -> list[Row]:
    rows.insert(other, rows[one])
    return rows


def edited(rows: list[Row], one: int, _: int) -> list[Row]:
    rows[one] = rows[one] | {"subject": "another"}
    return rows


@given(
    how=st.sampled_from([swapped, dropped, repeated, edited]),
    one=st.integers(0, ROWS - 1),
    other=st.integers(0, ROWS - 1),
)
def test_no_change_of_the_rows_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory,
    how: Callable[[list[Row], int, int], list[Row]],
    one: int,
    other: int,
) -> None:
    rows, head = chain(tmp_path_factory)
    changed = how(list(rows), one, other)
    assert (check(changed, head).fault is None) == (changed == rows)


_CHAIN: list[tuple[list[Row], str | None]] = []


def chain(folders: pytest.TempPathFactory) -> tuple[list[Row], str | None]:
    if not _CHAIN:
        path = folders.mktemp("chain") / "t.desk"
        desk = Desk(path)
        fill(desk)
        desk.close()
        _CHAIN.append(read_file(path))
    return _CHAIN[0]
