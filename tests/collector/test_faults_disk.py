"""Disks that are full or read-only, for real: what was accepted stays, and refusals say why."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.otlp import Trace
from tests.collector.program import Ports, free_ports, launch
from tests.needs import lacking, program

# Root writes wherever it likes, so a child that is root becomes nobody.
NOBODY = 65_534
CHILD = """
import itertools, os, sys
from pathlib import Path
from collector.duckdb_store import DuckDBStore
from collector.store import StoreUnavailable
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import count, decoded
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
folder = Path(sys.argv[1])
def batch(seed):
    trace = Trace(seed=seed)
    for _ in range(10):
        trace.call()
    return [decoded(trace)]
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that belongs to whoever the child is, where that one may go."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(made, NOBODY, NOBODY)
    yield made
    for each in (made, *(path for path in made.rglob("*") if path.is_dir())):
        each.chmod(0o700)
    shutil.rmtree(made)


def child(script: str, folder: Path) -> list[str]:
    """Return the lines that a script printed."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + script + "\nsys.stdout.flush(); os._exit(0)", str(folder)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout.splitlines()


def test_a_folder_or_a_file_that_cannot_be_written_is_named(folder: Path) -> None:
    lines = child(
        """
inside = folder / "inside"
inside.mkdir()
store = DuckDBStore(inside / "t.duckdb", now_ns=NOW_NS)
store.write(batch(1), now_ns=NOW_NS)
store.close()
(inside / "t.duckdb").chmod(0o400)
inside.chmod(0o500)
for name in ("t.duckdb", "new.duckdb"):
    try:
        DuckDBStore(inside / name, now_ns=NOW_NS)
    except StoreUnavailable as error:
        print(error)
""",
        folder,
    )
    assert len(lines) >= 2
    assert f"{folder}/inside/t.duckdb" in lines[0]
    assert f"{folder}/inside/new.duckdb" in "".join(lines[1:])
    assert "".join(lines).count("Permission denied") == 2


def test_a_folder_that_becomes_read_only_refuses_and_goes_on_when_it_is_not(folder: Path) -> None:
    refused, again, *counts = child(
        """
inside = folder / "inside"
inside.mkdir()
day = 86_400_000_000_000
minutes = itertools.count(0.0, 60.0).__next__  # none of the pauses between two tries is longer
store = DuckDBStore(inside / "t.duckdb", now_ns=NOW_NS, keep_days=(1, 1), monotonic=minutes)
store.write(batch(1), now_ns=NOW_NS)
inside.chmod(0o500)
for work in (lambda: store.prune(NOW_NS + 3 * day), lambda: store.write(batch(2), now_ns=NOW_NS)):
    try:
        work()
    except StoreUnavailable as error:
        print(str(error).replace("\\n", " "))
inside.chmod(0o700)
print(store.write(batch(2), now_ns=NOW_NS).records, count(store, "calls"))
""",
        folder,
    )
    assert "Permission denied" in refused  # the log cannot be removed after a checkpoint
    assert "the store's directory must be writable" in refused
    assert "the store cannot be opened again" in again
    assert "Permission denied" in again
    assert counts == ["10 10"]  # the first ten were past their retention


def private(size_mb: int, folder: Path) -> tuple[str, ...]:
    """Return a command's prefix that gives it a disk of its own, of that size, at ``folder``."""
    unshare = program("unshare")
    prefix = (unshare, "--mount") if os.geteuid() == 0 else (unshare, "--map-root-user", "--mount")
    script = f'mount -t tmpfs -o size={size_mb}m none "{folder}" && exec "$@"'
    tried = subprocess.run(
        [*prefix, "sh", "-c", script, "sh", "true"], capture_output=True, check=False, timeout=30
    )
    if tried.returncode != 0:
        lacking("the right to mount a disk of one's own (unshare --mount)")
    return (*prefix, "sh", "-c", script, "sh")


def post(ports: Ports, trace: Trace) -> tuple[int, str]:
    """Send spans; return the status and, of a refusal, what it says."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{ports.http}/v1/traces",
        data=trace.body(),
        headers={"content-type": "application/x-protobuf"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.read() == b""
            return 200, ""
    except urllib.error.HTTPError as error:
        words = error.read().decode(errors="replace")
        return error.code, f"{words}; after {error.headers['retry-after']} s"


def filled(seed: int) -> Trace:
    trace = Trace(seed=seed)
    trace.trace_id = seed.to_bytes(16, "big")
    for _ in range(500):
        trace.call({"note": f"{seed}{trace.rng.randbytes(100).hex()}"}, start_ns=time.time_ns())
    return trace


def get(ports: Ports, path: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    address = f"http://127.0.0.1:{ports.console}{path}"
    kind = {"content-type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, data=data, headers=kind), timeout=30
        ) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


@pytest.mark.timeout(180)
def test_a_full_disk_refuses_until_there_is_room_and_loses_nothing_that_was_taken(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    ports, kept = free_ports(), 0
    process = launch(disk / "t.duckdb", ports, prefix=private(48, disk))
    try:
        inside = Path(f"/proc/{process.pid}/root{disk}")  # the disk as the collector sees it
        (inside / "ballast").write_bytes(bytes(24 * 2**20))
        seed = 0
        for seed in range(1, 200):
            status, words = post(ports, filled(seed))
            if status != 200:
                break
            kept += 500
        assert status == 503
        assert "No space left" in words
        assert "make room on the disk" in words
        assert words.endswith("after 1 s")
        assert "No space left" in str(get(ports, "/readyz")["collector"])
        for _ in range(6):  # also while it is opened anew and finds the disk still full
            status, _ = post(ports, filled(seed))
            assert status in (200, 503)
            if status == 200:
                kept, seed = kept + 500, seed + 1
        (inside / "ballast").unlink()
        until = time.monotonic() + 30
        while (status := post(ports, filled(seed))[0]) != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        kept += 500
        found = get(
            ports, "/api/sql", {"sql": "SELECT count(*), count(DISTINCT span_id) FROM calls"}
        )
        assert found["rows"] == [[kept, kept]]
        assert get(ports, "/readyz")["status"] == "ok"
        assert kept > 1_000
    finally:
        process.terminate()
        assert process.wait(60) == 0
