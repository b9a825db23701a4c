"""The edge of retention: sums of what was removed stay, whatever comes late."""

import random
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.migrations import MIGRATIONS
from collector.rolling import DAY_NS
from collector.rollup_queries import NS
from collector.rows import Batch
from tests.collector.chains import SECOND, Try, chain, task_word, word
from tests.collector.otlp import NOW_NS

HOUR_NS = 60 * NS
KEPT_DAYS = 5
FOREVER_DAYS = 3_650
BEGIN = NOW_NS // HOUR_NS * HOUR_NS
CUT = BEGIN + 90 * NS  # half past the second hour: what is older is past its retention
LATER = CUT + KEPT_DAYS * DAY_NS
OPEN = BEGIN + 2 * HOUR_NS  # the first hour whose facts, and those before them, are all there
TABLES = (
    "rollups", "rollups_decisions", "rollups_tasks", "rollups_latency", "rollups_latency_hours",
    "rollups_latency_days", "rollups_savings", "learning_attempts", "learning_labels",
    "learning_excess", "learning_talks", "learning_verdicts",
)  # fmt: skip


def opened(folder: Path, *, days: int, now_ns: int = NOW_NS) -> DuckDBStore:
    return DuckDBStore(folder / f"{days}.duckdb", now_ns=now_ns, keep_days=(FOREVER_DAYS, days))


def taken(store: DuckDBStore, *batches: Batch, now_ns: int = LATER) -> None:
    store.write(batches, now_ns=now_ns)
    while store.roll_up(now_ns):
        pass


def sums(store: DuckDBStore, *, before_ns: int | None = None) -> dict[str, list[Any]]:
    """Return all roll-ups but those by the day, or those of the time before ``before_ns``."""
    found = {}
    for table in TABLES:
        sql = f"SELECT * FROM {table} "
        if before_ns is not None:
            sql += f"WHERE minute < {before_ns // NS}"
        rows = store.read(sql)
        found[table] = sorted(
            [{k: round(v, 9) if isinstance(v, float) else v for k, v in r.items()} for r in rows],
            key=repr,
        )
    return found


def minutely(*, minutes: range) -> list[Batch]:
    """Return a step every minute; conversations of seven go on across hours."""
    dice = random.Random(3)
    batches = []
    for minute in minutes:
        tries = [Try(tier="small", failed=True), Try(tier="mid")][dice.randrange(2) :]
        at = BEGIN + minute * NS
        step = chain(minute + 1, tries, start_ns=at, trace=10_000 + minute // 7)
        batches += [step, word(minute + 1, dice.random(), at=at + 5 * SECOND)]
    return batches


def late(minute: int, *, number: int, trace: int | None = None) -> Batch:
    """Return a step of then that comes only now."""
    return chain(number, [Try(tier="small")], start_ns=BEGIN + minute * NS + SECOND, trace=trace)


@pytest.fixture
def pruned(tmp_path: Path) -> Any:
    """A store of four hours, the first of them and half of the second past their retention."""
    store = opened(tmp_path, days=KEPT_DAYS)
    taken(store, *minutely(minutes=range(240)), now_ns=BEGIN + 4 * HOUR_NS)
    store.prune(LATER)
    yield store
    store.close()


def test_a_late_step_of_the_hour_at_the_edge_leaves_the_sums_of_pruned_minutes(
    pruned: DuckDBStore,
) -> None:
    before = sums(pruned, before_ns=OPEN)
    assert sum(row["calls"] for row in before["rollups"]) > 120
    for minute in (10, 65, 89, 91, 119):
        taken(pruned, late(minute, number=1_000 + minute, trace=10_000 + minute // 7))
    assert sums(pruned, before_ns=OPEN) == before


def test_late_words_on_the_hour_at_the_edge_leave_its_sums(pruned: DuckDBStore) -> None:
    before = sums(pruned, before_ns=OPEN)
    for minute in (10, 95, 119):
        taken(pruned, word(minute + 1, 0.0, at=LATER, name="late"))
        taken(pruned, task_word(10_000 + minute // 7, 0.0, at=LATER))
    assert sums(pruned, before_ns=OPEN) == before


def test_hours_after_the_edge_are_summed_as_if_nothing_had_been_removed(
    pruned: DuckDBStore, tmp_path: Path
) -> None:
    """Also conversations that began before the edge and go on after it."""
    whole = opened(tmp_path, days=FOREVER_DAYS)
    taken(whole, *minutely(minutes=range(240)), now_ns=BEGIN + 4 * HOUR_NS)
    whole.prune(LATER)
    assert sums(pruned) == sums(whole)
    steps = [late(minute, number=2_000 + minute) for minute in (120, 121, 150, 180)]
    words = [word(number, 0.0, at=LATER, name="late") for number in (121, 124, 190)]
    for store in (pruned, whole):
        taken(store, *steps, *words)
    assert sums(pruned) == sums(whole)
    whole.close()


def test_a_task_that_began_before_the_edge_is_counted_once(pruned: DuckDBStore) -> None:
    counted = "SELECT sum(tasks)::INTEGER AS n FROM rollups_tasks"
    (before,) = pruned.read(counted)
    for minute in (120, 127):  # that of minutes 119 to 125
        taken(pruned, late(minute, number=3_000 + minute, trace=10_000 + 119 // 7))
    assert pruned.read(counted) == [before]


def test_a_longer_retention_does_not_open_hours_whose_facts_are_gone(
    pruned: DuckDBStore, tmp_path: Path
) -> None:
    before = sums(pruned, before_ns=OPEN)
    pruned.close()
    (tmp_path / f"{KEPT_DAYS}.duckdb").rename(tmp_path / f"{FOREVER_DAYS}.duckdb")
    store = opened(tmp_path, days=FOREVER_DAYS, now_ns=LATER)
    taken(store, late(10, number=4_000), late(95, number=4_001))
    store.prune(LATER)
    taken(store, late(11, number=4_002))
    assert sums(store, before_ns=OPEN) == before
    store.close()


def test_facts_are_removed_by_whole_hours(pruned: DuckDBStore) -> None:
    (first,) = pruned.read("SELECT min(start_ns) AS at FROM calls")
    assert first["at"] == BEGIN + HOUR_NS


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ("false", 0),
        (f"start_ns < {CUT}", (BEGIN + HOUR_NS) // NS),
        ("true", (BEGIN + 3 * HOUR_NS) // NS),
    ],
)
def test_an_older_store_finds_where_its_facts_begin(
    tmp_path: Path, removed: str, expected: int
) -> None:
    store = opened(tmp_path, days=FOREVER_DAYS)
    taken(store, *minutely(minutes=range(240)), now_ns=BEGIN + 4 * HOUR_NS)
    connection = store._connection
    connection.execute("DELETE FROM state WHERE name = 'pruned_before_minute'")
    for table in ("calls", "decisions"):
        connection.execute(f"DELETE FROM {table} WHERE {removed}")
    connection.execute(dict(MIGRATIONS)[10])
    (found,) = store.read("SELECT value FROM state WHERE name = 'pruned_before_minute'")
    assert found["value"] == expected
    store.close()
