"""Steps that start at the cheapest tier: a budget that asks for it is spent."""

from dataclasses import replace

from router.exchange import Exchange, Waiting
from router.ladder import first
from router.policy import DECLARED
from router.route import sensible
from telemetry.records import Arm, Decision, OnFail, Reason


async def lowered(exchange: Exchange, decision: Decision) -> Decision:
    """Return ``decision``, or the one for the cheapest tier where a spent budget asks for it.

    What was drawn before does not count any more, so the propensity is exactly 1.
    """
    purse = exchange.purse
    if purse is None:
        return decision
    candidate = first(purse.route, decision.arm)
    spent = purse.exhausted(candidate)
    if spent is not None:
        with Waiting(exchange):
            spent = await purse.still_exhausted(candidate)
    if spent is None:
        return decision
    exchange.gateway.meters.count("tierwise_budget_cheapest_total", labels=(spent.budget.scope,))
    tiers = purse.route.tiers
    if len(tiers) == 1:
        return decision
    arm = sensible(Arm(tier=tiers[0], on_fail=OnFail.ACCEPT), tiers)
    exchange.purse = replace(purse, start=arm.tier)
    return replace(decision, arm=arm, propensity=1.0, reason=Reason.BUDGET, revision=DECLARED)
