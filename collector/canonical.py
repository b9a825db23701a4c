"""Turns one span's or log event's values into the row it belongs to."""

from typing import Any, Final

from collector.dialects import SLOTS, dialect_of
from collector.evaluations import add_span_evaluation
from collector.frame import Frame
from collector.latency import bucket
from collector.operations import CALL_NAMES, CALLS, scope_dialect
from collector.pricing import Pricing
from collector.reading import Reading, packed
from collector.rows import Batch, CallRow, DecisionRow, SpanRow
from telemetry.records import Tokens

_OPERATION: Final = SLOTS["operation"]
_ROLE: Final = SLOTS["role"]
_BAGGAGE: Final = SLOTS["role_baggage"]
_PROVIDER: Final = SLOTS["provider"]
_REQUESTED: Final = SLOTS["model_requested"]
_SERVED: Final = SLOTS["model_served"]
_POLICY_MODEL: Final = SLOTS["policy_model"]
_INPUT: Final = SLOTS["input_tokens"]
_UNCACHED: Final = SLOTS["uncached_tokens"]
_OUTPUT: Final = SLOTS["output_tokens"]
_UNREASONED: Final = SLOTS["unreasoned_tokens"]
_READ: Final = SLOTS["cache_read"]
_WRITE: Final = SLOTS["cache_write"]
_REASONING: Final = SLOTS["reasoning"]
_THOUGHTS: Final = SLOTS["thought_tokens"]
_COST: Final = SLOTS["cost"]
_CURRENCY: Final = SLOTS["currency"]
_COST_SOURCE: Final = SLOTS["cost_source"]
_CACHE_HIT: Final = SLOTS["cache_hit"]
_RELAYED: Final = SLOTS["relayed_decision"]
_CONVERSATION: Final = SLOTS["conversation"]
_FIRST_CHUNK: Final = SLOTS["first_chunk"]
_FIRST_CHUNK_MS: Final = SLOTS["first_chunk_ms"]
_ERROR: Final = SLOTS["error_type"]
_STATUS: Final = SLOTS["http_status"]
_DECISION: Final = SLOTS["decision_id"]
_ATTEMPT: Final = SLOTS["attempt"]
_REASON: Final = SLOTS["reason"]
_QUALITY: Final = SLOTS["quality"]
_QUALITY_SOURCE: Final = SLOTS["quality_source"]
_SHADOW: Final = SLOTS["shadow_of"]
_TIER: Final = SLOTS["tier"]
_MODE: Final = SLOTS["mode"]
_PLAN: Final = SLOTS["plan"]
_FINISH: Final = SLOTS["finish_reason"]
_RESPONSE: Final = SLOTS["response_id"]
_CAUSE: Final = SLOTS["cause"]
_ESCALATED: Final = SLOTS["escalated_from"]


def add_span(batch: Batch, frame: Frame, reading: Reading, *, pricing: Pricing) -> None:
    """Add the one row of a span, and a row for a quality that stands on it."""
    slots = reading.slots
    batch.uncoerced += reading.uncoerced
    attributes, cut = packed(reading.extra)
    batch.truncated += cut or reading.truncated
    operation = call_operation(slots, frame.name)
    if operation is None and slots[_DECISION] is not None and slots[_ATTEMPT] is not None:
        operation = "code"  # our code tier answers without a model
    if slots[_SHADOW] is not None and operation is None:
        batch.spans.append(_span(frame, reading, attributes))  # it decided nothing for anybody
    elif slots[_DECISION] is not None and slots[_REASON] is not None and operation is None:
        batch.decisions.append(_decision(frame, slots, attributes))
    elif operation is not None:
        batch.calls.append(call_row(frame, reading, operation, attributes, pricing=pricing))
    else:
        batch.spans.append(_span(frame, reading, attributes))
    add_span_evaluation(batch, frame, slots)


def call_operation(slots: list[Any], name: str) -> str | None:
    """Return the operation when the span is one model call of its own, else None.

    Agent, chain, tool and workflow spans may carry the sum of the usage beneath them; counting
    them would count every call twice.
    """
    named = slots[_OPERATION]
    if named is not None:
        return CALLS.get(named.lower())
    known = CALL_NAMES.get(name)
    if known is not None:
        return known
    has_model = slots[_REQUESTED] is not None or slots[_SERVED] is not None
    has_usage = any(slots[slot] is not None for slot in (_INPUT, _UNCACHED, _OUTPUT, _UNREASONED))
    return "chat" if has_model and has_usage else None


def dialect(frame: Frame, bits: int, slots: list[Any]) -> str:
    """Return who wrote the span: our gateway, by its scope's name, else by its keys."""
    if slots[_DECISION] is not None:
        return "tierwise"
    named = scope_dialect(frame.scope) if frame.scope else None
    return named or dialect_of(bits)


def call_row(
    frame: Frame, reading: Reading, operation: str, attributes: str | None, *, pricing: Pricing
) -> CallRow:
    """Return the canonical call; its role may still wait for an ancestor."""
    slots = reading.slots
    writer = dialect(frame, reading.bits, slots)
    tokens = call_tokens(slots)
    if writer == "litellm" and not tokens.input and not tokens.output:
        tokens = Tokens(input=None, output=None)  # it says 0 where a stream told no usage
    role, role_from = _role(slots)
    requested = slots[_REQUESTED]
    served = slots[_SERVED] or (requested if writer == "langfuse" else None)
    cost, source, reported = _cost(slots, tokens, (served, requested), writer, pricing=pricing)
    latency = frame.end_ns - frame.start_ns
    shadow_of = slots[_SHADOW]
    relayed = writer != "tierwise" and slots[_RELAYED] is not None
    aside = "shadow" if shadow_of is not None else "duplicate" if relayed else None
    first_chunk = slots[_FIRST_CHUNK]
    if first_chunk is None and slots[_FIRST_CHUNK_MS] is not None:
        first_chunk = slots[_FIRST_CHUNK_MS] / 1e3
    return CallRow(
        trace_id=frame.trace_id, span_id=frame.span_id, parent_id=frame.parent_id,
        start_ns=frame.start_ns, end_ns=frame.end_ns, received_ns=frame.received_ns,
        name=frame.name, status=frame.status, error_type=slots[_ERROR], service=frame.service,
        scope=frame.scope, dialect=writer, operation=operation, role=role, role_from=role_from,
        awaits=frame.parent_id, counted=aside is None, uncounted_reason=aside,
        tier=slots[_TIER],
        mode=slots[_MODE], plan=slots[_PLAN],
        task=slots[_CONVERSATION] or frame.trace_id, provider=slots[_PROVIDER],
        model_requested=requested, model_served=served,
        model=slots[_POLICY_MODEL] or served or requested, input_tokens=tokens.input,
        output_tokens=tokens.output, cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write, reasoning_tokens=tokens.reasoning, cost_usd=cost,
        cost_source=source, cost_reported_usd=reported,
        finish_reason=slots[_FINISH], response_id=slots[_RESPONSE],
        conversation_id=slots[_CONVERSATION], first_chunk_seconds=first_chunk,
        http_status=slots[_STATUS],
        decision_id=slots[_DECISION] if shadow_of is None else None, attempt=slots[_ATTEMPT],
        cause=slots[_CAUSE], escalated_from=slots[_ESCALATED],
        quality=_unit(slots[_QUALITY]), quality_source=slots[_QUALITY_SOURCE],
        weight=frame.weight, latency_bucket=bucket(latency), attributes=attributes,
        shadow_of=shadow_of,
    )  # fmt: skip


def call_tokens(slots: list[Any]) -> Tokens:
    """Return usage with cached tokens inside input and reasoning inside output, whoever counted.

    Where a sender's cached part is larger than its whole, the whole excluded it.
    """
    read, write, reasoning = slots[_READ], slots[_WRITE], slots[_REASONING]
    cached = (read or 0) + (write or 0)
    total_in = slots[_INPUT]
    if total_in is None and slots[_UNCACHED] is not None:
        total_in = slots[_UNCACHED] + cached
    elif total_in is not None and cached > total_in:
        total_in += cached
    total_out, thoughts = slots[_OUTPUT], slots[_THOUGHTS]
    if reasoning is None and thoughts is not None:
        reasoning = thoughts
        total_out = None if total_out is None else total_out + thoughts
    if total_out is None and slots[_UNREASONED] is not None:
        total_out = slots[_UNREASONED] + (reasoning or 0)
    elif total_out is not None and reasoning is not None and reasoning > total_out:
        total_out += reasoning
    return Tokens(
        input=total_in, output=total_out, cache_read=read, cache_write=write, reasoning=reasoning
    )


def _role(slots: list[Any]) -> tuple[str | None, str | None]:
    if slots[_ROLE] is not None:
        return slots[_ROLE], "own"
    if slots[_BAGGAGE] is not None:
        return slots[_BAGGAGE], "baggage"
    return None, None


def _cost(
    slots: list[Any],
    tokens: Tokens,
    models: tuple[str | None, str | None],
    writer: str,
    *,
    pricing: Pricing,
) -> tuple[float | None, str | None, float | None]:
    """Return (cost, its source, cost as reported).

    Our gateway's word stands. A foreign call is priced by our own table when it knows the model
    and the usage, so that all roles are judged by the same prices; else the sender's word stands.
    """
    reported = slots[_COST] if slots[_CURRENCY] in (None, "USD") else None
    if writer == "tierwise":
        return reported, slots[_COST_SOURCE] if reported is not None else None, reported
    if slots[_CACHE_HIT] is not None:
        return 0.0, "cache", reported  # the answer was replayed; its cost was paid before
    for model in models:  # a dated version may be priced under the name it was asked for by
        own = pricing.cost(slots[_PROVIDER], model, tokens)
        if own is not None:
            return own, "local", reported
    return reported, "reported" if reported is not None else None, reported


def settle_tasks(batch: Batch) -> None:
    """Give decisions the conversation that stands on their attempts only."""
    if batch.decisions:
        tasks = {call.decision_id: call.task for call in batch.calls if call.conversation_id}
        for made in batch.decisions:
            made.task = tasks.get(made.decision_id, made.task)


def _unit(score: float | None) -> float | None:
    return score if score is not None and 0.0 <= score <= 1.0 else None


def _span(frame: Frame, reading: Reading, attributes: str | None) -> SpanRow:
    slots = reading.slots
    named = reading.bits or slots[_OPERATION] is not None
    return SpanRow(
        trace_id=frame.trace_id,
        span_id=frame.span_id,
        parent_id=frame.parent_id,
        start_ns=frame.start_ns,
        end_ns=frame.end_ns,
        received_ns=frame.received_ns,
        name=frame.name,
        kind=frame.kind,
        status=frame.status,
        error_type=slots[_ERROR],
        service=frame.service,
        scope=frame.scope,
        dialect=dialect(frame, reading.bits, slots) if named else None,
        operation=slots[_OPERATION],
        role=slots[_ROLE],
        weight=frame.weight,
        attributes=attributes,
    )


def _decision(frame: Frame, slots: list[Any], attributes: str | None) -> DecisionRow:
    return DecisionRow(
        trace_id=frame.trace_id,
        span_id=frame.span_id,
        parent_id=frame.parent_id,
        start_ns=frame.start_ns,
        end_ns=frame.end_ns,
        received_ns=frame.received_ns,
        name=frame.name,
        status=frame.status,
        decision_id=slots[_DECISION],
        role=slots[_ROLE] or "default",
        role_source=slots[SLOTS["role_source"]],
        role_unknown=slots[SLOTS["role_unknown"]],
        dialect=slots[SLOTS["step_dialect"]],
        mode=slots[SLOTS["mode"]],
        plan=slots[SLOTS["plan"]],
        task=slots[_CONVERSATION] or frame.trace_id,
        key_name=slots[SLOTS["key_name"]],
        tier_start=slots[SLOTS["tier_start"]],
        on_fail=slots[SLOTS["on_fail"]],
        offered=slots[SLOTS["offered"]],
        propensity=slots[SLOTS["propensity"]],
        reason=slots[_REASON],
        explore=bool(slots[SLOTS["explore"]]),
        pinned=bool(slots[SLOTS["pinned"]]),
        policy_hash=slots[SLOTS["policy_hash"]],
        revision=slots[SLOTS["revision"]],
        tier=slots[SLOTS["tier"]],
        model=slots[_POLICY_MODEL],
        attempts=slots[SLOTS["attempts"]],
        escalated_from=slots[SLOTS["escalated_from"]],
        cost_usd=slots[_COST],
        quality=_unit(slots[_QUALITY]),
        quality_source=slots[_QUALITY_SOURCE],
        overhead_ms=slots[SLOTS["overhead_ms"]],
        http_status=slots[_STATUS],
        error_type=slots[_ERROR],
        latency_bucket=bucket(frame.end_ns - frame.start_ns),
        attributes=attributes,
        cell=slots[SLOTS["cell"]],
    )
