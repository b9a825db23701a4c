"""From (decision, outcome) to OTLP endpoints, without ever blocking or breaking a request.

``record`` appends to a bounded queue. The event loop encodes a few steps per turn, right after
the requests that produced them, so the work never comes in bursts; batches leave every 200 ms, or
at 512 spans or 256 KiB. One exporter lives in each worker process, on that worker's event loop.
"""

import asyncio
import os
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from telemetry import names
from telemetry.clock import Clock
from telemetry.config import TelemetryConfig
from telemetry.encoding import SpanEncoder, VerdictEncoder
from telemetry.endpoints import Target, collector_target, other_targets
from telemetry.metrics import Meters
from telemetry.otlp import VALUE_CHARS_MAX, Envelope, Signal
from telemetry.records import Decision, Outcome
from telemetry.resource import resource
from telemetry.sender import Sender, Tools
from telemetry.spans import Content, describe
from telemetry.spool import Batch, Spool
from telemetry.transport import open_transport

SLICE_STEPS: Final = 8  # encoded per turn of the event loop: about 0.2 ms
SLICE_STEPS_MAX: Final = 64  # when more than that finish in one turn, as under a full load
BATCH_RECORDS: Final = 512
BATCH_BYTES: Final = 262_144  # putting one together takes the loop about 0.1 ms
FLUSH_SECONDS: Final = 0.2
METRICS_SECONDS: Final = 60.0
CONTENT_BYTES_MAX: Final = 33_554_432  # text waiting in memory; beyond it spans go without
ALL_ENDPOINTS: Final = "all"  # the label of what is dropped before any endpoint sees it


class _Step(NamedTuple):
    decision: Decision
    outcome: Outcome
    baggage: tuple[tuple[str, str], ...]
    content: Content | None
    spans: int
    content_bytes: int
    told: bool = True  # False: its spans were sent before, and only its verdicts are news


class _Pile:
    """Encoded records of one signal, for those who get everything and for those who do not."""

    def __init__(self, signal: Signal, envelope: Envelope) -> None:
        self._signal = signal
        self._envelope = envelope
        self._everything: list[bytes] = []
        self._sampled: list[bytes] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._everything) >= BATCH_RECORDS or self._bytes >= BATCH_BYTES

    def add(self, record: bytes, *, sampled: bool) -> None:
        self._everything.append(record)
        self._bytes += len(record)
        if sampled:
            self._sampled.append(record)

    def batches(self) -> tuple[Batch | None, Batch | None]:
        """Take all of it: everything, and the sampled part."""
        everything, sampled = self._everything, self._sampled
        self._everything, self._sampled, self._bytes = [], [], 0
        whole = self._batch(everything)
        part = whole if len(sampled) == len(everything) else self._batch(sampled)
        return whole, part

    def _batch(self, records: list[bytes]) -> Batch | None:
        if not records:
            return None
        return Batch(self._signal, self._envelope.wrap(records), len(records))


class Exporter:
    """Sends every step to the collector, and sampled steps to all other endpoints.

    ``collector`` is where it takes ``config.protocol``, or None. ``state_dir`` holds the spool.
    ``worker`` tells apart the workers that share it. All methods belong on one event loop.

    Raises:
        ConfigError: an endpoint of the configuration or the environment cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the composition of the whole: all it needs comes from outside
        self,
        config: TelemetryConfig,
        *,
        collector: str | None,
        collector_token: str | None = None,
        state_dir: Path,
        worker: str,
        clock: Clock,
        rng: random.Random,
        meters: Meters,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._tools = Tools(clock, rng, meters)
        self._meters = meters
        self._clock = clock
        own = None
        if collector:
            own = collector_target(collector, token=collector_token, protocol=config.protocol)
        self._targets = [own] if own else []
        self._targets += other_targets(config, env, collector=own)
        self._baggage = _free_keys(config.baggage)
        self._spool_root = state_dir / "spool"
        self._worker = worker
        limit = _chars_limit(env)
        chars_max = VALUE_CHARS_MAX if limit is None else limit
        self._spans = SpanEncoder(
            chars_max=chars_max,
            content_chars_max=min(config.content_bytes_max, limit or config.content_bytes_max),
        )
        self._verdicts = VerdictEncoder(chars_max=chars_max)
        envelope = Envelope(resource(worker=worker), scope=names.SCOPE, schema_url=names.SCHEMA_URL)
        self._envelope = envelope
        self._span_pile = _Pile(Signal.TRACES, envelope)
        self._log_pile = _Pile(Signal.LOGS, envelope)
        self._waiting: deque[_Step] = deque()
        self._waiting_spans = 0
        self._content_bytes = 0
        self._senders: list[Sender] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._started_ns = clock.now_ns()
        self._metrics_seconds = _metrics_seconds(env)
        self._metrics_due = clock.monotonic() + self._metrics_seconds

    @property
    def targets(self) -> Sequence[Target]:
        """The endpoints, the collector first."""
        return tuple(self._targets)

    async def start(self) -> None:
        """Begin to send. Steps recorded before are kept until now."""
        self._loop = asyncio.get_running_loop()
        for target in self._targets:
            spool = None
            if target.everything and self._config.spool_mb:
                spool = Spool(
                    self._spool_root,
                    worker=self._worker,
                    bytes_max=self._config.spool_mb * 1_048_576,
                )
            sender = Sender(
                target,
                open_transport(target, clock=self._clock),
                tools=self._tools,
                queue_records=self._config.queue_spans,
                spool=spool,
            )
            sender.start()
            self._senders.append(sender)
        self._arm()
        self._schedule()

    def record(
        self,
        decision: Decision,
        outcome: Outcome,
        *,
        baggage: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        content: Content | None = None,
    ) -> None:
        """Hand over a step; never blocks and never raises, drops and counts when full."""
        try:
            self._record(decision, outcome, baggage, content)
        except Exception:  # noqa: BLE001 - telemetry must not break a request, whatever it is given
            self._meters.fault("a step could not be recorded")

    def judged(self, decision: Decision, outcome: Outcome) -> None:
        """Hand over verdicts on a step that was recorded before; never blocks and never raises.

        ``outcome`` holds the attempts that they are of, with these verdicts and no others.
        """
        try:
            if self._targets and self._room(1):
                self._put(_Step(decision, outcome, (), None, 1, 0, told=False))
        except Exception:  # noqa: BLE001 - telemetry must not break anything, whatever it is given
            self._meters.fault("a verdict could not be recorded")

    async def close(self, timeout_seconds: float = 5.0) -> None:
        """Send what can be sent in time; the collector's rest goes to disk, others' is dropped."""
        deadline = self._clock.monotonic() + timeout_seconds
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._encode_slice()
            await asyncio.sleep(0)
        self._loop, self._closed = None, True
        self._flush()
        self._offer_metrics()
        remaining = max(0.0, deadline - self._clock.monotonic())
        await asyncio.gather(*(sender.close(timeout_seconds=remaining) for sender in self._senders))
        self._meters.publish()

    # Taking in ---------------------------------------------------------------------------------

    def _record(
        self,
        decision: Decision,
        outcome: Outcome,
        baggage: Mapping[str, str] | Sequence[tuple[str, str]],
        content: Content | None,
    ) -> None:
        self._meters.count("tierwise_telemetry_recorded_total")
        if not self._targets:
            return
        spans = 1 + len(outcome.attempts)
        if not self._room(spans):
            return
        size = 0
        if content is not None:
            content = self._admitted(content)
            size = 0 if content is None else content.bytes
        allowed = self._allowed(baggage) if self._baggage and baggage else ()
        self._put(_Step(decision, outcome, allowed, content, spans, size))

    def _room(self, spans: int) -> bool:
        """Say whether so many more may wait; what may not is counted as dropped."""
        if self._closed or self._waiting_spans + spans > self._config.queue_spans:
            self._count_dropped("shutdown" if self._closed else "queue_full", spans)
            return False
        return True

    def _put(self, step: _Step) -> None:
        self._waiting.append(step)
        self._waiting_spans += step.spans
        self._content_bytes += step.content_bytes
        if not self._scheduled:
            self._schedule()

    def _allowed(
        self, baggage: Mapping[str, str] | Sequence[tuple[str, str]]
    ) -> tuple[tuple[str, str], ...]:
        given = dict(baggage)
        return tuple((key, given[key]) for key in self._baggage if key in given)

    def _admitted(self, content: Content) -> Content | None:
        if not self._config.content:
            return None
        content = content.cut(self._config.content_bytes_max)
        if self._content_bytes + content.bytes > CONTENT_BYTES_MAX:
            self._count_dropped("content_full", 1)
            return None
        return content

    def _schedule(self) -> None:
        if self._loop is not None and self._waiting:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    # Encoding ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = False
        self._encode_slice()
        self._schedule()

    def _encode_slice(self) -> None:
        waiting = len(self._waiting)
        for _ in range(min(waiting, max(SLICE_STEPS, min(waiting // 4, SLICE_STEPS_MAX)))):
            step = self._waiting.popleft()
            self._waiting_spans -= step.spans
            self._content_bytes -= step.content_bytes
            try:
                self._encode(step)
            except Exception:  # noqa: BLE001 - one odd step must not cost the others
                self._count_dropped("encoding", step.spans)
                self._meters.fault("a step could not be encoded")
        if self._span_pile.full or self._log_pile.full:
            self._flush()

    def _encode(self, step: _Step) -> None:
        decision, outcome = step.decision, step.outcome
        spans = []
        if step.told:
            spans = describe(decision, outcome, baggage=step.baggage, content=step.content)
        encoded = [self._spans.encode(span) for span in spans]
        events = self._verdicts.encode(decision, outcome)
        for span in encoded:
            self._span_pile.add(span, sampled=outcome.sampled)
        for event in events:
            self._log_pile.add(event, sampled=outcome.sampled)

    # Sending on --------------------------------------------------------------------------------

    def _arm(self) -> None:
        assert self._loop is not None
        self._due = self._loop.time() + FLUSH_SECONDS
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        self._meters.loop_lag(self._loop.time() - self._due)
        try:
            self._flush()
            self._meters.publish()
            if self._clock.monotonic() >= self._metrics_due:
                self._metrics_due = self._clock.monotonic() + self._metrics_seconds
                self._offer_metrics()
        except Exception:  # noqa: BLE001 - the timer must go on
            self._meters.fault("a batch could not be put together")
        self._arm()

    def _flush(self) -> None:
        for pile in (self._span_pile, self._log_pile):
            everything, sampled = pile.batches()
            for sender in self._senders:
                batch = everything if sender.target.everything else sampled
                if batch is not None:
                    sender.offer(batch)

    def _offer_metrics(self) -> None:
        metrics = self._meters.conventions.encode(
            start_ns=self._started_ns, now_ns=self._clock.now_ns()
        )
        if metrics:
            batch = Batch(Signal.METRICS, self._envelope.wrap(metrics), len(metrics))
            for sender in self._senders:
                sender.offer(batch)

    def _count_dropped(self, cause: str, records: int) -> None:
        labels = (ALL_ENDPOINTS, Signal.TRACES.value, cause)
        self._meters.count("tierwise_telemetry_dropped_total", records, labels=labels)


def _free_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that baggage may use: none of ours, and none that model calls carry."""
    taken = ("gen_ai.", "tierwise.")
    return tuple(key for key in keys if key not in names.ATTRIBUTES and not key.startswith(taken))


def _chars_limit(env: Mapping[str, str]) -> int | None:
    """Return the operator's limit on an attribute's value, in characters (1 or more)."""
    for variable in ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"):
        text = env.get(variable, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    return None


def _metrics_seconds(env: Mapping[str, str]) -> float:
    text = env.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    return max(0.1, int(text) / 1_000) if text.isdigit() else METRICS_SECONDS
