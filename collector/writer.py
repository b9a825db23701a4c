"""The one thread that writes: it gathers what waits into one commit and answers when it holds."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from collector.meters import Meters
from collector.rows import Batch
from collector.store import Store, StoreError, StoreRefused, StoreUnavailable, own_fault
from telemetry.clock import Clock

ROWS_PER_COMMIT: Final = 4_096
GATHER_SECONDS: Final = 0.05
QUIET_SECONDS: Final = 0.004  # nothing came for so long: commit what there is
ROLL_UP_SECONDS: Final = 2.0
PRUNE_SECONDS: Final = 3_600.0
QUEUE_REQUESTS_MAX: Final = 16_384

log = logging.getLogger("tierwise.collector")


@dataclass(slots=True)
class _Job:
    batch: Batch
    done: "asyncio.Future[None]"
    loop: asyncio.AbstractEventLoop

    def answer(self, error: StoreError | None) -> None:
        """Tell the waiting request; it may be gone, with its loop."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, error)

    def _set(self, error: StoreError | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Writer:
    """Owns the store: opens it, writes, rolls up, prunes and closes it, all in its thread."""

    def __init__(self, open_store: Callable[[], Store], *, meters: Meters, clock: Clock) -> None:
        self._open_store = open_store
        self._meters = meters
        self._clock = clock
        self._queue: queue.Queue[_Job | None] = queue.Queue(maxsize=QUEUE_REQUESTS_MAX)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._store: Store | None = None
        self._failing: str | None = None  # which work failed last
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="tierwise-writer", daemon=True)
        self._rolled_at = self._pruned_at = clock.monotonic()

    def start(self) -> Store:
        """Open the store in the writer's thread and return it for reading.

        Raises:
            StoreError, ConfigError: what opening raised.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        assert self._store is not None
        return self._store

    def trouble(self) -> str | None:
        """Return why the last commit or roll-up failed; None while all is well.

        All is well again after the next commit, after a roll-up when it was that which failed, and
        once the store was mended.
        """
        return self._trouble

    def submit(self, batch: Batch) -> "asyncio.Future[None]":
        """Queue ``batch``; the future is done when it is committed, or holds the ``StoreError``."""
        loop = asyncio.get_running_loop()
        job = _Job(batch, loop.create_future(), loop)
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            job.done.set_exception(
                StoreUnavailable("too many requests wait for the store", hint="try again shortly")
            )
        return job.done

    def stop(self, seconds: float) -> bool:
        """Commit what is queued, close the store and end; say whether it did in time."""
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._store = self._open_store()
        except BaseException as error:  # noqa: BLE001 - start() raises it where it can be told
            self._failure = error
            self._ready.set()
            return
        self._ready.set()
        store = self._store
        while True:
            jobs, last = self._gather()
            if jobs:
                self._commit(store, jobs)
            if last:
                break
            self._upkeep(store)
        self._finish(store)

    def _finish(self, store: Store) -> None:
        try:
            store.roll_up(self._clock.now_ns())
        except Exception:  # whatever it is, the store is still to be closed
            log.exception("the last roll-up failed")
        try:
            store.close()
        except Exception:  # what was acknowledged was committed before
            log.exception("closing the store failed")

    def _gather(self) -> tuple[list[_Job], bool]:
        """Return the jobs of one commit, and whether the thread is to end after them."""
        try:
            first = self._queue.get(timeout=ROLL_UP_SECONDS / 2)
        except queue.Empty:
            return [], False
        if first is None:
            return [], True
        jobs, rows = [first], first.batch.records
        until = self._clock.monotonic() + GATHER_SECONDS
        while rows < ROWS_PER_COMMIT and self._clock.monotonic() < until:
            try:
                job = self._queue.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            rows += job.batch.records
        return jobs, False

    def _commit(self, store: Store, jobs: list[_Job]) -> None:
        try:
            self._write(store, [job.batch for job in jobs])
        except StoreRefused:
            self._commit_singly(store, jobs)
        except Exception as error:  # noqa: BLE001 - each is answered, and the only writer goes on
            failure = self._failed("commit", error)
            for job in jobs:
                job.answer(failure)
        else:
            for job in jobs:
                job.answer(None)

    def _commit_singly(self, store: Store, jobs: list[_Job]) -> None:
        """Find the batch at fault, so that its neighbours do not suffer for it."""
        for job in jobs:
            try:
                self._write(store, [job.batch])
            except StoreRefused as error:
                job.answer(error)
            except Exception as error:  # noqa: BLE001 - as above
                job.answer(self._failed("commit", error))
            else:
                job.answer(None)

    def _write(self, store: Store, batches: list[Batch]) -> None:
        started = self._clock.monotonic()
        written = store.write(batches, now_ns=self._clock.now_ns())
        meters = self._meters
        meters.commit_seconds.observe(self._clock.monotonic() - started)
        self._well()
        meters.stored.inc(written.records)
        meters.duplicates.inc(written.duplicates)
        meters.corrections.inc(written.corrections)
        for stage, seconds in written.seconds.items():
            meters.stage_seconds.labels(stage).inc(seconds)

    def _upkeep(self, store: Store) -> None:
        """Roll up and prune when it is time; a failure is counted and tried again next time."""
        now = self._clock.monotonic()
        try:
            if now - self._rolled_at >= ROLL_UP_SECONDS:
                mended = store.mend()
                store.roll_up(self._clock.now_ns())
                if mended or self._failing == "upkeep":
                    self._well()
                spent = self._clock.monotonic() - now
                self._meters.stage_seconds.labels("roll_up").inc(spent)
                # A long roll-up is followed by a longer pause, so that it never takes the thread.
                self._rolled_at = self._clock.monotonic() + 4 * spent
            if now - self._pruned_at >= PRUNE_SECONDS:
                self._pruned_at = now
                store.prune(self._clock.now_ns())
        except Exception as error:  # noqa: BLE001 - the only writer outlives whatever it is
            self._rolled_at = now
            self._failed("upkeep", error)

    def _well(self) -> None:
        self._meters.store_up.set(1)
        self._failing = self._trouble = None

    def _failed(self, work: str, error: Exception) -> StoreError:
        """Tell what failed; return it as those who wait are told it."""
        if not isinstance(error, StoreError):
            log.error("%s failed by a fault of the collector's own", work, exc_info=error)
            error = own_fault(error)
        self._meters.store_errors.labels(work).inc()
        self._meters.store_up.set(0)
        if self._trouble is None or not self._trouble.endswith(str(error)):  # said once
            log.error("%s failed: %s", work, error)
        self._failing, self._trouble = work, f"{work} failed: {error}"
        return error
