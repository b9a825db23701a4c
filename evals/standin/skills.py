"""The stated table: how good, how wordy and how fast each stand-in model is at each kind of step.

The figures are chosen, not measured. They are shaped like public comparisons of a small, a mid and
a frontier model: close together on mechanical steps, far apart where reasoning is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

TOKENS_MAX: Final = 1_000_000


class Step(StrEnum):
    """What a prompt asks for, as far as a stand-in can tell from its text."""

    CLASSIFY = "classify"
    EXTRACT = "extract"
    TRANSFORM = "transform"
    TOOL = "tool"
    SUMMARISE = "summarise"
    DECIDE = "decide"
    DRAFT = "draft"
    VERIFY = "verify"
    PLAN = "plan"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skill:
    """One cell of the table."""

    right: float  # probability that an answer is right, in 0..1
    prose_tokens: int = 0  # least length of a free-text answer, in tokens
    reasoning_tokens: int = 0  # hidden tokens billed as output at medium effort

    def __post_init__(self) -> None:
        assert 0.0 <= self.right <= 1.0, f"probability {self.right} is outside 0..1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSkills:
    """One stand-in model."""

    version: str  # the dated name it answers with
    first_byte_seconds: float
    token_seconds: float
    steps: dict[Step, Skill]
    fail_share: float = 0.0  # share of requests refused with `fail_status`
    fail_status: int = 503


def _cells(row: dict[Step, tuple[float, int, int]]) -> dict[Step, Skill]:
    return {
        step: Skill(right=right, prose_tokens=prose, reasoning_tokens=reasoning)
        for step, (right, prose, reasoning) in row.items()
    }


SKILLS: dict[str, ModelSkills] = {
    "standin-small": ModelSkills(
        version="standin-small-2026-08-01",
        first_byte_seconds=0.15,
        token_seconds=0.004,
        steps=_cells(
            {
                Step.CLASSIFY: (0.92, 0, 0),
                Step.EXTRACT: (0.92, 0, 0),
                Step.TRANSFORM: (0.94, 0, 0),
                Step.TOOL: (0.90, 0, 0),
                Step.SUMMARISE: (0.80, 40, 0),
                Step.DECIDE: (0.50, 0, 0),
                Step.DRAFT: (0.65, 80, 0),
                Step.VERIFY: (0.60, 0, 0),
                Step.PLAN: (0.25, 0, 0),
                Step.OTHER: (1.0, 0, 0),
            }
        ),
    ),
    "standin-mid": ModelSkills(
        version="standin-mid-2026-07-15",
        first_byte_seconds=0.40,
        token_seconds=0.010,
        steps=_cells(
            {
                Step.CLASSIFY: (0.97, 0, 0),
                Step.EXTRACT: (0.975, 0, 0),
                Step.TRANSFORM: (0.98, 0, 0),
                Step.TOOL: (0.97, 0, 0),
                Step.SUMMARISE: (0.94, 60, 0),
                Step.DECIDE: (0.82, 0, 120),
                Step.DRAFT: (0.90, 120, 0),
                Step.VERIFY: (0.88, 0, 120),
                Step.PLAN: (0.70, 0, 200),
                Step.OTHER: (1.0, 0, 0),
            }
        ),
    ),
    "standin-frontier": ModelSkills(
        version="standin-frontier-2026-09-10",
        first_byte_seconds=0.90,
        token_seconds=0.018,
        steps=_cells(
            {
                Step.CLASSIFY: (0.99, 0, 0),
                Step.EXTRACT: (0.995, 0, 0),
                Step.TRANSFORM: (0.995, 0, 0),
                Step.TOOL: (0.995, 0, 0),
                Step.SUMMARISE: (0.985, 80, 0),
                Step.DECIDE: (0.97, 0, 300),
                Step.DRAFT: (0.98, 160, 0),
                Step.VERIFY: (0.97, 0, 300),
                Step.PLAN: (0.97, 0, 600),
                Step.OTHER: (1.0, 0, 0),
            }
        ),
    ),
}

EMBEDDING_MODEL = "standin-embedding"
EMBEDDING_VERSION = "standin-embedding-2026-06-01"


@dataclass(slots=True)
class SkillTable:
    """The table as it stands now; the only part of a stand-in that can be changed while it runs."""

    models: dict[str, ModelSkills] = field(default_factory=lambda: dict(SKILLS))

    def change(self, patch: dict[str, Any]) -> None:
        """Apply a patch of single fields.

        It reads ``{model: {"right": {step: p}, "reasoning_tokens": {step: n}, "fail_share": p,
        "fail_status": n}}``.

        ``"right"`` and ``"reasoning_tokens"`` may also be one number for every step. Raises
        ``ValueError`` naming what is wrong; then nothing has changed.
        """
        changed = dict(self.models)
        for name, fields in patch.items():
            if name not in changed or not isinstance(fields, dict):
                raise ValueError(f"no model {name!r}; known: {', '.join(changed)}")
            changed[name] = _patched(changed[name], fields)
        self.models = changed

    def reset(self) -> None:
        """Return to the stated table."""
        self.models = dict(SKILLS)

    def as_json(self) -> dict[str, Any]:
        """Return the table as plain values."""
        return {
            name: {
                "version": model.version,
                "first_byte_seconds": model.first_byte_seconds,
                "token_seconds": model.token_seconds,
                "right": {step.value: skill.right for step, skill in model.steps.items()},
                "reasoning_tokens": {
                    step.value: skill.reasoning_tokens for step, skill in model.steps.items()
                },
                "fail_share": model.fail_share,
                "fail_status": model.fail_status,
            }
            for name, model in self.models.items()
        }


def _patched(model: ModelSkills, fields: dict[str, Any]) -> ModelSkills:
    known = ("right", "reasoning_tokens", "fail_share", "fail_status")
    unknown = set(fields) - set(known)
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; known: {', '.join(known)}")
    steps = dict(model.steps)
    for step, probability in _by_step(fields.get("right", {})):
        steps[step] = replace(steps[step], right=_share(probability, "right"))
    for step, count in _by_step(fields.get("reasoning_tokens", {})):
        steps[step] = replace(steps[step], reasoning_tokens=_tokens(count))
    status = fields.get("fail_status", model.fail_status)
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"fail_status {status!r} is not an HTTP error status")
    share = _share(fields.get("fail_share", model.fail_share), "fail_share")
    return replace(model, steps=steps, fail_share=share, fail_status=status)


def _by_step(value: Any) -> Iterator[tuple[Step, Any]]:
    """Yield each step with its value; one value that is no table holds for every step."""
    for name, own in (value if isinstance(value, dict) else dict.fromkeys(Step, value)).items():
        if name not in set(Step):
            raise ValueError(f"no step {name!r}; known: {', '.join(Step)}")
        yield Step(name), own


def _tokens(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOKENS_MAX:
        raise ValueError(f"reasoning_tokens: {value!r} is not a whole number in 0..{TOKENS_MAX}")
    return value


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name}: {value!r} is not a number in 0..1")
    return float(value)
