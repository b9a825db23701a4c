"""Decisions of a gateway with their chains of attempts, as rows for tests of learning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collector.evaluations import evaluation_id
from collector.rows import Batch, CallRow, DecisionRow, EvaluationRow, SpanRow

SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt; ``failed`` says that a check failed its answer."""

    tier: str
    failed: bool = False
    error: str | None = None
    tokens: tuple[int, int, int] = (100, 10, 0)
    model: str | None = None
    served: str | None = None
    seconds: float = 1.0


def chain(
    number: int,
    tries: Sequence[Try],
    *,
    start_ns: int,
    role: str = "worker",
    cell: str | None = None,
    trace: int | None = None,
    **fields: Any,
) -> Batch:
    """Return one decision, its attempts and the verdicts of one check on each answer."""
    trace_id, decision_id = f"{trace or number:032x}", f"d{number}"
    batch = Batch()
    at = start_ns
    for place, made in enumerate(tries, start=1):
        span_id = f"{number * 16 + place:016x}"
        end = at + int(made.seconds * SECOND)
        batch.calls.append(
            _call(
                made,
                trace_id,
                span_id,
                place=place,
                times=(at, end),
                role=role,
                decision=decision_id,
            )
        )
        if made.error is None:
            verdict = _word(
                number * 16 + place, at=end, name="form", source="check", rank=1,
                score=0.0 if made.failed else 1.0, trace_id=trace_id, span_id=span_id,
            )  # fmt: skip
            verdict.label = "fail" if made.failed else "pass"
            batch.evaluations.append(verdict)
        at = end
    batch.decisions.append(
        _decision(
            trace_id, f"{number * 16:016x}", decision_id, (start_ns, at), role,
            cell=f"{role}||plain" if cell is None else cell, attempts=len(tries),
            tier_start=tries[0].tier, tier=tries[-1].tier, **fields,
        )
    )  # fmt: skip
    return batch


def word(
    number: int, score: float, *, at: int, name: str = "grade", source: str = "feedback:ci",
    authenticated: bool = True, rank: int = 3, chance: float | None = None,
) -> Batch:  # fmt: skip
    """Return one word on the decision that ``chain`` made under ``number``."""
    row = _word(
        number, at=at, name=name, source=source, rank=rank, score=score,
        decision_id=f"d{number}",
    )  # fmt: skip
    row.authenticated, row.chance = authenticated, chance
    return Batch(evaluations=[row])


def task_word(trace: int, score: float, *, at: int) -> Batch:
    """Return a word on the root span of a trace, and that span."""
    trace_id, span_id = f"{trace:032x}", f"{trace:015x}f"
    row = _word(
        trace, at=at, name="goal", source="event", rank=2, score=score, trace_id=trace_id,
        span_id=span_id,
    )  # fmt: skip
    row.authenticated = True
    root = SpanRow(
        trace_id=trace_id, span_id=span_id, parent_id=None, start_ns=at - SECOND, end_ns=at,
        received_ns=at, name="invoke_agent", kind=1, status=0, error_type=None, service=None,
        scope=None, dialect=None, operation="invoke_agent", role=None, weight=1.0, attributes=None,
    )  # fmt: skip
    return Batch(spans=[root], evaluations=[row])


def _word(number: int, *, at: int, name: str, source: str, rank: int, score: float,
          decision_id: str | None = None, trace_id: str | None = None,
          span_id: str | None = None) -> EvaluationRow:  # fmt: skip
    return EvaluationRow(
        evaluation_id=evaluation_id(f"{decision_id}{span_id}{number}", name=name, source=source),
        time_ns=at, received_ns=at, decision_id=decision_id, trace_id=trace_id, span_id=span_id,
        response_id=None, name=name, source=source, score=score, score_raw=score, label=None,
        comment=None, authenticated=False, rank=rank,
    )  # fmt: skip


def _call(
    made: Try,
    trace_id: str,
    span_id: str,
    *,
    place: int,
    times: tuple[int, int],
    role: str,
    decision: str,
) -> CallRow:
    model = made.model or f"p/{made.tier}"
    return CallRow(
        trace_id=trace_id, span_id=span_id, parent_id=None, start_ns=times[0], end_ns=times[1],
        received_ns=times[1], name="chat", status=0, error_type=made.error, service=None,
        scope="tierwise", dialect="tierwise", operation="chat", role=role, role_from="own",
        awaits=None, counted=True, uncounted_reason=None, tier=made.tier, mode=None, plan=None,
        task=trace_id, provider="p", model_requested=made.tier,
        model_served=made.served or f"{made.tier}-1", model=model, input_tokens=made.tokens[0],
        output_tokens=made.tokens[1], cache_read_tokens=made.tokens[2], cache_write_tokens=None,
        reasoning_tokens=None, cost_usd=0.001, cost_source="local", cost_reported_usd=None,
        finish_reason="stop", response_id=None, conversation_id=None, first_chunk_seconds=None,
        http_status=200 if made.error is None else 503, decision_id=decision, attempt=place,
        cause="start" if place == 1 else "escalation", escalated_from=None, quality=None,
        quality_source=None, weight=1.0, latency_bucket=0, attributes=None,
    )  # fmt: skip


def _decision(
    trace_id: str, span_id: str, decision_id: str, times: tuple[int, int], role: str, **fields: Any
) -> DecisionRow:
    values: dict[str, Any] = dict.fromkeys(DecisionRow.__struct_fields__)
    values |= {
        "trace_id": trace_id, "span_id": span_id, "start_ns": times[0], "end_ns": times[1],
        "received_ns": times[1], "name": f"route {role}", "status": 0, "decision_id": decision_id,
        "role": role, "task": trace_id, "propensity": 1.0, "reason": "declared", "explore": False,
        "pinned": False, "latency_bucket": 0,
    }  # fmt: skip
    return DecisionRow(**values | fields)
