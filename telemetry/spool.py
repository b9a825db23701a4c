"""Requests kept on disk while the collector is away: bounded, ordered, safe to adopt.

Each worker has a directory of its own below the spool's root and holds a lock on it; the lock
goes with the process, so what a dead worker left behind can be taken over by exactly one other.
A file is one request: written aside and renamed, with a checksum, so a torn one is recognised.
All calls block and belong in a thread; one thread at a time.
"""

import contextlib
import fcntl
import os
import struct
import zlib
from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from telemetry.otlp import Signal

LOCK: Final = "lock"
SUFFIX: Final = ".otlp"
INSTANCES_MAX: Final = 64  # live processes that may carry one worker's name
FILES_MAX: Final = 65_536
ADOPTED_MAX: Final = 4_096  # directories looked at
LOOKED_MAX: Final = 1_024  # files that one joined batch may reach over
_MAGIC = b"TWS1"
_SIGNALS = tuple(Signal)
_head = struct.Struct("<4sBII")  # magic, signal, records, checksum


class Batch(NamedTuple):
    """One encoded export request; ``records`` spans, log records or metrics stand in it."""

    signal: Signal
    body: bytes
    records: int


class Limits(NamedTuple):
    """How much several batches may be joined into."""

    records: int
    bytes: int


class Kept(NamedTuple):
    """A batch in the spool; ``names`` is what ``discard`` wants back."""

    names: tuple[str, ...]
    batch: Batch
    files: int  # from the oldest through the last that stands in it


class _Head(NamedTuple):
    signal: Signal
    records: int
    checksum: int


class Spool:
    """The spool of one worker.

    ``skipped_files`` counts files that could not be read whole; ``lost`` counts the records of
    files that had to make room, until somebody takes them out of it.
    """

    def __init__(self, root: Path, *, worker: str, bytes_max: int) -> None:
        self._root = root
        self._worker = worker
        self._bytes_max = bytes_max
        self._directory: Path | None = None
        self._lock: int | None = None
        self._files: deque[tuple[str, int]] = deque()  # oldest first, with their sizes
        self._serial = 0
        self.bytes = 0
        self.skipped_files = 0
        self.lost: dict[Signal, int] = {}

    @property
    def files_count(self) -> int:
        """How many batches wait."""
        return len(self._files)

    def open(self) -> None:
        """Take a directory, list what it holds, then adopt what dead workers left.

        Raises:
            OSError: the place cannot be written; call it again later.
        """
        if self._directory is None:
            self._directory, self._lock = self._own_directory()
            for leftover in self._directory.glob("*.part"):
                leftover.unlink(missing_ok=True)
        self._list()
        self.adopt()

    def close(self) -> None:
        """Release the lock; the files stay for whoever comes next."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = self._directory = None
        self._files.clear()
        self.bytes = 0

    def write(self, batch: Batch, *, at_ns: int) -> None:
        """Keep a batch; the oldest files go when it would not fit.

        Raises:
            OSError: it could not be written; nothing of it is left behind.
        """
        if self._directory is None:
            self.open()
        assert self._directory is not None
        content = _pack(batch)
        self._serial += 1
        name = f"{at_ns:020d}-{os.getpid():010d}-{self._serial:08d}{SUFFIX}"
        part = self._directory / f"{name}.part"
        try:
            part.write_bytes(content)
            part.rename(self._directory / name)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        self._files.append((name, len(content)))
        self.bytes += len(content)
        self._make_room()

    def oldest(self, join: Limits | None = None) -> Kept | None:
        """Return the oldest batch that can be read whole, and with it what ``join`` lets in.

        Joined are the batches of its signal that follow, in their order. Spans pass words by that
        lie between them; words never pass spans, so they do not come before what they speak of.
        Files that cannot be read whole are removed and counted.
        """
        first = None
        while self._files and first is None:
            name = self._files[0][0]
            first = self._read(name)
        if first is None:
            return None
        found = [(1, name, first)]
        if join is not None:
            found += self._following(first, join)
        batch = Batch(
            first.signal,
            b"".join(one.body for _, _, one in found),
            sum(one.records for _, _, one in found),
        )
        return Kept(tuple(name for _, name, _ in found), batch, found[-1][0])

    def _following(self, first: Batch, limits: Limits) -> Iterator[tuple[int, str, Batch]]:
        """Yield what may leave with the oldest: the file's number from it on, name and batch."""
        records, size = first.records, len(first.body)
        for number, (name, length) in enumerate(list(islice(self._files, 1, LOOKED_MAX)), start=2):
            head = self._head(name)
            if head is None:
                self._skip(name)
                continue
            if head.signal is not first.signal:
                if first.signal is Signal.TRACES:
                    continue
                return
            records += head.records
            size += length - _head.size
            if records > limits.records or size > limits.bytes:
                return
            batch = self._read(name)
            if batch is not None:
                yield number, name, batch

    def _read(self, name: str) -> Batch | None:
        """Return a batch; a file that cannot be read whole is removed and counted."""
        assert self._directory is not None
        try:
            batch = _unpack((self._directory / name).read_bytes())
        except OSError:
            batch = None
        if batch is None:
            self._skip(name)
        return batch

    def _head(self, name: str) -> _Head | None:
        """Return what a file's head says, which is right only if the whole file is."""
        assert self._directory is not None
        try:
            with (self._directory / name).open("rb") as file:
                return _unpack_head(file.read(_head.size))
        except OSError:
            return None

    def _skip(self, name: str) -> None:
        self.skipped_files += 1
        self.discard((name,))

    def discard(self, names: Collection[str]) -> None:
        """Forget batches that were delivered, or that cannot be."""
        if self._directory is None:
            return
        for name in names:
            with contextlib.suppress(OSError):
                (self._directory / name).unlink(missing_ok=True)
        gone, stay = set(names), []
        while gone and self._files:
            name, size = self._files.popleft()
            if name in gone:
                gone.remove(name)
                self.bytes -= size
            else:
                stay.append((name, size))
        self._files.extendleft(reversed(stay))

    def adopt(self) -> None:
        """Take over the files of workers that no longer live."""
        if self._directory is None:
            return
        for index, other in enumerate(sorted(self._root.iterdir())):
            if index >= ADOPTED_MAX:
                break
            if other == self._directory or not other.is_dir():
                continue
            lock = _try_lock(other)
            if lock is None:
                continue
            try:
                for file in other.glob(f"*{SUFFIX}"):
                    file.rename(self._directory / file.name)
            finally:
                os.close(lock)
        self._list()

    def _own_directory(self) -> tuple[Path, int]:
        for instance in range(INSTANCES_MAX):
            name = self._worker if instance == 0 else f"{self._worker}.{instance}"
            directory = self._root / name
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # text may stand in it
            lock = _try_lock(directory)
            if lock is not None:
                return directory, lock
        raise OSError(f"{self._root}: {INSTANCES_MAX} processes already carry {self._worker}")

    def _list(self) -> None:
        assert self._directory is not None
        found = []
        for file in self._directory.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                found.append((file.name, file.stat().st_size))
        self._files = deque(sorted(found))
        self.bytes = sum(size for _, size in found)
        self._make_room()

    def _make_room(self) -> None:
        while self._files and (self.bytes > self._bytes_max or len(self._files) > FILES_MAX):
            name = self._files[0][0]
            head = self._head(name)
            if head is not None:
                self.lost[head.signal] = self.lost.get(head.signal, 0) + head.records
            self.discard((name,))


def _pack(batch: Batch) -> bytes:
    head = (_MAGIC, _SIGNALS.index(batch.signal), batch.records)
    checksum = zlib.crc32(batch.body, zlib.crc32(_head.pack(*head, 0)))
    return _head.pack(*head, checksum) + batch.body


def _unpack_head(content: bytes) -> _Head | None:
    if len(content) < _head.size:
        return None
    magic, signal, records, checksum = _head.unpack_from(content)
    if magic != _MAGIC or signal >= len(_SIGNALS):
        return None
    return _Head(_SIGNALS[signal], records, checksum)


def _unpack(content: bytes) -> Batch | None:
    head = _unpack_head(content)
    if head is None:
        return None
    body = content[_head.size :]
    named = (_MAGIC, _SIGNALS.index(head.signal), head.records, 0)
    if zlib.crc32(body, zlib.crc32(_head.pack(*named))) != head.checksum:
        return None
    return Batch(head.signal, body, head.records)


def _try_lock(directory: Path) -> int | None:
    """Return a locked descriptor of the directory, or None while another process holds it."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
