"""One way in for every transport: admit, decode in a thread, commit, answer."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from collector.decode import BadBody, Reception, count_points, decode_traces
from collector.events import decode_logs
from collector.gunzip import TooLarge, gunzip
from collector.meters import Meters
from collector.normalising import Normaliser
from collector.pricing import Pricing
from collector.rows import Batch, EvaluationRow
from collector.store import StoreError, StoreRefused
from collector.writer import Writer
from telemetry.clock import Clock

log = logging.getLogger("tierwise.collector")


class Signal(StrEnum):
    """What OTLP carries."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A request that was committed; ``rejected`` of its records were not kept, ``message`` why."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may be held in memory, and what may be kept."""

    queue_rows: int
    body_bytes: int  # of one request, before and after decompression
    content: bool = False  # keep the bodies of log records


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How foreign calls are priced and evaluators' words become quality.

    ``authenticated`` says that whoever sends has shown the collector's token.
    """

    pricing: Pricing
    normaliser: Normaliser
    authenticated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """One OTLP request as it came, whichever transport brought it."""

    signal: Signal
    body: bytes
    json: bool = False
    gzip: bool = False


class Busy(Exception):
    """The collector cannot take more now; the sender should try again in a second."""


class Intake:
    """Bounds what is held in memory: rows by ``queue_rows``, bodies by ``body_bytes``."""

    def __init__(
        self,
        writer: Writer,
        *,
        rules: Rules,
        meters: Meters,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._writer = writer
        self._rules = rules
        self._meters = meters
        self._clock = clock
        self._limits = limits
        self._rows = 0
        self._bytes = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._active = 0
        # One decoder at a time: two would only fight for the interpreter.
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tierwise-decode")

    @property
    def draining(self) -> bool:
        return self._draining

    def admit(self, size: int = 0) -> None:
        """Raise ``Busy`` when a body of ``size`` bytes cannot be held now."""
        if self._draining:
            raise Busy("the collector is shutting down")
        if self._rows >= self._limits.queue_rows:
            raise Busy(f"{self._rows} rows wait for the store")
        if self._bytes and self._bytes + size > 2 * self._limits.body_bytes:
            raise Busy(f"{self._bytes} bytes of requests wait to be decoded")

    async def take(self, export: Export) -> Accepted:
        """Decode and commit one export.

        Raises:
            Busy: nothing was kept; the sender should try again.
            BadBody, TooLarge: nothing was kept; sending it again changes nothing.
        """
        size = len(export.body)
        self.admit(size)
        self._bytes += size
        self._active += 1
        self._idle.clear()
        try:
            batch = await self._decode(export)
            return await self._commit(export.signal, batch)
        finally:
            self._bytes -= size
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _decode(self, export: Export) -> Batch:
        started = self._clock.monotonic()
        reception = Reception(
            received_ns=self._clock.now_ns(),
            pricing=self._rules.pricing,
            content=self._limits.content,
        )
        try:
            batch = await asyncio.get_running_loop().run_in_executor(
                self._decoder, decoded, export, reception, self._limits.body_bytes
            )
        except (BadBody, TooLarge):
            raise
        except MemoryError as error:
            raise Busy("there is not enough memory to decode this now") from error
        except Exception as error:  # said as a refusal of this body, never as a bare 500
            log.exception("a body could not be decoded by a fault of the collector's own")
            raise BadBody(f"a fault of the collector's own: {error!r:.200}") from error
        self._rules.normaliser.fill(batch.evaluations)
        for row in batch.evaluations:
            row.authenticated = self._rules.authenticated
        self._meters.stage_seconds.labels("decode").inc(self._clock.monotonic() - started)
        return batch

    async def _commit(self, signal: Signal, batch: Batch) -> Accepted:
        records = batch.records
        self._count(signal, batch)
        if records:
            if self._rows and self._rows + records > self._limits.queue_rows:
                self._meters.dropped.labels("queue").inc(records)
                raise Busy(f"{self._rows} rows wait for the store")
            self._hold(records)
            committed = self._writer.submit(batch)
            committed.add_done_callback(lambda _: self._hold(-records))
            try:
                # A sender that hangs up does not undo the commit that it started.
                await asyncio.shield(committed)
            except StoreRefused as error:
                self._meters.dropped.labels("refused").inc(records)
                raise BadBody(str(error)) from error
            except StoreError as error:
                self._meters.dropped.labels("store").inc(records)
                raise Busy(str(error)) from error
        return Accepted(rejected=batch.rejected_count, message=_why(batch))

    async def keep(self, rows: Sequence[EvaluationRow]) -> None:
        """Commit evaluations that came over the console's API.

        Raises:
            Busy: nothing was kept; the sender should try again.
            BadBody: nothing was kept; sending it again changes nothing.
        """
        self.admit()
        await self._commit(Signal.LOGS, Batch(evaluations=list(rows)))

    def _hold(self, records: int) -> None:
        self._rows += records
        self._meters.queue.set(self._rows)

    def _count(self, signal: Signal, batch: Batch) -> None:
        meters = self._meters
        kept = batch.points if signal is Signal.METRICS else len(batch.logs)
        if signal is Signal.TRACES:
            kept = batch.records - len(batch.evaluations)
        meters.received.labels(signal.value).inc(kept + batch.rejected_count)
        for reason, count in batch.rejected.items():
            meters.rejected.labels(signal.value, reason.value).inc(count)
        meters.uncoerced.inc(batch.uncoerced)
        meters.truncated.inc(batch.truncated)
        meters.biased.inc(batch.biased)

    async def drain(self, seconds: float) -> None:
        """Refuse new requests and wait for those under way."""
        self._draining = True
        with contextlib.suppress(TimeoutError):  # the writer still commits what it holds
            await asyncio.wait_for(self._idle.wait(), seconds)
        self._decoder.shutdown(wait=False)


def decoded(export: Export, reception: Reception, bytes_max: int) -> Batch:
    """Return the rows of one export; runs in the decoder's thread.

    Raises:
        BadBody: the body is not what it should be.
        TooLarge: it is over the limit when decompressed.
    """
    body = gunzip(export.body, bytes_max) if export.gzip else export.body
    if export.signal is Signal.TRACES:
        return decode_traces(body, reception, json=export.json)
    if export.signal is Signal.LOGS:
        return decode_logs(body, reception, json=export.json)
    return Batch(points=count_points(body, json=export.json))


_MEANINGS: Final = {
    "trace_id": "trace id is not 16 bytes or all zero",
    "span_id": "span id is not 8 bytes or all zero",
    "time": "time is unset, before 2000 or in the future",
    "value": "an evaluation without a name, or without a score or a label",
}


def _why(batch: Batch) -> str:
    return "; ".join(f"{count}: {_MEANINGS[reason]}" for reason, count in batch.rejected.items())
