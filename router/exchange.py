"""One step on its way through the gateway: what is known of it so far."""

from dataclasses import dataclass, field
from typing import Final

from evals.answers import Answer
from evals.checks import AnyCheck, overall
from router.budget import Hold, pico
from router.facts import noted
from router.gateway import Gateway
from router.reload import Loaded
from router.request import Endpoint, Request, Scope, parent_of
from router.spending import Purse
from router.targets import Target
from router.upstream import RawHeaders
from router.usage import Reading
from telemetry import propagation
from telemetry.records import Attempt, Cause, Decision, Outcome, Result, Verdict
from telemetry.spans import Content

CLIENT_CLOSED: Final = 499  # as nginx writes a caller that hung up


@dataclass(kw_only=True, slots=True)
class Trial:
    """One attempt while it runs."""

    number: int
    cause: Cause
    tier: str
    target: Target
    span_id: str
    started_ns: int
    started: float
    status: int | None = None
    error_type: str | None = None
    first_chunk_seconds: float | None = None
    reading: Reading = field(default_factory=Reading)
    billed: bool = True  # False when the provider cannot have done any work
    answer_text: bytes = b""  # kept only when the operator records text
    verdicts: tuple[Verdict, ...] = ()
    hold: Hold | None = None  # what budgets keep for it until it is settled


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An answer that is here and has not gone out."""

    status: int
    headers: RawHeaders
    pieces: tuple[bytes, ...]  # as they came, so that a held stream is replayed frame by frame
    stream: bool
    attempt: Attempt
    verdict: Verdict | None  # of all checks; None when there was none


@dataclass(kw_only=True, slots=True)
class Grading:
    """A step whose answer was drawn to be graded: with which chance, by whom, and what came."""

    chance: float  # (0, 1]
    graders: tuple[AnyCheck, ...]
    answers: dict[int, Answer] = field(default_factory=dict)  # by number of the attempt


@dataclass(kw_only=True, slots=True)
class Exchange:
    """Mutable state of one step; frozen records are made from it when it is over."""

    gateway: Gateway
    endpoint: Endpoint
    query: str  # of the caller's URL; it goes on to the provider
    loaded: Loaded
    started: float
    decision_id: str
    trace_id: str
    span_id: str
    parent: propagation.Caller | None
    request: Request | None = None
    decision: Decision | None = None
    purse: Purse | None = None  # None: no budget applies
    grading: Grading | None = None  # None: its answer is not graded
    attempts: list[Attempt] = field(default_factory=list)
    answers: list[bytes | None] = field(default_factory=list)  # texts, one per attempt
    delivered: Attempt | None = None  # whose answer the caller gets; the last one by default
    replan: bool = False  # the plan's escalations are spent, or the top tier failed its checks
    waited_seconds: float = 0.0  # for providers and for slow checks
    overhead_seconds: float | None = None
    delivering: bool = False  # the first byte of a reply is out
    ended: bool = False

    @classmethod
    def begin(cls, gateway: Gateway, endpoint: Endpoint, scope: Scope) -> "Exchange":
        """Start the clock and name the step."""
        parent = parent_of(scope)
        return cls(
            gateway=gateway,
            endpoint=endpoint,
            query=scope.get("query_string", b"").decode("latin-1"),
            loaded=gateway.loaded(),
            started=gateway.clock.monotonic(),
            decision_id=decision_id(gateway),
            trace_id=parent.trace_id if parent else propagation.new_trace_id(gateway.rng),
            span_id=propagation.new_span_id(gateway.rng),
            parent=parent,
        )

    @property
    def sampled(self) -> bool:
        """The caller's wish; without one, yes."""
        return self.parent is None or self.parent.sampled

    def try_on(self, target: Target, *, tier: str, cause: Cause) -> Trial:
        """Begin an attempt."""
        clock = self.gateway.clock
        return Trial(
            number=len(self.attempts) + 1,
            cause=cause,
            tier=tier,
            target=target,
            span_id=propagation.new_span_id(self.gateway.rng),
            started_ns=clock.now_ns(),
            started=clock.monotonic(),
        )

    def keep_text(self, trial: Trial, piece: bytes) -> None:
        """Keep the beginning of an answer's text, if the operator records text."""
        bytes_max = self.gateway.content_bytes_max
        if bytes_max is not None and len(trial.answer_text) < bytes_max:
            trial.answer_text += piece[: bytes_max - len(trial.answer_text)]

    def settle(self, trial: Trial) -> Attempt:
        """End an attempt: price it and keep it."""
        target, reading = trial.target, trial.reading
        cost = target.price.cost(reading.tokens) if trial.billed else 0.0
        if trial.hold is not None:
            trial.hold.settle(None if cost is None else pico(cost))
        attempt = Attempt(
            number=trial.number,
            cause=trial.cause,
            tier=trial.tier,
            model=target.model,
            provider=target.provider,
            request_model=target.request_model,
            server_address=target.server_address,
            server_port=target.server_port,
            span_id=trial.span_id,
            started_ns=trial.started_ns,
            ended_ns=self.gateway.clock.now_ns(),
            first_chunk_seconds=trial.first_chunk_seconds,
            status=trial.status,
            error_type=trial.error_type or reading.error_type,
            response_id=reading.response_id,
            response_model=reading.response_model,
            finish_reasons=tuple(reading.finish_reasons),
            tokens=reading.tokens,
            cost_usd=cost,
            cost_source=None if cost is None else "local",
            verdicts=trial.verdicts,
        )
        self.attempts.append(attempt)
        self.answers.append(trial.answer_text or None)
        return attempt

    def note_overhead(self) -> float:
        """Return, once, the seconds that were ours between the request and the reply's start."""
        if self.overhead_seconds is None:
            taken = self.gateway.clock.monotonic() - self.started
            self.overhead_seconds = max(0.0, taken - self.waited_seconds)
        return self.overhead_seconds

    def end(self, status: int, error_code: str | None = None) -> None:
        """Record the step, once; a step that was refused before its decision is only counted."""
        if self.ended:
            return
        self.ended = True
        if self.decision is None:
            self.gateway.meters.rejected(error_code or "client_closed")
            return
        if not self.endpoint.inference:
            return
        quality, source = self._quality()
        features = noted(self, status=status, quality=quality)
        outcome = Outcome(
            decision_id=self.decision_id,
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_span_id=self.parent.span_id if self.parent else None,
            sampled=self.sampled,
            ended_ns=self.gateway.clock.now_ns(),
            attempts=tuple(self.attempts),
            delivered=self.delivered.number if self.delivered else None,
            status=status,
            error_code=error_code,
            overhead_seconds=self.overhead_seconds,
            quality=quality,
            quality_source=source,
            replan=self.replan,
            features=features,
        )
        self.gateway.meters.observe(self.decision, outcome)
        self.gateway.recorder.record(
            self.decision,
            outcome,
            baggage=self.request.baggage if self.request else {},
            content=self._content(),
        )
        if self.gateway.shadows is not None:
            self.gateway.shadows.offer(self, outcome)
        if self.grading is not None and self.gateway.graders is not None:
            self.gateway.graders.offer(self, outcome)

    def _quality(self) -> tuple[float | None, str | None]:
        """Return the score of the answer the caller got, and the check it is from."""
        if not self.attempts:
            return None, None
        verdicts = (self.delivered or self.attempts[-1]).verdicts
        if not verdicts:
            return None, None
        whole = overall(verdicts)
        if whole.result is Result.ABSTAIN:
            return None, None
        named = (v.check for v in verdicts if v.result is whole.result)
        return whole.score, next(named, None)

    def _content(self) -> Content | None:
        bytes_max = self.gateway.content_bytes_max
        if bytes_max is None or self.request is None:
            return None
        return Content(request=self.request.body.raw[:bytes_max], answers=tuple(self.answers))


class Waiting:
    """A block that waits for somebody else; its time is not ours."""

    __slots__ = ("_began", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._began = self._exchange.gateway.clock.monotonic()

    def __exit__(self, *_: object) -> None:
        ended = self._exchange.gateway.clock.monotonic()
        self._exchange.waited_seconds += ended - self._began


def decision_id(gateway: Gateway) -> str:
    """Return a UUID of version 7 (RFC 9562): ids sort by the time they were drawn."""
    bits = gateway.rng.getrandbits(74)
    stamp = gateway.clock.now_ns() // 1_000_000 & 0xFFFFFFFFFFFF
    high = stamp << 16 | 0x7000 | bits >> 62
    low = 0x8000000000000000 | bits & 0x3FFFFFFFFFFFFFFF
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
