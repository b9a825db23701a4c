import random
from pathlib import Path

import pytest

from collector import seen
from collector.duckdb_store import DuckDBStore
from collector.seen import Seen
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import count, decoded


def test_what_is_new_is_known_to_be_and_what_came_before_is_doubted() -> None:
    memory = Seen(100)
    assert memory.doubtful([(101, "a"), (102, "b")]) == []
    assert memory.doubtful([(103, "c"), (102, "b"), (101, "a")]) == [1, 2]
    assert memory.doubtful([(104, "d"), (104, "d")]) == [1]


def test_what_began_before_the_memory_did_is_always_looked_up() -> None:
    assert Seen(100).doubtful([(100, "a"), (99, "b"), (101, "c")]) == [0, 1]


def test_nothing_that_was_forgotten_passes_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MARKS_MAX", 16_384)
    rng, memory, came = random.Random(7), Seen(0), []
    for first in range(0, 65_536, 1_024):
        rows = [(first + rng.randrange(2_500), str(first + n)) for n in range(1_024)]
        memory.doubtful(rows)
        came += rows
        assert len(memory._young) + len(memory._old) < 16_384 + 1_024
    again = rng.sample(came, 5_000)
    assert memory.doubtful(again) == list(range(5_000))


def test_a_span_is_stored_once_when_it_comes_late_again_and_beside_new_ones(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "MARKS_MAX", 4)  # forgotten after two or three
    traces = []
    for number in range(8):
        trace = Trace(seed=number)
        trace.call(start_ns=NOW_NS + number)
        traces.append(trace)
        store.write([decoded(trace)], now_ns=NOW_NS)
    for trace in traces:
        assert store.write([decoded(trace)], now_ns=NOW_NS).duplicates == 1
    assert count(store, "calls") == 8


def test_a_store_that_is_opened_again_knows_what_it_holds(tmp_path: Path) -> None:
    trace = Trace()
    trace.call()
    for duplicates in (0, 1, 1):
        store = DuckDBStore(tmp_path / "one.duckdb", now_ns=NOW_NS)
        assert store.write([decoded(trace)], now_ns=NOW_NS).duplicates == duplicates
        assert count(store, "calls") == 1
        store.close()
