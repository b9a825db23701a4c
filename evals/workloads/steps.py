"""What a workload asks and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One model call that an agent makes."""

    role: str
    step: str
    session: str
    mode: str
    plan: str | None = None
    system: str = ""
    user: str
    schema: Mapping[str, Any] | None = None  # the answer must be JSON of this schema
    tool: Mapping[str, Any] | None = None  # name, description, schema; the model must call it
    stream: bool = False
    cache_system: bool = False  # mark the system text for the provider's prompt cache
    output_tokens_max: int = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What came back; ``text`` is the arguments' JSON when a tool was called."""

    text: str
    tool: str | None = None
    model: str | None = None  # as the answer names it
    input_tokens: int | None = None  # cached ones included
    output_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # x-tierwise-*, without the prefix
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """One finished step. ``right`` is None when nobody can say."""

    role: str
    step: str
    session: str
    right: bool | None
    said: Said

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.said.text

    @property
    def tier(self) -> str | None:
        """The tier that answered, when a gateway said so."""
        return self.said.headers.get("tier")

    @property
    def cost_usd(self) -> float | None:
        """The chain's cost, when a gateway said so; streams do not."""
        cost = self.said.headers.get("cost-usd")
        return float(cost) if cost else None


def result_of(call: Call, said: Said, *, right: bool | None) -> StepResult:
    """Return the result of ``call``; a failed call is never right."""
    judged = False if said.error is not None else right
    return StepResult(role=call.role, step=call.step, session=call.session, right=judged, said=said)
