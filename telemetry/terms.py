"""Terms: what the two files declare, as plain records for whoever does not serve steps.

The gateway compiles policy.toml into routes; the collector, which may not import the gateway,
learns, grades, alerts and reviews by these records of the same file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from telemetry.alerting import AlertsConfig
from telemetry.evaluators import EvaluatorConfig
from telemetry.learnconfig import LearningConfig
from telemetry.records import Arm

Learn = Literal["off", "observe", "propose", "bounded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PinTerms:
    """A role that people fixed to one model."""

    model: str  # provider/name
    reason: str
    owner: str
    until: date | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleTerms:
    """One role in one collaboration mode (None: wherever no mode has terms of its own)."""

    role: str
    mode: str | None
    tiers: tuple[str, ...]  # the role's range, cheapest first; never empty
    declared: Arm  # in its simplest form over ``tiers``
    floor: float | None  # mean quality to keep, 0..1
    learn: Learn
    checked: bool  # has checks, so that answers can fail and escalate
    pin: PinTerms | None
    overhead: bool = False  # its steps exist only because of routing: a judge, a classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class TierTerms:
    """One rung of the ladder and what a token costs there."""

    models: tuple[str, ...]  # provider/name, the first is asked first; none on `code`
    # USD per input, output and cached input token of the first model; None: nobody knows
    usd_per_token: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """One version of both files, whole."""

    policy_hash: str
    ladder: tuple[str, ...]
    tiers: Mapping[str, TierTerms]
    roles: tuple[RoleTerms, ...]
    alerts: AlertsConfig = field(default_factory=AlertsConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    evaluators: Mapping[str, EvaluatorConfig] = field(default_factory=dict)

    def of(self, role: str, mode: str | None = None) -> RoleTerms | None:
        """Return the terms that hold for ``role`` in ``mode``; None for an unknown role."""
        found = None
        for terms in self.roles:
            if terms.role == role and terms.mode == mode:
                return terms
            if terms.role == role and terms.mode is None:
                found = terms
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Armed:
    """Which of a role's two alerts could really fire now; learning narrows by what cannot.

    Without ``quality`` nothing may move to cheaper arms, without ``cost`` nothing to dearer ones
    (but for the safe fallback to the declared table).
    """

    cost: bool
    quality: bool
