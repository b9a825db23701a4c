"""Faults inside recovery: the store goes on, tries again later and later, and says why."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from collector import duckdb_file
from collector.duckdb_store import DuckDBStore
from collector.rows import Batch
from collector.store import StoreUnavailable
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import count, decoded
from tests.collector.test_otlp_http import body

FATAL = "FATAL Error: database has been invalidated"


class Watch:
    """Time that a test moves on by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def store(tmp_path: Path, watch: Watch) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS, monotonic=watch)
    yield made
    made.close()


def one(seed: int) -> Batch:
    trace = Trace(seed=seed)
    trace.call()
    return decoded(trace)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "first", [MemoryError(), duckdb.IOException("No space left on device"), KeyError("no")]
)
@pytest.mark.parametrize(
    "second", [MemoryError(), duckdb.FatalException(FATAL), AssertionError("never so")]
)
def test_a_second_fault_in_the_recovery_is_a_passing_trouble_and_loses_nothing(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch, first: Exception, second: Exception
) -> None:
    store.write([one(1)], now_ns=NOW_NS)
    with monkeypatch.context() as patch:
        patch.setattr(store._lineage, "apply", failing(first))
        patch.setattr(store, "_restore", failing(second))
        with pytest.raises(StoreUnavailable):
            store.write([one(2)], now_ns=NOW_NS)
    assert store.write([one(2)], now_ns=NOW_NS).records == 1
    assert store.write([one(1), one(2)], now_ns=NOW_NS).duplicates == 2
    assert count(store, "calls") == 2


def test_a_file_that_does_not_open_is_tried_again_later_and_later(
    store: DuckDBStore, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    tries = []
    real = duckdb_file.connect

    def away(*_: object, **__: object) -> None:
        tries.append(watch.seconds - 1_000.0)
        raise PermissionError("not now")

    monkeypatch.setattr(duckdb_file, "connect", away)
    store._file.broke(duckdb.FatalException(FATAL))
    for _ in range(1_000):
        with pytest.raises(StoreUnavailable, match="cannot be opened again"):
            store.write([one(1)], now_ns=NOW_NS)
        watch.seconds += 0.125
    assert tries == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75, 61.75, 91.75, 121.75]
    said = [entry for entry in caplog.records if "cannot be opened again" in entry.message]
    assert len(said) == len(tries)
    assert "not now" in said[0].message
    monkeypatch.setattr(duckdb_file, "connect", real)
    with pytest.raises(StoreUnavailable):
        store.write([one(1)], now_ns=NOW_NS)
    watch.seconds += 30
    assert store.write([one(1)], now_ns=NOW_NS).records == 1


def test_a_file_that_opens_and_breaks_again_is_not_opened_over_and_over(
    store: DuckDBStore, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does that: the file opens, and the next commit fails."""
    tries = []
    real = duckdb_file.connect

    def counted(path: Path, *, memory_mb: int, threads: int) -> Any:
        tries.append(watch.seconds - 1_000.0)
        return real(path, memory_mb=memory_mb, threads=threads)

    monkeypatch.setattr(duckdb_file, "connect", counted)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_write", failing(duckdb.FatalException("No space left " + FATAL)))
        for _ in range(256):
            with pytest.raises(StoreUnavailable, match="No space left"):
                store.write([one(1)], now_ns=NOW_NS)
            watch.seconds += 0.125
    assert tries == [0.125, 0.375, 0.875, 1.875, 3.875, 7.875, 15.875, 31.875]
    watch.seconds += 30
    assert store.write([one(1)], now_ns=NOW_NS).records == 1
    store._file.broke(duckdb.FatalException(FATAL))
    assert store.write([one(2)], now_ns=NOW_NS).records == 1, "a commit worked: at once again"


def test_what_was_deduced_from_spans_is_known_again_after_the_file_was_opened_anew(
    store: DuckDBStore,
) -> None:
    trace = Trace()
    root = trace.span("agent", {"gen_ai.agent.name": "planner"})
    store.write([decoded(trace)], now_ns=NOW_NS)
    store._file.broke(duckdb.FatalException(FATAL))
    child = Trace(seed=2)
    child.trace_id = trace.trace_id
    child.call(parent=root)
    store.write([decoded(child)], now_ns=NOW_NS)
    assert store.read("SELECT role FROM calls") == [{"role": "planner"}]


def test_a_fault_while_it_is_opened_anew_leaves_it_to_be_tried_again(
    store: DuckDBStore, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([one(1)], now_ns=NOW_NS)
    store._file.broke(duckdb.FatalException(FATAL))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_restore", failing(RuntimeError("a third one")))
        with pytest.raises(StoreUnavailable, match="a third one"):
            store.write([one(2)], now_ns=NOW_NS)
    watch.seconds += 1
    assert store.write([one(2)], now_ns=NOW_NS).records == 1


def test_a_file_that_is_gone_is_said_and_no_empty_one_takes_its_place(
    store: DuckDBStore, watch: Watch, tmp_path: Path
) -> None:
    store.write([one(1)], now_ns=NOW_NS)
    store.read("CHECKPOINT")
    path, aside = tmp_path / "t.duckdb", tmp_path / "aside"
    path.rename(aside)
    store._file.broke(duckdb.FatalException(FATAL))
    with pytest.raises(StoreUnavailable, match=r"t\.duckdb is gone"):
        store.write([one(2)], now_ns=NOW_NS)
    assert not path.exists()
    aside.rename(path)
    watch.seconds += 1
    assert store.write([one(2)], now_ns=NOW_NS).records == 1
    assert count(store, "calls") == 2


def test_upkeep_opens_it_anew_without_anything_being_sent(store: DuckDBStore) -> None:
    assert not store.mend()
    store._file.broke(duckdb.FatalException(FATAL))
    assert store.mend()
    assert not store.mend()
    assert store.roll_up(NOW_NS) == 0


async def test_senders_get_503_while_the_recovery_fails_and_200_when_it_is_over(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    store: Any = running.store
    assert (await running.post("/v1/traces", body()))[0] == 200
    with monkeypatch.context() as patch:
        patch.setattr(store, "_write", failing(duckdb.FatalException(FATAL)))
        patch.setattr(store, "_restore", failing(MemoryError("also no memory")))
        for _ in range(3):
            status, headers, _ = await running.post("/v1/traces", body())
            assert (status, headers["retry-after"]) == (503, "1")
        ready = await running.get("/readyz")
        assert ready["status"] == "unavailable"
        assert "also no memory" in ready["collector"]
    await running.settled("/readyz", lambda found: found["status"] == "ok")
    assert count(store, "calls") == 3, "what was acknowledged before is there"
    assert (await running.post("/v1/traces", body(seed=2)))[0] == 200
    assert count(store, "calls") == 6
