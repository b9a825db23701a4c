import asyncio
import resource
import signal
import sys
from pathlib import Path

import pytest

from telemetry.otlp import Signal
from telemetry.spool import LOCK, Batch, Limits, Spool
from tests.telemetry.exporting import make, record, running
from tests.telemetry.sinks import Sink, http_sink, until

HEAD_BYTES = 13
ROOT = Path(__file__).parents[2]


def batch(number: int, *, size: int = 100) -> Batch:
    return Batch(Signal.TRACES, bytes([number]) * size, number)


def opened(root: Path, *, worker: str = "0", bytes_max: int = 1_000_000) -> Spool:
    spool = Spool(root, worker=worker, bytes_max=bytes_max)
    spool.open()
    return spool


def drained(spool: Spool, join: Limits | None = None) -> list[Batch]:
    batches = []
    while (kept := spool.oldest(join)) is not None:
        batches.append(kept.batch)
        spool.discard(kept.names)
    return batches


def words(number: int) -> Batch:
    return Batch(Signal.LOGS, bytes([number]) * 10, number)


def written(root: Path, *batches: Batch) -> Spool:
    spool = opened(root)
    for number, one in enumerate(batches):
        spool.write(one, at_ns=1_000 + number)
    return spool


def test_batches_come_back_in_their_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    written = [batch(1), Batch(Signal.LOGS, b"logs", 3), batch(2)]
    for number, one in enumerate(written):
        spool.write(one, at_ns=1_000 + number)
    assert spool.bytes == 204 + 3 * HEAD_BYTES
    assert drained(spool) == written
    assert (spool.bytes, spool.files_count) == (0, 0)


def test_batches_of_one_signal_are_joined_and_spans_pass_words_but_never_the_other_way(
    tmp_path: Path,
) -> None:
    spool = written(
        tmp_path, words(1), batch(2), words(3), batch(4), words(5), words(6), batch(7), words(8)
    )
    assert [(kept.signal, kept.records) for kept in drained(spool, Limits(13, 1_000))] == [
        (Signal.LOGS, 1),
        (Signal.TRACES, 2 + 4 + 7),
        (Signal.LOGS, 3 + 5),
        (Signal.LOGS, 6),
        (Signal.LOGS, 8),
    ]
    assert (spool.bytes, spool.files_count) == (0, 0)


def test_joined_bodies_stand_end_to_end_in_their_order(tmp_path: Path) -> None:
    spool = written(tmp_path, batch(1, size=3), words(9), batch(2, size=2))
    kept = spool.oldest(Limits(100, 1_000))
    assert kept is not None
    assert kept.batch == Batch(Signal.TRACES, b"\1\1\1\2\2", 3)
    assert len(kept.names) == 2
    assert kept.files == 3  # the words between are among those that it reaches over


@pytest.mark.parametrize(
    ("limits", "joined"),
    [
        (Limits(3, 1_000), [3, 3, 4]),
        (Limits(2, 1_000), [1, 2, 3, 4]),
        (Limits(100, 200), [3, 7]),
        (Limits(100, 199), [1, 2, 3, 4]),
    ],
)
def test_a_joined_batch_stays_within_both_limits(
    tmp_path: Path, limits: Limits, joined: list[int]
) -> None:
    spool = written(tmp_path, *(batch(number) for number in range(1, 5)))
    found = drained(spool, limits)
    assert [kept.records for kept in found] == joined


def test_no_more_files_are_looked_at_than_the_limit_whatever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.spool.LOOKED_MAX", 3)
    spool = written(tmp_path, batch(1), words(2), batch(3), batch(4))
    assert [kept.records for kept in drained(spool, Limits(100, 1_000))] == [1 + 3, 2, 4]


def test_a_torn_file_among_joined_ones_is_skipped_counted_and_removed(tmp_path: Path) -> None:
    spool = written(tmp_path, batch(1), batch(2), batch(4))
    torn = sorted((tmp_path / "0").glob("*.otlp"))[1]
    torn.write_bytes(torn.read_bytes()[:-1])
    assert [kept.records for kept in drained(spool, Limits(100, 1_000))] == [1 + 4]
    assert (spool.skipped_files, spool.bytes, spool.files_count) == (1, 0, 0)
    assert not torn.exists()


def test_batches_of_one_instant_keep_their_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(1, 30):
        spool.write(batch(number), at_ns=7)
    spool.close()
    assert [kept.records for kept in drained(opened(tmp_path))] == list(range(1, 30))


def test_the_oldest_make_room_and_are_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=3 * (100 + HEAD_BYTES))
    for number in range(1, 6):
        spool.write(batch(number), at_ns=number)
    assert spool.lost == {Signal.TRACES: 1 + 2}
    assert [kept.records for kept in drained(spool)] == [3, 4, 5]


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.spool.FILES_MAX", 3)
    spool = opened(tmp_path)
    for number in range(1, 6):
        spool.write(batch(number), at_ns=number)
    assert [kept.records for kept in drained(spool)] == [3, 4, 5]
    assert spool.lost == {Signal.TRACES: 1 + 2}


def test_a_smaller_limit_holds_for_what_is_found(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for number in range(1, 6):
        first.write(batch(number), at_ns=number)
    first.close()
    second = opened(tmp_path, bytes_max=2 * (100 + HEAD_BYTES))
    assert [kept.records for kept in drained(second)] == [4, 5]


@pytest.mark.parametrize("length", [0, 5, HEAD_BYTES, HEAD_BYTES + 50])
def test_a_torn_file_is_skipped_counted_and_removed(tmp_path: Path, length: int) -> None:
    spool = opened(tmp_path)
    spool.write(batch(1), at_ns=1)
    spool.write(batch(2), at_ns=2)
    torn = min((tmp_path / "0").glob("*.otlp"))
    torn.write_bytes(torn.read_bytes()[:length])
    assert drained(spool) == [batch(2)]
    assert spool.skipped_files == 1
    assert not torn.exists()


@pytest.mark.parametrize("place", [0, 4, 6, 10, HEAD_BYTES + 7])
def test_one_changed_byte_makes_a_file_corrupt(tmp_path: Path, place: int) -> None:
    spool = opened(tmp_path)
    spool.write(batch(1), at_ns=1)
    (file,) = (tmp_path / "0").glob("*.otlp")
    content = bytearray(file.read_bytes())
    content[place] ^= 0x41
    file.write_bytes(content)
    assert drained(spool) == []
    assert spool.skipped_files == 1


def test_a_file_that_somebody_removed_is_skipped(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.write(batch(1), at_ns=1)
    spool.write(batch(2), at_ns=2)
    min((tmp_path / "0").glob("*.otlp")).unlink()
    assert drained(spool) == [batch(2)]


def test_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    opened(tmp_path).close()
    part = tmp_path / "0" / "00000000000000000001-0000000001-00000001.otlp.part"
    part.write_bytes(b"half")
    spool = opened(tmp_path)
    assert not part.exists()
    assert spool.files_count == 0


def test_a_live_workers_files_are_left_alone(tmp_path: Path) -> None:
    first = opened(tmp_path, worker="0")
    first.write(batch(1), at_ns=1)
    second = opened(tmp_path, worker="1")
    assert second.oldest() is None
    first.close()
    second.adopt()
    assert drained(second) == [batch(1)]


def test_two_processes_of_one_name_have_a_directory_each(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.write(batch(1), at_ns=1)
    second.write(batch(2), at_ns=2)
    assert drained(first) == [batch(1)]
    assert drained(second) == [batch(2)]
    assert {path.parent.name for path in tmp_path.rglob(LOCK)} == {"0", "0.1"}


def test_what_several_dead_workers_left_is_adopted_in_order_of_time(tmp_path: Path) -> None:
    for worker, times in (("3", (10, 40)), ("4", (20, 30))):
        dead = opened(tmp_path, worker=worker)
        for at_ns in times:
            dead.write(batch(at_ns), at_ns=at_ns)
        dead.close()
    assert [kept.records for kept in drained(opened(tmp_path))] == [10, 20, 30, 40]


def test_strange_files_in_the_root_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    spool = opened(tmp_path)
    assert spool.oldest() is None
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_a_disk_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    (tmp_path / "0" / LOCK).unlink()
    (tmp_path / "0").rmdir()
    with pytest.raises(OSError, match="No such file"):
        spool.write(batch(1), at_ns=1)
    assert (spool.bytes, spool.files_count) == (0, 0)


def test_a_full_disk_is_an_error_and_leaves_no_half_file(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(OSError, match="File too large"):
        limited_write(spool)
    assert not list((tmp_path / "0").glob("*.part"))
    assert (spool.bytes, spool.files_count) == (0, 0)
    spool.write(batch(1), at_ns=1)
    assert drained(spool) == [batch(1)]


def limited_write(spool: Spool) -> None:
    """Write while the system lets no file grow beyond 1 KiB: what a full disk looks like."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, before[1]))
    try:
        spool.write(batch(1, size=10_000), at_ns=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def killed_worker(state_dir: Path, name: str, port: int) -> list[str]:
    """Start a worker, kill it once its steps are on disk, and return their span ids."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.telemetry.worker", str(state_dir), name, str(port),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()
    word, *ids = line.decode().split()
    assert word == "ready"
    return ids


async def test_what_killed_workers_left_is_delivered_by_the_next_process(tmp_path: Path) -> None:
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    ids = [
        span_id
        for left in await asyncio.gather(
            killed_worker(tmp_path, "1", port), killed_worker(tmp_path, "2", port)
        )
        for span_id in left
    ]
    assert len(set(ids)) == 200
    async with http_sink(sink, port=port):
        exporter, meters = make(tmp_path, collector=sink.url, worker="0")
        async with running(exporter):
            ids += record(exporter, 10, seed=3)
            await until(lambda: len(sink.spans) == 220 and len(sink.events) == 110)
            await until(lambda: meters.value("tierwise_telemetry_replayed_total") == 300)
    assert sorted(sink.span_ids) == sorted(ids)


async def test_two_live_workers_deliver_a_dead_ones_files_once(tmp_path: Path) -> None:
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    ids = await killed_worker(tmp_path, "7", port)
    async with http_sink(sink, port=port):
        first, _ = make(tmp_path, collector=sink.url, worker="0")
        second, _ = make(tmp_path, collector=sink.url, worker="1")
        async with running(first), running(second):
            await until(lambda: len(sink.spans) >= 100)
            await asyncio.sleep(0.3)
    assert sorted(sink.span_ids) == sorted(ids)
