"""What a step looks like as spans: one description, from which the bytes of OTLP are made.

The route span tells the decision and the whole chain; each attempt is a CLIENT span below it.
``gen_ai.*`` stands on attempt spans only, so that no backend counts one call twice. Unknown is
absent; a flag stands only where it is true.

An attribute is either *recurring* (few values, so the encoder remembers the bytes of the whole
group) or *single* (nearly every span has another value).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from telemetry import names
from telemetry.names import Attribute
from telemetry.records import Attempt, Cause, Decision, Dialect, Outcome, Reason

SERVER: Final = 2
CLIENT: Final = 3
INTERNAL: Final = 1

_PINNED = (Reason.PINNED, Reason.CALLER_PIN)


class Layout(NamedTuple):
    """The attributes of one kind of span, in the order of their values."""

    kind: int
    recurring: tuple[Attribute, ...]
    single: tuple[Attribute, ...]


ROUTE: Final = Layout(
    SERVER,
    (
        names.ERROR_TYPE, names.HTTP_STATUS, names.ROLE, names.ROLE_SOURCE, names.TIER,
        names.TIER_START, names.ON_FAIL, names.OFFERED, names.MODEL, names.DIALECT, names.REASON,
        names.EXPLORE, names.PINNED, names.ATTEMPTS, names.ESCALATED_FROM, names.POLICY_HASH,
        names.REVISION, names.MODE, names.KEY, names.BUDGET, names.QUALITY_SOURCE, names.CELL,
    ),
    (
        names.DECISION_ID, names.PROPENSITY, names.COST_USD, names.QUALITY_SCORE, names.OVERHEAD,
        names.PLAN, names.ROLE_UNKNOWN, names.FEATURES, names.SHADOW,
    ),
)  # fmt: skip

ATTEMPT: Final = Layout(
    CLIENT,
    (
        names.ERROR_TYPE, names.HTTP_STATUS, names.OPERATION, names.PROVIDER, names.REQUEST_MODEL,
        names.REQUEST_STREAM, names.RESPONSE_MODEL, names.FINISH_REASONS, names.COST_CURRENCY,
        names.COST_SOURCE, names.AGENT_NAME, names.SERVER_ADDRESS, names.SERVER_PORT, names.ROLE,
        names.TIER, names.MODEL, names.ATTEMPT, names.CAUSE, names.ESCALATED_FROM,
        names.POLICY_HASH, names.REVISION, names.MODE, names.QUALITY_SOURCE,
    ),
    (
        names.DECISION_ID, names.CONVERSATION_ID, names.PLAN, names.RESPONSE_ID,
        names.TIME_TO_FIRST_CHUNK, names.INPUT_TOKENS, names.OUTPUT_TOKENS,
        names.CACHE_READ_TOKENS, names.CACHE_WRITE_TOKENS, names.REASONING_TOKENS,
        names.COST_AMOUNT, names.COST_LEGACY, names.COST_USD, names.QUALITY_SCORE,
        names.SHADOW, names.INPUT_MESSAGES, names.OUTPUT_MESSAGES,
    ),
)  # fmt: skip


# An attempt of the code tier: a function of the operator's answered, no model was called.
CODE: Final = Layout(
    INTERNAL,
    (
        names.ERROR_TYPE, names.ROLE, names.TIER, names.MODEL, names.ATTEMPT, names.CAUSE,
        names.ESCALATED_FROM, names.POLICY_HASH, names.REVISION, names.MODE, names.QUALITY_SOURCE,
    ),
    (names.DECISION_ID, names.PLAN, names.COST_USD, names.QUALITY_SCORE),
)  # fmt: skip
LAYOUTS: Final = (ROUTE, ATTEMPT, CODE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The text of a step, recorded only when the operator says so."""

    request: bytes | None = None
    answers: tuple[bytes | None, ...] = ()  # one per attempt, in their order

    @property
    def bytes(self) -> int:
        """Its size."""
        return len(self.request or b"") + sum(len(answer or b"") for answer in self.answers)

    def cut(self, bytes_max: int) -> "Content":
        """Return it with at most ``bytes_max`` bytes kept of each body."""
        return Content(
            request=None if self.request is None else self.request[:bytes_max],
            answers=tuple(None if body is None else body[:bytes_max] for body in self.answers),
        )


class Span(NamedTuple):
    """One span; ``recurring`` and ``single`` hold the values that ``layout`` names."""

    layout: Layout
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    parent_remote: bool
    sampled: bool
    start_ns: int
    end_ns: int
    recurring: tuple[object, ...]
    single: tuple[object, ...]
    extra: tuple[tuple[str, str], ...] = ()  # baggage, under its own keys
    event: str | None = None  # something that happened at the span's end

    @property
    def failed(self) -> bool:
        """Whether its status is ERROR: it carries an error type."""
        return self.recurring[0] is not None

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that it is sent with, for readers and tests; exporting does not ask."""
        keys = self.layout.recurring + self.layout.single
        values = self.recurring + self.single
        known: dict[str, object] = {
            key: value for key, value in zip(keys, values, strict=True) if _present(value)
        }
        return {**known, **dict(self.extra)}


def describe(
    decision: Decision,
    outcome: Outcome,
    *,
    baggage: Sequence[tuple[str, str]] = (),
    content: Content | None = None,
) -> list[Span]:
    """Return the route span and then one span per attempt, in the order they were made."""
    spans = [_route(decision, outcome, tuple(baggage))]
    before: Attempt | None = None
    for attempt in outcome.attempts:
        if attempt.provider == names.CODE_PROVIDER:
            spans.append(_code(decision, outcome, attempt, before))
        else:
            spans.append(_attempt(decision, outcome, attempt, before, content))
        before = attempt
    return spans


def _route(decision: Decision, outcome: Outcome, baggage: tuple[tuple[str, str], ...]) -> Span:
    context, attempts, arm = decision.context, outcome.attempts, decision.arm
    first, last = attempts[0] if attempts else None, outcome.answering
    tier = last.tier if last else None
    reason = decision.reason
    recurring = (
        outcome.error_code or _status_error(outcome.status), outcome.status, context.role,
        context.role_source, tier, arm.tier, arm.on_fail, decision.offered,
        last.model if last else None, context.dialect, reason, reason is Reason.EXPLORED,
        reason in _PINNED, len(attempts), first.tier if first and first.tier != tier else None,
        decision.policy_hash, decision.revision, context.mode, context.key, context.budget,
        outcome.quality_source, decision.cell,
    )  # fmt: skip
    overhead = outcome.overhead_seconds
    single = (
        decision.decision_id, decision.propensity, outcome.cost_usd, outcome.quality,
        None if overhead is None else overhead * 1e3, context.plan, context.role_unknown,
        ",".join([f"{feature:.4g}" for feature in outcome.features]) or None,
        decision.shadow_of,
    )  # fmt: skip
    return Span(
        ROUTE, f"{names.ROUTE_SPAN} {context.role}", outcome.trace_id, outcome.span_id,
        outcome.parent_span_id, True, outcome.sampled, decision.at_ns, outcome.ended_ns,
        recurring, single, baggage, names.REPLAN_EVENT if outcome.replan else None,
    )  # fmt: skip


def _attempt(
    decision: Decision,
    outcome: Outcome,
    attempt: Attempt,
    before: Attempt | None,
    content: Content | None,
) -> Span:
    context, tokens, cost = decision.context, attempt.tokens, attempt.cost_usd
    delivered = attempt is outcome.answering
    operation = "embeddings" if context.dialect is Dialect.EMBEDDINGS else "chat"
    escalated = before is not None and attempt.cause is Cause.ESCALATION
    known_cost = cost is not None and math.isfinite(cost)
    recurring = (
        attempt.error_type or _status_error(attempt.status), attempt.status, operation,
        attempt.provider, attempt.request_model, context.stream, attempt.response_model,
        attempt.finish_reasons, "USD" if known_cost else None,
        attempt.cost_source if known_cost else None, context.role, attempt.server_address,
        attempt.server_port, context.role, attempt.tier, attempt.model, attempt.number,
        attempt.cause, before.tier if before and escalated else None, decision.policy_hash,
        decision.revision, context.mode, outcome.quality_source if delivered else None,
    )  # fmt: skip
    request, answer = (None, None) if content is None else _bodies(content, attempt.number)
    single = (
        decision.decision_id, context.session, context.plan, attempt.response_id,
        attempt.first_chunk_seconds, tokens.input, tokens.output, tokens.cache_read,
        tokens.cache_write, tokens.reasoning, cost, cost, cost,
        outcome.quality if delivered else None, decision.shadow_of, request, answer,
    )  # fmt: skip
    return Span(
        ATTEMPT, f"{operation} {attempt.request_model}", outcome.trace_id, attempt.span_id,
        outcome.span_id, False, outcome.sampled, attempt.started_ns, attempt.ended_ns,
        recurring, single,
    )  # fmt: skip


def _code(decision: Decision, outcome: Outcome, attempt: Attempt, before: Attempt | None) -> Span:
    context = decision.context
    delivered = attempt is outcome.answering
    escalated = before is not None and attempt.cause is Cause.ESCALATION
    recurring = (
        attempt.error_type, context.role, attempt.tier, attempt.model, attempt.number,
        attempt.cause, before.tier if before and escalated else None, decision.policy_hash,
        decision.revision, context.mode, outcome.quality_source if delivered else None,
    )  # fmt: skip
    single = (
        decision.decision_id, context.plan, attempt.cost_usd,
        outcome.quality if delivered else None,
    )  # fmt: skip
    return Span(
        CODE, f"code {attempt.request_model}", outcome.trace_id, attempt.span_id,
        outcome.span_id, False, outcome.sampled, attempt.started_ns, attempt.ended_ns,
        recurring, single,
    )  # fmt: skip


def _status_error(status: int | None) -> str | None:
    return None if status is None or status < 400 else str(status)


def _bodies(content: Content, number: int) -> tuple[str | None, str | None]:
    answer = content.answers[number - 1] if 0 < number <= len(content.answers) else None
    return _decoded(content.request), _decoded(answer)


def _decoded(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")


def _present(value: object) -> bool:
    if value is None or value is False or value == ():
        return False
    return not isinstance(value, float) or math.isfinite(value)
