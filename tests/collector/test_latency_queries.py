"""Quantiles of any window are those of the calls in it, however minutes, hours and days add up."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import latency_queries
from collector.duckdb_store import DuckDBStore
from collector.latency import bucket, quantile, seconds
from collector.latency_queries import board_bounds
from collector.migrations import MIGRATIONS
from collector.queries import MINUTE_NS
from collector.rolling import BY_MINUTE_NS
from collector.scoreboard import scoreboard
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import decoded

DAY = 1_440
NOW = NOW_NS // MINUTE_NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    yield made
    made.close()


def keep(store: DuckDBStore, times: list[int], *, seed: int) -> list[tuple[int, int]]:
    """Store a call in each of the minutes; return minutes and latency buckets."""
    rng, trace, kept = random.Random(seed), Trace(seed=seed), []
    for minute in times:
        took = rng.lognormvariate(0, 1)
        role = {"gen_ai.agent.name": rng.choice(("planner", "worker"))}
        trace.call(role, start_ns=minute * MINUTE_NS, seconds=took)
        kept.append((minute, bucket(int(took * 1e9))))
    store.write([decoded(trace)], now_ns=NOW_NS)
    while store.roll_up(NOW_NS):
        pass
    return kept


def counted(store: DuckDBStore, start: int, end: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for row in store.read(latency_queries.BOARD, board_bounds(start, end)):
        found.update(dict(zip(row["buckets"], row["calls"], strict=True)))
    return found


def expected(kept: list[tuple[int, int]], start: int, end: int) -> Counter[int]:
    return Counter(number for minute, number in kept if start <= minute < end)


@given(st.integers(0, 10**7), st.integers(0, 10**5))
def test_the_bounds_cut_a_window_into_whole_days_whole_hours_and_minutes(
    start: int, length: int
) -> None:
    cut = board_bounds(start, start + length)
    assert cut["from"] == start
    assert cut["to"] == start + length
    edges = [cut[name] for name in ("from", "hours_from", "days_from", "days_to", "hours_to", "to")]
    assert edges == sorted(edges)
    assert cut["days_from"] == cut["days_to"] or cut["days_from"] % DAY == cut["days_to"] % DAY == 0
    if cut["hours_from"] < cut["hours_to"]:
        assert cut["hours_from"] % 60 == cut["hours_to"] % 60 == 0
        assert cut["hours_from"] - start < 60
        assert start + length - cut["hours_to"] < 60


def test_every_window_counts_its_calls_once_before_and_after_minutes_are_dropped(
    store: DuckDBStore,
) -> None:
    rng = random.Random(3)
    kept = keep(store, [NOW - rng.randrange(6 * DAY) for _ in range(600)], seed=1)
    for _ in range(40):
        start = NOW - rng.randrange(6 * DAY)
        end = start + rng.randrange(NOW - start + 1)
        assert counted(store, start, end) == expected(kept, start, end)
    store.prune(NOW_NS)
    edge = (NOW_NS - BY_MINUTE_NS) // MINUTE_NS // 60 * 60
    oldest = store.read("SELECT min(minute) AS minute FROM rollups_latency")[0]["minute"]
    assert oldest >= edge
    kept += keep(store, [NOW - 5 * DAY, NOW - 5 * DAY + 61, NOW - 10], seed=2)  # late ones
    assert store.read("SELECT min(minute) >= $edge AS kept FROM rollups_latency", {"edge": edge})[
        0
    ]["kept"]
    for _ in range(40):
        start = (NOW - rng.randrange(6 * DAY)) // 60 * 60
        end = min(start + rng.randrange(6 * DAY) // 60 * 60, NOW + 1)
        assert counted(store, start, end) == expected(kept, start, end)


def test_the_board_s_quantiles_are_those_of_the_calls(store: DuckDBStore) -> None:
    kept = keep(store, [NOW - n for n in range(200)], seed=5)
    found = scoreboard(store, now_ns=NOW_NS, window_seconds=86_400)
    for role in found.roles:
        assert role.latency == role.tiers[0].latency  # all calls stand on no tier
    ordered = sorted(number for _, number in kept)
    whole = Counter(ordered)
    assert quantile(whole, 0.95) == ordered[189]  # the 190th of 200
    assert quantile(whole, 0.5) == ordered[99]
    low, high = min(ordered), max(ordered)
    for role in found.roles:
        assert seconds(low) <= (role.latency.p50 or 0) <= (role.latency.p95 or 0) <= seconds(high)


def test_an_older_store_s_latencies_are_summed_by_hour_and_day(store: DuckDBStore) -> None:
    rng = random.Random(3)
    kept = keep(store, [NOW - rng.randrange(6 * DAY) for _ in range(300)], seed=1)
    connection = store._connection
    edge = NOW // 60 * 60 - 3 * DAY
    for statement in (  # as the version before kept them: hours among the minutes
        "DROP TABLE rollups_latency_hours",
        "DROP TABLE rollups_latency_days",
        f"UPDATE state SET value = {edge} WHERE name = 'hourly_before_minute'",
        f"UPDATE rollups_latency SET minute = minute // 60 * 60 WHERE minute < {edge}",
        dict(MIGRATIONS)[8],
    ):
        connection.execute(statement)
    assert store.read(f"SELECT count(*) AS n FROM rollups_latency WHERE minute < {edge}") == [
        {"n": 0}
    ]
    start = (NOW - 5 * DAY) // 60 * 60
    assert counted(store, start, NOW + 1) == expected(kept, start, NOW + 1)
