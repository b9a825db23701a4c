"""Which revision would decide a step under a standing policy, and with which probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from learning.standing import Standing
from router.decider import Decider
from router.draw import drawn_by
from router.policy import DECLARED, Policy
from telemetry.records import Context, Decision, Reason

STEP: Final = "explain"  # a decision's id; what it would draw is not shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """Who would decide such a step, and with which probabilities."""

    revision: str  # its id, or `declared`
    share: float  # of such steps that it decides: below 1 in a rollout, where no session is named
    arms: Mapping[str, float]  # probability by arm, highest first; those of 0 are left out


def likeliest(
    policy: Policy, context: Context, standing: Standing
) -> tuple[Decision, tuple[Served, ...]]:
    """Return the likeliest decision, and all that may decide, the larger share first.

    A step that goes on with a session's conversation is drawn by that session: its arm is known.
    Raises what ``Policy.route`` raises.
    """
    sides = [(share, *_decided(policy, context, side)) for share, side in _sides(standing, context)]
    served = (Served(revision=one.revision, share=share, arms=arms) for share, one, arms in sides)
    return sides[0][1], tuple(served)


def _sides(standing: Standing, context: Context) -> list[tuple[float, Standing]]:
    share = standing.rollout
    if context.session or context.plan or share in (0.0, 1.0):
        return [(1.0, standing)]
    new, before = replace(standing, rollout=1.0), replace(standing, rollout=0.0)
    return sorted([(share, new), (1.0 - share, before)], key=lambda side: -side[0])


def _decided(
    policy: Policy, context: Context, standing: Standing
) -> tuple[Decision, dict[str, float]]:
    decider = Decider()
    decider.take(standing)
    decision = decider.decide(policy, context, decision_id=STEP, at_ns=0)
    if decision.revision == DECLARED:
        return decision, {str(decision.arm): 1.0}
    learner = decider.serving(policy).learner(context.session or context.plan or STEP)
    declared = policy.route(context).declared
    chances = learner.probabilities(context, decision.offered, declared)
    by_chance = sorted(chances, key=lambda arm: -chances[arm])
    first = by_chance[0]
    if decision.arm != first and drawn_by(context, STEP) == STEP:
        decision = replace(decision, arm=first, propensity=chances[first], reason=Reason.LEARNED)
    return decision, {str(arm): chances[arm] for arm in by_chance if chances[arm] > 0.0}
