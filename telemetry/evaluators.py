"""How the words of each evaluator become a quality in 0..1; `[evaluators.NAME]` in policy.toml."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from telemetry.configfile import Section

Finite = Annotated[float, Field(allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

# Words that mean the same to everybody; an evaluator's own table comes first.
LABELS: Final[Mapping[str, float]] = MappingProxyType(
    {
        **dict.fromkeys(("pass", "passed", "true", "yes", "correct", "good", "relevant"), 1.0),
        **dict.fromkeys(("fail", "failed", "false", "no", "incorrect", "bad", "irrelevant"), 0.0),
    }
)


class EvaluatorConfig(Section):
    """The scale and the labels of one evaluator."""

    scale: tuple[Finite, Finite] = Field(
        (0.0, 1.0), description="its worst and its best score; the worst may be the larger number"
    )
    labels: dict[str, Unit] = Field(
        default_factory=dict, description="quality of each label, for evaluators that give words"
    )

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        if self.scale[0] == self.scale[1]:
            raise ValueError("scale: worst and best score are the same")
        return self


_PLAIN: Final = EvaluatorConfig()


def quality(
    config: EvaluatorConfig | None, *, score: float | None, label: str | None
) -> float | None:
    """Return the quality in 0..1, or None when score and label do not say.

    A score outside its scale is unknown rather than clipped: the scale is wrong then.

    >>> quality(EvaluatorConfig(scale=(1, 5)), score=4.0, label=None)
    0.75
    >>> quality(None, score=4.0, label=None), quality(None, score=None, label="Pass")
    (None, 1.0)
    >>> quality(EvaluatorConfig(scale=(5, 0)), score=0.0, label=None)
    1.0
    """
    config = config or _PLAIN
    if score is not None:
        worst, best = config.scale
        share = (score - worst) / (best - worst)
        return share if 0.0 <= share <= 1.0 else None
    if label is None:
        return None
    own = config.labels.get(label)
    return own if own is not None else LABELS.get(label.strip().lower())
