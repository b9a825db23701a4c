"""One endpoint's queue: send, try again, and for the collector keep on disk what cannot be sent.

Every endpoint has a sender of its own, so a slow one delays no other, and never a request.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from telemetry.clock import Clock
from telemetry.endpoints import Target
from telemetry.metrics import Meters
from telemetry.otlp import Signal
from telemetry.spool import Batch, Limits, Spool
from telemetry.transport import Reply, Transport, Verdict

QUEUE_BYTES_MAX: Final = 33_554_432
# Of one request that several batches are joined into; gRPC servers take 4 MiB by default.
REQUEST: Final = Limits(records=4_096, bytes=2_097_152)
BACKOFF_SECONDS_FIRST: Final = 0.25
BACKOFF_SECONDS_MAX: Final = 10.0
RETRY_AFTER_SECONDS_MAX: Final = 120.0
RETRY_SECONDS_MAX: Final = 300.0  # how long one batch is tried again where there is no spool
SPOOL_SECONDS: Final = 1.0  # how often what has come in is written while the collector is away

_Result = TypeVar("_Result")
_log = logging.getLogger("tierwise.telemetry")


class Tools(NamedTuple):
    """What every part of the exporter needs from outside."""

    clock: Clock
    rng: random.Random
    meters: Meters


class Sender:
    """Sends batches to one endpoint, in the order they were offered."""

    def __init__(
        self,
        target: Target,
        transport: Transport,
        *,
        tools: Tools,
        queue_records: int,
        spool: Spool | None = None,
    ) -> None:
        self._target = target
        self._transport = transport
        self._clock, self._rng, self._meters = tools
        self._queue_records = queue_records
        self._queue: deque[Batch] = deque()
        self._records = 0
        self._bytes = 0
        self._spool = spool
        self._disk = ThreadPoolExecutor(1, "tierwise-spool") if spool is not None else None
        self._files_skipped = 0  # as counted so far
        self._spool_failing = False
        self._replay_next = False
        self._apart = 0  # so many of the oldest files are sent each on its own
        self._failures = 0
        self._retry_after = 0.0
        self._failing_since: float | None = None
        self._refusals: set[str] = set()
        self._wake = asyncio.Event()
        self._crowded = asyncio.Event()  # half of the queue is full
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def target(self) -> Target:
        """The endpoint."""
        return self._target

    def start(self) -> None:
        """Begin to send; call it inside a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def offer(self, batch: Batch) -> None:
        """Queue a batch, or drop it and count that when the queue is full."""
        if self._target.addresses.get(batch.signal) is None:
            return
        records, size = self._records + batch.records, self._bytes + len(batch.body)
        if records > self._queue_records or size > QUEUE_BYTES_MAX:
            self._dropped(batch, "queue_full")
            return
        self._queue.append(batch)
        self._records, self._bytes = records, size
        self._wake.set()
        if records * 2 > self._queue_records or size * 2 > QUEUE_BYTES_MAX:
            self._crowded.set()

    async def close(self, *, timeout_seconds: float) -> None:
        """Send what can be sent in time; then keep the rest on disk, or drop and count it."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write_queue()
        while self._queue:
            self._dropped(self._take(), "shutdown")
        await self._transport.close()
        if self._spool is not None and self._disk is not None:
            await self._on_disk(self._spool.close)
            self._disk.shutdown(wait=False)

    # The loop ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                if self._spool is not None:
                    await self._guarded(self._spool.open)
                    self._show_spool()
                await self._send_all()
                return
            except Exception:  # noqa: BLE001 - one endpoint's fault must not end its exporting
                self._meters.fault(f"sending to {self._target.name} failed")
                if self._closing.is_set():
                    return
                await self._pause(BACKOFF_SECONDS_MAX)

    async def _send_all(self) -> None:
        while True:
            if self._replaying():
                done = await self._replay_some()
            elif self._queue:
                done = await self._send_one()
            elif self._closing.is_set():
                return
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            if not done:
                if self._closing.is_set():
                    return
                await self._back_off()

    def _replaying(self) -> bool:
        """Old batches go first after a failure, else in turn with new ones."""
        if self._spool is None or not self._spool.files_count or self._closing.is_set():
            return False
        return self._replay_next or not self._queue

    async def _send_one(self) -> bool:
        """Send the head of the queue; return False when it has to be tried again."""
        batch = self._take_joined()
        try:
            reply = await self._sent(batch)
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        self._replay_next = True
        if reply.verdict is not Verdict.RETRY:
            self._settled(batch, reply)
            return True
        self._failed(reply)
        if batch.signal is Signal.METRICS:
            self._dropped(batch, "unreachable")  # the next ones are cumulative and hold it
        elif self._expired():
            self._dropped(batch, "expired")
        else:
            self._put_back(batch)
        await self._write_queue()
        return False

    async def _replay_some(self) -> bool:
        """Send the oldest batches on disk; return False when they have to be tried again."""
        spool = self._spool
        assert spool is not None
        kept = await self._guarded(partial(spool.oldest, None if self._apart else REQUEST))
        self._show_spool()
        if kept is None:
            return True
        reply = await self._sent(kept.batch)
        if reply.verdict is Verdict.RETRY:
            self._failed(reply)
            return False
        if reply.verdict is Verdict.REFUSED and len(kept.names) > 1:
            self._apart = kept.files  # one that is at fault must not cost the others
            return True
        self._apart = max(0, self._apart - kept.files)
        await self._guarded(partial(spool.discard, kept.names))
        self._show_spool()
        self._settled(kept.batch, reply)
        if reply.verdict is Verdict.ACCEPTED:
            self._meters.count(
                "tierwise_telemetry_replayed_total", kept.batch.records - reply.rejected
            )
        self._replay_next = False
        return True

    async def _sent(self, batch: Batch) -> Reply:
        """Send a batch; while the answer takes its time and the queue fills, use the disk."""
        sending = asyncio.ensure_future(self._transport.send(batch.signal, batch.body))
        try:
            while not sending.done():
                await self._until_crowded(sending)
                if not sending.done():
                    await self._write_queue()
            return sending.result()
        except Exception as error:  # noqa: BLE001 - what a transport did not foresee is no answer
            self._meters.fault(f"sending to {self._target.name} failed")
            return Reply(Verdict.REFUSED, message=type(error).__name__)
        finally:
            sending.cancel()

    async def _back_off(self) -> None:
        """Wait before the next try; meanwhile what comes in goes to disk, if there is one."""
        exponential = BACKOFF_SECONDS_FIRST * 2.0 ** min(self._failures, 16)
        wait = min(exponential, BACKOFF_SECONDS_MAX) * self._rng.uniform(0.5, 1.0)
        wait = max(wait, min(self._retry_after, RETRY_AFTER_SECONDS_MAX))
        until = self._clock.monotonic() + wait
        while not self._closing.is_set():
            remaining = until - self._clock.monotonic()
            if remaining <= 0:
                return
            await self._pause(min(remaining, SPOOL_SECONDS))
            await self._write_queue()

    async def _pause(self, seconds: float) -> None:
        """Sleep, but wake up for closing, and when half of the queue has filled."""
        closing = asyncio.ensure_future(self._closing.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await self._until_crowded(sleeping, closing)
        finally:
            closing.cancel()
            sleeping.cancel()

    async def _until_crowded(self, *others: asyncio.Future[Any]) -> None:
        """Wait for the first of ``others``, or until half of the queue has filled."""
        self._crowded.clear()  # set again by the next batch: a disk that fails is not hammered
        crowded = asyncio.ensure_future(self._crowded.wait())
        try:
            await asyncio.wait({crowded, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            crowded.cancel()

    # What an answer means ----------------------------------------------------------------------

    def _failed(self, reply: Reply) -> None:
        self._failures += 1
        self._retry_after = reply.retry_after_seconds or 0.0
        self._meters.count("tierwise_telemetry_retries_total", labels=(self._target.name,))
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
            _log.warning("telemetry: %s cannot be reached: %s", self._target.name, reply.message)

    def _expired(self) -> bool:
        if self._spool is not None and not self._spool_failing:
            return False
        since = self._failing_since
        if since is None or self._clock.monotonic() - since <= RETRY_SECONDS_MAX:
            return False
        self._failing_since = self._clock.monotonic()
        return True

    def _settled(self, batch: Batch, reply: Reply) -> None:
        if self._failing_since is not None:
            _log.warning("telemetry: %s answers again", self._target.name)
        self._failures, self._failing_since = 0, None
        if reply.verdict is Verdict.REFUSED:
            self._dropped(batch, "refused")
            self._say_refused(reply.message)
            return
        rejected = min(reply.rejected, batch.records)
        self._meters.count(
            "tierwise_telemetry_exported_total",
            batch.records - rejected,
            labels=(self._target.name, batch.signal),
        )
        if rejected:
            self._count_dropped(batch.signal, "rejected", rejected)
            self._say_refused(f"took only a part: {reply.message}")

    def _say_refused(self, message: str) -> None:
        if message not in self._refusals and len(self._refusals) < 16:
            self._refusals.add(message)
            _log.warning("telemetry: %s refuses: %s", self._target.name, message)

    def _dropped(self, batch: Batch, cause: str) -> None:
        self._count_dropped(batch.signal, cause, batch.records)

    def _count_dropped(self, signal: Signal, cause: str, records: int) -> None:
        self._meters.count(
            "tierwise_telemetry_dropped_total", records, labels=(self._target.name, signal, cause)
        )

    # Queue and disk ----------------------------------------------------------------------------

    def _take(self) -> Batch:
        batch = self._queue.popleft()
        self._records -= batch.records
        self._bytes -= len(batch.body)
        return batch

    def _take_joined(self) -> Batch:
        """Take the head of the queue and what of its signal fits into one request.

        Spans pass words by, as on disk: an exporter offers both in turn.
        """
        first = self._take()
        bodies, records, size = [first.body], first.records, len(first.body)
        passed = []
        while self._queue:
            following = self._queue[0]
            if following.signal is not first.signal:
                if first.signal is not Signal.TRACES:
                    break
                passed.append(self._queue.popleft())
                continue
            records += following.records
            size += len(following.body)
            if records > REQUEST.records or size > REQUEST.bytes:
                break
            bodies.append(self._take().body)
        self._queue.extendleft(reversed(passed))
        if len(bodies) == 1:
            return first
        return Batch(first.signal, b"".join(bodies), records)

    def _put_back(self, batch: Batch) -> None:
        self._queue.appendleft(batch)
        self._records += batch.records
        self._bytes += len(batch.body)

    async def _write_queue(self) -> None:
        """Move the queue to disk; what cannot be written stays in memory."""
        spool = self._spool
        if spool is None:
            return
        while self._queue:
            batch = self._take_joined()
            if batch.signal is Signal.METRICS:
                self._dropped(batch, "unreachable")
                continue
            now_ns = self._clock.now_ns()
            written = await self._guarded(partial(_write, spool, batch, now_ns))
            if not written:
                self._put_back(batch)
                return
            self._meters.count("tierwise_telemetry_spooled_total", batch.records)
            self._show_spool()

    async def _guarded(self, call: Callable[[], _Result]) -> _Result | None:
        """Run a spool call in its thread; a disk that fails is counted and answered with None."""
        try:
            result = await self._on_disk(call)
        except OSError as error:
            self._meters.count("tierwise_telemetry_spool_errors_total")
            if not self._spool_failing:
                self._spool_failing = True
                _log.warning("telemetry: the spool cannot be used: %s", error)
            return None
        self._spool_failing = False
        return result

    async def _on_disk(self, call: Callable[[], _Result]) -> _Result:
        assert self._disk is not None
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)

    def _show_spool(self) -> None:
        spool = self._spool
        assert spool is not None
        self._meters.spool_bytes(spool.bytes)
        skipped = spool.skipped_files - self._files_skipped
        self._files_skipped = spool.skipped_files
        if skipped:
            self._meters.count("tierwise_telemetry_spool_skipped_files_total", skipped)
        while spool.lost:
            signal, records = spool.lost.popitem()
            self._count_dropped(signal, "spool_full", records)


def _write(spool: Spool, batch: Batch, at_ns: int) -> bool:
    spool.write(batch, at_ns=at_ns)
    return True
