"""Steps that start higher than decided: the session has seen a tier fail, or its agent stalls."""

from dataclasses import replace

from router.exchange import Exchange
from router.policy import DECLARED
from router.request import Request
from router.route import Route, sensible
from router.stall import stalled
from telemetry.records import Arm, Decision, Reason


def raised(exchange: Exchange, asked: Request, decision: Decision) -> Decision:
    """Return ``decision``, or the one that starts at the tier the session has been raised to.

    Raising is certain, so the new decision's propensity is 1; nothing was drawn.
    """
    policy = exchange.loaded.policy
    route = policy.route(decision.context)
    if len(route.tiers) == 1:
        return decision
    start = _start(exchange, asked, decision, route)
    if start == decision.arm.tier:
        return decision
    wanted = sensible(Arm(tier=start, on_fail=decision.arm.on_fail), route.tiers)
    return replace(decision, arm=wanted, propensity=1.0, reason=Reason.SESSION, revision=DECLARED)


def _start(exchange: Exchange, asked: Request, decision: Decision, route: Route) -> str:
    context, tier = decision.context, decision.arm.tier
    ladder = exchange.loaded.policy.ladder
    lowest = 0
    if context.session is not None:
        lowest = exchange.gateway.memory.tier_floor(context.session, context.role)
    if stalled(asked.body.fields, context.dialect):
        above = route.next_up(tier)
        lowest = max(lowest, ladder.index(above) if above else 0)
    if lowest <= ladder.index(tier):
        return tier
    high_enough = (name for name in route.tiers if ladder.index(name) >= lowest)
    return next(high_enough, route.tiers[-1])
