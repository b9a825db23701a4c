import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from collector import writer as writing
from collector.decode import decode_traces
from collector.meters import Meters
from collector.rows import Batch
from collector.store import StoreRefused, StoreUnavailable, Written
from collector.writer import Writer
from telemetry.clock import SystemClock
from tests.collector.test_decode import RECEPTION, SOUND


class Recording:
    """Remembers commits; refuses batches that are marked."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.bad: list[Batch] = []
        self.down = False
        self.closed = False
        self.confused = False
        self.mended = False
        self.worse: Exception | None = None

    def mend(self) -> bool:
        mended, self.mended = self.mended, False
        return mended

    def write(self, batches: Sequence[Batch], *, now_ns: int) -> Written:
        if self.down:
            raise StoreUnavailable("the disk is full", hint="try again")
        if any(batch is bad for batch in batches for bad in self.bad):
            raise StoreRefused("a value is at fault", hint="try again")
        if self.worse is not None:
            raise self.worse
        self.commits.append(len(batches))
        return Written(records=len(batches))

    def roll_up(self, now_ns: int) -> int:
        if self.confused:
            raise AssertionError("never so")
        return 0

    def prune(self, now_ns: int) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


def begin(store: Any) -> Writer:
    writer = Writer(lambda: store, meters=Meters(), clock=SystemClock())
    writer.start()
    return writer


def batch() -> Batch:
    return decode_traces(SOUND.body(), RECEPTION)


async def test_what_waits_together_is_committed_together() -> None:
    store = Recording()
    writer = begin(store)
    await asyncio.gather(*(writer.submit(batch()) for _ in range(50)))
    assert sum(store.commits) == 50
    assert len(store.commits) < 25
    assert writer.stop(10)
    assert store.closed


async def test_a_batch_at_fault_does_not_take_its_neighbours_with_it() -> None:
    store = Recording()
    writer = begin(store)
    batches = [batch() for _ in range(5)]
    store.bad.append(batches[2])
    found = await asyncio.gather(*(writer.submit(each) for each in batches), return_exceptions=True)
    assert [type(one) for one in found] == [
        type(None), type(None), StoreRefused, type(None), type(None),
    ]  # fmt: skip
    assert writer.trouble() is None
    assert writer.stop(10)


async def test_trouble_is_told_and_forgotten_when_it_passes() -> None:
    store = Recording()
    writer = begin(store)
    store.down = True
    with pytest.raises(StoreUnavailable):
        await writer.submit(batch())
    assert "disk is full" in (writer.trouble() or "")
    store.down = False
    await writer.submit(batch())
    assert writer.trouble() is None
    assert writer.stop(10)


async def test_a_fault_in_upkeep_is_told_and_does_not_end_the_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "ROLL_UP_SECONDS", 0.02)
    store = Recording()
    store.confused = True
    writer = begin(store)
    until = time.monotonic() + 10
    while writer.trouble() is None and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert "a fault of the collector's own: AssertionError('never so')" in (writer.trouble() or "")
    store.confused = False
    await writer.submit(batch())
    assert writer.stop(10)


@pytest.mark.parametrize("single", [False, True])
async def test_a_fault_that_no_store_should_let_out_is_answered_and_does_not_end_the_writer(
    single: bool,
) -> None:
    store = Recording()
    writer = begin(store)
    store.worse = MemoryError("no memory to recover in")
    batches = [batch() for _ in range(3)]
    if single:
        store.bad.append(batches[0])
    async with asyncio.timeout(10):
        found = await asyncio.gather(
            *(writer.submit(each) for each in batches), return_exceptions=True
        )
    assert [type(one) for one in found[1:]] == [StoreUnavailable] * 2
    assert "a fault of the collector's own: MemoryError" in (writer.trouble() or "")
    store.worse = None
    await writer.submit(batch())
    assert writer.trouble() is None
    assert writer.stop(10)


async def test_trouble_ends_when_upkeep_has_mended_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "ROLL_UP_SECONDS", 0.02)
    store = Recording()
    writer = begin(store)
    store.down = True
    with pytest.raises(StoreUnavailable):
        await writer.submit(batch())
    await asyncio.sleep(0.1)
    assert "disk is full" in (writer.trouble() or "")
    store.mended = True
    async with asyncio.timeout(10):
        while writer.trouble() is not None:
            await asyncio.sleep(0.01)
    assert writer.stop(10)


async def test_what_is_queued_at_the_end_is_still_committed() -> None:
    store = Recording()
    writer = begin(store)
    waiting = [writer.submit(batch()) for _ in range(10)]
    assert await asyncio.to_thread(writer.stop, 10)
    await asyncio.gather(*waiting)
    assert sum(store.commits) == 10


def test_a_store_that_does_not_open_is_raised_where_the_writer_starts() -> None:
    def broken() -> Any:
        raise StoreUnavailable("no such disk", hint="try again")

    with pytest.raises(StoreUnavailable, match="no such disk"):
        Writer(broken, meters=Meters(), clock=SystemClock()).start()


def test_a_fault_in_the_last_roll_up_still_closes_the_store() -> None:
    store = Recording()
    store.confused = True
    writer = begin(store)
    assert writer.stop(10)
    assert store.closed
