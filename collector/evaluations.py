"""Words on the quality of an answer, as they come in: on spans, as span events, as log records."""

import hashlib
from typing import Any, Final

from collector.dialects import SLOTS
from collector.frame import Frame
from collector.reading import Reading
from collector.rows import Batch, EvaluationRow

_NAME: Final = SLOTS["evaluation_name"]
_SCORE: Final = SLOTS["evaluation_score"]
_LABEL: Final = SLOTS["evaluation_label"]
_CHANCE: Final = SLOTS["evaluation_chance"]
# Whose word outranks whose; feedback is 3, a quality that stands on the span itself counts as 2.
_RANKS: Final = {"check": 1, "span": 2, "event": 2}


def speaks(slots: list[Any]) -> bool:
    """Say whether a score or a label was given."""
    return slots[_SCORE] is not None or slots[_LABEL] is not None


def add_span_evaluation(batch: Batch, frame: Frame, slots: list[Any]) -> None:
    """Add the evaluation that stands on a span itself, if one does; it speaks of that span."""
    if speaks(slots):
        name = slots[_NAME] or frame.name
        batch.evaluations.append(
            evaluation_row(
                slots,
                name=name,
                source="span",
                time_ns=frame.end_ns,
                received_ns=frame.received_ns,
                target=(frame.trace_id, frame.span_id),
            )
        )


def add_span_event(batch: Batch, frame: Frame, time_ns: int, reading: Reading) -> None:
    """Add the evaluation that came as an event on the span it speaks of, if it says anything."""
    slots = reading.slots
    if slots[_NAME] is None or not speaks(slots):
        return
    batch.evaluations.append(
        evaluation_row(
            slots,
            name=slots[_NAME],
            source="event",
            time_ns=time_ns or frame.end_ns,
            received_ns=frame.received_ns,
            target=(frame.trace_id, frame.span_id),
        )
    )


def evaluation_row(
    slots: list[Any],
    *,
    name: str,
    source: str,
    time_ns: int,
    received_ns: int,
    target: tuple[str | None, str | None],
) -> EvaluationRow:
    """Return an evaluation; its score is put on 0..1 later, by the evaluator's normalisation."""
    response_id, decision_id = slots[SLOTS["response_id"]], slots[SLOTS["decision_id"]]
    trace_id, span_id = target
    key = "\x1f".join((decision_id or "", trace_id or "", span_id or "", response_id or ""))
    return EvaluationRow(
        evaluation_id=evaluation_id(key, name=name, source=source),
        time_ns=time_ns,
        received_ns=received_ns,
        decision_id=decision_id,
        trace_id=trace_id,
        span_id=span_id,
        response_id=response_id,
        name=name,
        source=source,
        score=None,
        score_raw=slots[_SCORE],
        label=slots[_LABEL],
        comment=slots[SLOTS["evaluation_text"]],
        authenticated=False,
        rank=_RANKS[source],
        chance=_chance(slots[_CHANCE]),
    )


def _chance(value: float | None) -> float | None:
    return value if value is not None and 0.0 < value <= 1.0 else None


def evaluation_id(target: str, *, name: str, source: str) -> str:
    """Return the id under which one source says one thing about one target, once."""
    text = "\x1e".join((target, name, source))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
