"""Broken disks, broken files and broken neighbours: accepted data stays, refusals say why."""

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import aiohttp
import duckdb
import pytest

from collector.decode import BadBody
from collector.duckdb_store import DuckDBStore
from collector.store import Store, StoreError, StoreUnavailable
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.program import free_ports, launch, running
from tests.collector.test_duckdb_store import count, decoded
from tests.collector.test_otlp_http import body


async def test_a_store_that_cannot_write_is_a_503_and_recovers(start: Start) -> None:
    running = await start()
    real = running.store._write  # type: ignore[attr-defined]

    def full(*_: object) -> None:
        raise duckdb.IOException("Could not write all bytes: No space left on device")

    running.store._write = full  # type: ignore[attr-defined]
    status, headers, answer = await running.post("/v1/traces", body())
    assert (status, headers["retry-after"]) == (503, "1")
    assert b"make room on the disk" in answer
    ready = await running.get("/readyz")
    assert ready["status"] == "unavailable"
    assert "No space left" in ready["collector"]
    text = running.meters.text()
    assert b'store_errors_total{work="commit"} 1.0' in text
    assert b'dropped_total{reason="store"} 3.0' in text
    running.store._write = real  # type: ignore[attr-defined]
    assert (await running.post("/v1/traces", body()))[0] == 200
    assert (await running.get("/readyz"))["status"] == "ok"


def test_a_disk_that_fills_up_refuses_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    """The kernel refuses writes past a file size, as a full disk would."""
    script = """
import os, resource, sys
from pathlib import Path
from collector.decode import BadBody
from collector.duckdb_store import DuckDBStore
from collector.store import StoreUnavailable
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import decoded
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = DuckDBStore(Path(sys.argv[1]), now_ns=NOW_NS)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
taken = 0
for seed in range(200):
    trace = Trace(seed=seed)
    for _ in range(200):
        trace.call({"x": "y" * 200})
    try:
        store.write([decoded(trace)], now_ns=NOW_NS)
    except StoreUnavailable as error:
        print(taken, error, flush=True)
        break
    taken += 200
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
trace = Trace(seed=10_001)
trace.call()
print(store.write([decoded(trace)], now_ns=NOW_NS).records)
os._exit(0)
"""
    path = tmp_path / "t.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    taken = int(done.stdout.split()[0])
    assert taken > 0
    assert done.stdout.splitlines()[-1] == "1", "it must go on once there is room again"
    store = DuckDBStore(path, now_ns=NOW_NS)
    assert count(store, "calls") >= taken
    store.close()


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        DuckDBStore(tmp_path / "file" / "t.duckdb", now_ns=NOW_NS)


def test_a_log_cut_anywhere_opens_with_a_whole_number_of_commits_or_says_why(
    tmp_path: Path,
) -> None:
    """A power cut may leave any part of the write-ahead log."""
    path = tmp_path / "t.duckdb"
    script = """
import os, sys
from pathlib import Path
from collector.decode import BadBody
from collector.duckdb_store import DuckDBStore
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import decoded
store = DuckDBStore(Path(sys.argv[1]), now_ns=NOW_NS)
for seed in range(5):
    trace = Trace(seed=seed)
    for _ in range(10):
        trace.call()
    store.write([decoded(trace)], now_ns=NOW_NS)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(path)], timeout=120, check=True)
    wal = path.with_name(path.name + ".wal")
    size = wal.stat().st_size
    assert size > 0
    seen, words = set(), []
    for cut in [*range(0, size, max(size // 24, 1)), size]:
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        copy = folder / "t.duckdb"
        shutil.copy(path, copy)
        (folder / "t.duckdb.wal").write_bytes(wal.read_bytes()[:cut])
        try:
            store = DuckDBStore(copy, now_ns=NOW_NS)
        except StoreError as error:
            words.append(str(error))
            continue
        found = count(store, "calls")
        store.close()
        assert found % 10 == 0
        seen.add(found)
    assert all("t.duckdb" in word for word in words)
    assert 50 in seen, "the whole log must bring everything back"


def test_a_second_collector_ends_with_the_holder_s_name(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with running(store, ports) as first:
        done = subprocess.run(
            [sys.executable, "-m", "tests.collector.program", str(store), *map(str, free_ports())],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert f"process {first.pid}" in done.stderr


def test_sighup_and_a_taken_port(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with running(store, ports) as first:
        first.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert first.poll() is None
        other = [str(tmp_path / "other.duckdb"), *map(str, ports)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.collector.program", *other],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert f"cannot listen on 127.0.0.1:{ports.http}" in done.stderr


async def test_sigterm_answers_what_is_under_way_and_refuses_the_rest(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    child = await asyncio.to_thread(launch, store, ports)
    answers: list[int] = []

    async def sender(session: aiohttp.ClientSession, seed: int) -> None:
        trace = Trace(seed=seed)
        for _ in range(500):
            trace.call(start_ns=time.time_ns())
        try:
            async with session.post(
                f"http://127.0.0.1:{ports.http}/v1/traces", data=trace.body(),
                headers={"content-type": "application/x-protobuf"},
            ) as answer:  # fmt: skip
                answers.append(answer.status)
        except aiohttp.ClientError:
            answers.append(0)

    async with aiohttp.ClientSession() as session:
        senders = [asyncio.create_task(sender(session, seed)) for seed in range(10)]
        await asyncio.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        await asyncio.gather(*senders)
    assert await asyncio.to_thread(child.wait, 40) == 0
    with duckdb.connect(store, read_only=True) as connection:
        stored = connection.execute("SELECT count(*) FROM calls").fetchall()[0][0]
    assert stored == 500 * answers.count(200)
    assert set(answers) <= {0, 200, 503}


async def test_a_slow_query_of_a_person_does_not_stop_spans(start: Start) -> None:
    running = await start()
    slow = "SELECT count(*) FROM range(3000000) a, range(20000) b WHERE a.range % 7 = b.range % 3"
    asked = asyncio.create_task(asyncio.to_thread(_refused, running.store, slow))
    await asyncio.sleep(0.1)
    assert (await running.post("/v1/traces", body()))[0] == 200
    assert not asked.done()
    await asked


def _refused(store: Store, sql: str) -> None:
    with pytest.raises(StoreError, match="longer than"):
        store.query(sql, rows_max=1, seconds_max=2)


async def test_memory_stays_flat_under_bombs(start: Start) -> None:

    running = await start(body_mb_max=4)
    bomb = zlib.compress(b"\0" * 100_000_000, wbits=31)
    await running.post("/v1/traces", bomb, content_encoding="gzip")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        assert (await running.post("/v1/traces", bomb, content_encoding="gzip"))[0] == 413
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB


def test_deep_values_are_cut_and_ten_thousand_levels_refused(store: DuckDBStore) -> None:
    trace, deep = Trace(), Trace()
    trace.call()
    deep.call()
    deeper = deep.scope.spans[0].attributes.add(key="deep").value
    value = trace.scope.spans[0].attributes.add(key="deep").value
    for _ in range(40):
        value = value.array_value.values.add()
    value.string_value = "x"
    for _ in range(10_000):
        deeper = deeper.array_value.values.add()
    with pytest.raises(BadBody):
        decoded(deep)
    assert store.write([decoded(trace)], now_ns=NOW_NS).records == 1
