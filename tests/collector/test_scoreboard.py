"""What the scoreboard says of chains that were counted by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.duckdb_store import DuckDBStore
from collector.migrations import MIGRATIONS
from collector.scoreboard import RoleBoard, scoreboard
from tests.collector.chains import SECOND, Try, chain
from tests.collector.otlp import NOW_NS

START = NOW_NS - 600 * SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    yield made
    made.close()


def board(store: DuckDBStore) -> RoleBoard:
    store.roll_up(NOW_NS)
    (role,) = scoreboard(store, now_ns=NOW_NS, window_seconds=3_600).roles
    return role


def keep_chains(store: DuckDBStore) -> None:
    handed = Try(tier="code", error="abstained")
    crashed = Try(tier="code", error="code_crash")
    chains = [
        ([Try(tier="code")], None),  # the function answered
        ([handed, Try(tier="small")], "code"),
        ([crashed, Try(tier="small")], "code"),
        ([handed, Try(tier="small", failed=True), Try(tier="mid")], "small"),
        ([Try(tier="code", failed=True), Try(tier="small")], "code"),  # its answer failed a check
        ([Try(tier="small", failed=True), Try(tier="mid")], "small"),
        ([Try(tier="small")], None),
        ([Try(tier="small")], None),
    ]
    for number, (tries, escalated_from) in enumerate(chains, start=1):
        whole = chain(number, tries, start_ns=START + number * SECOND)
        whole.decisions[0].escalated_from = escalated_from
        store.write([whole], now_ns=NOW_NS)


def test_a_function_s_abstention_is_no_escalation(store: DuckDBStore) -> None:
    keep_chains(store)
    found = board(store)
    assert found.decisions == 8
    assert found.abstention_rate == pytest.approx(3 / 8)
    assert found.escalation_rate == pytest.approx(3 / 8)
    assert found.first_tier_pass_rate == pytest.approx(5 / 8)


def test_an_older_store_s_escalations_are_counted_again(store: DuckDBStore) -> None:
    keep_chains(store)
    expected = board(store)
    store._connection.execute("ALTER TABLE rollups_decisions DROP COLUMN abstained")
    store._connection.execute("UPDATE rollups_decisions SET escalated = 6")
    store._connection.execute(dict(MIGRATIONS)[6])
    assert board(store) == expected


def test_the_roll_up_of_an_hour_keeps_abstentions(store: DuckDBStore) -> None:
    keep_chains(store)
    expected = board(store)
    later = NOW_NS + 4 * 86_400 * SECOND
    store.prune(later)
    window = (later - START) / SECOND + 7_200
    (role,) = scoreboard(store, now_ns=later, window_seconds=window).roles
    assert (role.abstention_rate, role.escalation_rate) == (
        expected.abstention_rate,
        expected.escalation_rate,
    )


def test_a_step_that_escalated_and_failed_all_the_same_counts_once(store: DuckDBStore) -> None:
    lost = chain(
        1, [Try(tier="small", error="down"), Try(tier="mid", error="down")], start_ns=START
    )
    lost.decisions[0].escalated_from = "small"
    alone = chain(2, [Try(tier="small", error="down")], start_ns=START + SECOND)
    fine = chain(3, [Try(tier="small")], start_ns=START + 2 * SECOND)
    for batch in (lost, alone):
        batch.decisions[0].status = 2
    for batch in (lost, alone, fine):
        store.write([batch], now_ns=NOW_NS)
    found = board(store)
    assert found.escalation_rate == pytest.approx(1 / 3)
    assert found.first_tier_pass_rate == pytest.approx(1 / 3)
