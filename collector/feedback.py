"""Feedback on an answer: one word per target, name, source and proof of it, early or late.

Anybody can name a source that is not theirs: what was said without proof never takes the place of
what the source says with it.
"""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from collector.evaluations import evaluation_id
from collector.normalising import Normaliser
from collector.rows import EvaluationRow

FEEDBACK_RANK: Final = 3
_HEX32 = r"^[0-9a-fA-F]{32}$"
_HEX16 = r"^[0-9a-fA-F]{16}$"
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Feedback(BaseModel):
    """The body of ``POST /v1/feedback``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Text | None = None
    trace_id: Annotated[str, Field(pattern=_HEX32)] | None = None
    span_id: Annotated[str, Field(pattern=_HEX16)] | None = None
    response_id: Text | None = None
    name: Text
    score: Annotated[StrictFloat | StrictInt, Field(allow_inf_nan=False)] | None = None
    label: Text | None = None
    source: Text = "api"
    comment: Annotated[str, Field(max_length=4_000)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        spans = (self.trace_id is None, self.span_id is None)
        if spans in ((True, False), (False, True)):
            raise ValueError("trace_id and span_id belong together")
        targets = [self.decision, self.trace_id, self.response_id]
        if sum(target is not None for target in targets) != 1:
            raise ValueError(
                "name exactly one target: decision, or trace_id and span_id, or response_id"
            )
        if self.score is None and self.label is None:
            raise ValueError("give a score or a label")
        return self


def feedback_row(
    feedback: Feedback, *, normaliser: Normaliser, now_ns: int, authenticated: bool
) -> EvaluationRow:
    """Return the row of one piece of feedback.

    Raises:
        ValueError: the score is outside the evaluator's scale.
    """
    score = normaliser.quality(
        feedback.name,
        score=None if feedback.score is None else float(feedback.score),
        label=feedback.label,
    )
    if score is None and feedback.score is not None:
        raise ValueError(
            f"score {feedback.score:g} is outside the scale of {feedback.name!r}; 0 to 1 unless "
            "[evaluators] in policy.toml says otherwise"
        )
    trace_id = feedback.trace_id.lower() if feedback.trace_id is not None else None
    span_id = feedback.span_id.lower() if feedback.span_id is not None else None
    target = "\x1f".join(
        (feedback.decision or "", trace_id or "", span_id or "", feedback.response_id or "")
    )
    source = f"feedback:{feedback.source}"
    speaker = f"{source}\x1fproven" if authenticated else source
    return EvaluationRow(
        evaluation_id=evaluation_id(target, name=feedback.name, source=speaker),
        time_ns=now_ns,
        received_ns=now_ns,
        decision_id=feedback.decision,
        trace_id=trace_id,
        span_id=span_id,
        response_id=feedback.response_id,
        name=feedback.name,
        source=source,
        score=score,
        score_raw=None if feedback.score is None else float(feedback.score),
        label=feedback.label,
        comment=feedback.comment,
        authenticated=authenticated,
        rank=FEEDBACK_RANK,
    )
