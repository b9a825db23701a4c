"""The rows that the receiver makes and the store keeps; one struct per table, in column order.

A span becomes exactly one row: a model call in ``calls``, a decision of our own gateway in
``decisions``, anything else in ``spans``. Ids are lower-case hex. Times are unix nanoseconds.
``None`` is unknown and 0 is zero.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec


class Refusal(StrEnum):
    """Why one span or log record was not kept; a label of the ``rejected`` counter."""

    TRACE_ID = "trace_id"
    SPAN_ID = "span_id"
    TIME = "time"
    VALUE = "value"


class SpanRow(msgspec.Struct, kw_only=True, gc=False):
    """A span that is no model call: an agent, a tool, a web request ..."""

    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int
    received_ns: int
    name: str
    kind: int  # OTLP's SpanKind
    status: int  # OTLP's StatusCode
    error_type: str | None
    service: str | None
    scope: str | None
    dialect: str | None  # absent when nothing of a model's work stands on the span
    operation: str | None
    role: str | None  # the span's own
    weight: float  # how many spans of the sender's this one stands for
    attributes: str | None  # JSON of attributes that no column holds


class CallRow(msgspec.Struct, kw_only=True, gc=False):
    """One model call; ``counted`` says whether it stands for spend of its own."""

    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int
    received_ns: int
    name: str
    status: int
    error_type: str | None
    service: str | None
    scope: str | None
    dialect: str
    operation: str
    role: str | None
    role_from: str | None  # own, ancestor or baggage
    awaits: str | None  # the nearest ancestor that has not arrived, while it may still matter
    counted: bool
    uncounted_reason: str | None  # nested, duplicate or shadow
    tier: str | None
    mode: str | None
    plan: str | None
    task: str  # conversation, else trace: the unit in which money is judged
    provider: str | None
    model_requested: str | None
    model_served: str | None
    model: str | None  # as the policy names it, else as served, else as requested
    input_tokens: int | None  # cached ones included
    output_tokens: int | None  # reasoning included
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    cost_source: str | None  # provider, local (our price table) or reported (by the sender)
    cost_reported_usd: float | None
    finish_reason: str | None
    response_id: str | None
    conversation_id: str | None
    first_chunk_seconds: float | None
    http_status: int | None
    decision_id: str | None
    attempt: int | None
    cause: str | None
    escalated_from: str | None
    quality: float | None
    quality_source: str | None
    weight: float
    latency_bucket: int  # see collector/latency.py
    attributes: str | None
    shadow_of: str | None = None  # the decision whose step it ran again; it is not counted


class DecisionRow(msgspec.Struct, kw_only=True, gc=False):
    """One decision of a gateway of ours, whole, read from its ``route`` span."""

    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int
    received_ns: int
    name: str
    status: int
    decision_id: str
    role: str
    role_source: str | None
    role_unknown: str | None
    dialect: str | None
    mode: str | None
    plan: str | None
    task: str
    key_name: str | None
    tier_start: str | None
    on_fail: str | None
    offered: str | None  # comma-separated tier/on_fail
    propensity: float | None
    reason: str | None
    explore: bool
    pinned: bool
    policy_hash: str | None
    revision: str | None
    tier: str | None  # of the answer that was delivered
    model: str | None
    attempts: int | None
    escalated_from: str | None
    cost_usd: float | None
    quality: float | None
    quality_source: str | None
    overhead_ms: float | None
    http_status: int | None
    error_type: str | None
    latency_bucket: int
    attributes: str | None
    cell: str | None  # role|mode|kind that its outcome teaches; absent where nothing learns


class LogRow(msgspec.Struct, kw_only=True, gc=False):
    """One log record; its body is kept only when the operator records content."""

    log_id: str  # hash of what the record says
    time_ns: int
    received_ns: int
    trace_id: str | None
    span_id: str | None
    severity: int
    event_name: str | None
    service: str | None
    scope: str | None
    body: str | None
    attributes: str | None


class EvaluationRow(msgspec.Struct, kw_only=True, gc=False):
    """One word on the quality of one answer, from a check, a judge or a person."""

    evaluation_id: str  # hash of target, name and source
    time_ns: int
    received_ns: int
    decision_id: str | None
    trace_id: str | None
    span_id: str | None
    response_id: str | None
    name: str
    source: str  # check (our gateway's), event, span or feedback:<who>
    score: float | None  # 0..1, by the evaluator's normalisation
    score_raw: float | None
    label: str | None
    comment: str | None
    authenticated: bool
    rank: int  # the highest decides: feedback 3, event and span 2, check 1
    chance: float | None = None  # that this answer was chosen to be judged; absent: always


class TextRow(msgspec.Struct, kw_only=True, gc=False):
    """The text of one call of our gateway's; only where both sides are told to record it."""

    trace_id: str
    span_id: str
    start_ns: int
    received_ns: int
    request: str | None  # the body as it was sent, perhaps cut
    answer: str | None


@dataclass(slots=True)
class Batch:
    """What one request held, decoded; it is committed as a whole or not at all."""

    calls: list[CallRow] = field(default_factory=list)
    decisions: list[DecisionRow] = field(default_factory=list)
    spans: list[SpanRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    evaluations: list[EvaluationRow] = field(default_factory=list)
    texts: list[TextRow] = field(default_factory=list)
    rejected: dict[Refusal, int] = field(default_factory=dict)
    biased: int = 0  # spans that a sampler kept for what became of them
    uncoerced: int = 0  # values of known attributes that could not be read
    truncated: int = 0  # spans that lost attributes to a limit
    points: int = 0  # metric data points, counted only

    @property
    def records(self) -> int:
        """Rows to be written."""
        return (
            len(self.calls)
            + len(self.decisions)
            + len(self.spans)
            + len(self.logs)
            + len(self.evaluations)
            + len(self.texts)
        )

    @property
    def rejected_count(self) -> int:
        return sum(self.rejected.values())

    def reject(self, reason: Refusal) -> None:
        """Count one span or record that was not kept."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
