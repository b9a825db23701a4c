"""What the policy allows one role in one mode and dialect: the table that decisions look up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.checks import AnyCheck
from evals.codetier import CodeFunction
from router.rules import Learn, Rules
from router.targets import Target
from telemetry.records import Arm, Dialect, OnFail, Reason


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Route:
    """The tiers a step may visit, in order of the ladder, and where it starts."""

    role: str
    mode: str | None  # the mode whose rules these are; None for the role's own
    dialect: Dialect
    tiers: tuple[str, ...]  # of the role's range, only those that speak the dialect
    declared: Arm
    arms: tuple[Arm, ...]
    reason: Reason  # why the declared arm is where it is
    learn: Learn
    quality_floor: float | None
    pin: Target | None  # the only model that may answer
    checks: tuple[AnyCheck, ...]
    graders: tuple[AnyCheck, ...]
    code: CodeFunction | None  # what answers on the tier `code`
    rules: Rules  # what the policy says of the role beyond where its steps go
    models: Mapping[str, tuple[Target, ...]]  # by tier
    fields: Mapping[str, Mapping[str, Any]]  # by tier

    @property
    def observed(self) -> bool:
        """Whether outcomes teach a learner; in mode `observe` it never chooses."""
        return len(self.arms) > 1 and self.learn != "off"

    @property
    def learns(self) -> bool:
        """Whether a learner may choose among the arms."""
        return len(self.arms) > 1 and self.learn in ("propose", "bounded")

    def targets(self, tier: str) -> tuple[Target, ...]:
        """Return the models of ``tier`` that speak the dialect, in order of failover."""
        return self.models[tier]

    def params(self, tier: str) -> Mapping[str, Any]:
        """Return the top-level fields that ``tier`` sets on the request's body."""
        return self.fields.get(tier, {})

    def next_up(self, tier: str) -> str | None:
        """Return the tier above ``tier`` in this route, or None at its top."""
        index = self.tiers.index(tier) + 1
        return self.tiers[index] if index < len(self.tiers) else None

    def after_fail(self, arm: Arm, tier: str) -> str | None:
        """Return where ``arm`` goes when an answer of ``tier`` fails a check; None: nowhere."""
        if arm.on_fail is OnFail.ACCEPT or tier == self.tiers[-1]:
            return None
        return self.tiers[-1] if arm.on_fail is OnFail.TOP else self.next_up(tier)


def arms_over(tiers: tuple[str, ...]) -> tuple[Arm, ...]:
    """Return the arms that differ in what they do.

    The top tier can only accept, and one below the top a step up is the way straight to the top:

    >>> [str(arm) for arm in arms_over(("small", "mid", "frontier"))]
    ['small/accept', 'small/step', 'small/top', 'mid/accept', 'mid/step', 'frontier/accept']
    """
    return tuple(
        arm
        for tier in tiers
        for arm in (Arm(tier=tier, on_fail=on_fail) for on_fail in OnFail)
        if arm == sensible(arm, tiers)
    )


def sensible(arm: Arm, tiers: tuple[str, ...]) -> Arm:
    """Return the simplest arm over ``tiers`` that does what ``arm`` does."""
    above = len(tiers) - 1 - tiers.index(arm.tier)
    if above == 0:
        return Arm(tier=arm.tier, on_fail=OnFail.ACCEPT)
    if above == 1 and arm.on_fail is OnFail.TOP:
        return Arm(tier=arm.tier, on_fail=OnFail.STEP)
    return arm


def nearest(tier: str, *, span: tuple[str, ...], speaking: tuple[str, ...]) -> str:
    """Return ``tier`` if it speaks, else the nearest above in ``span`` that does, else below.

    ``speaking`` is a part of ``span`` in the same order, and not empty.
    """
    at = span.index(tier)
    above = [name for name in span[at:] if name in speaking]
    if above:
        return above[0]
    return [name for name in span[:at] if name in speaking][-1]
