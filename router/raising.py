"""Steps that start higher than decided: the session has seen a tier fail, or its agent stalls."""

import logging
from dataclasses import replace

from router.exchange import Exchange
from router.policy import DECLARED
from router.request import Request
from router.route import Route, sensible
from router.stall import stalled
from telemetry.records import Arm, Decision, Dialect, Reason

logger = logging.getLogger(__name__)


def raised(exchange: Exchange, asked: Request, decision: Decision) -> Decision:
    """Return ``decision``, or the one that starts at the tier the session has been raised to.

    A raised session starts no lower than its role's declared tier either, and what a learner drew
    does not count any more: so its arm is certain and its propensity exactly 1.
    """
    policy = exchange.loaded.policy
    route = policy.route(decision.context)
    if len(route.tiers) == 1 or route.dialect is Dialect.EMBEDDINGS:
        return decision  # vectors of two models cannot be compared
    if decision.reason is Reason.PINNED:
        return decision  # people fixed the arm
    declared, reason = route.declared, Reason.SESSION
    try:
        start = _start(exchange, asked, decision, route)
    except Exception:  # a fault of ours in here must not cost the step
        logger.exception("step %s starts where it is declared", exchange.decision_id)
        start, reason = declared.tier, Reason.FALLBACK
    if start is None:
        return decision
    wanted = sensible(Arm(tier=start, on_fail=declared.on_fail), route.tiers)
    return replace(decision, arm=wanted, propensity=1.0, reason=reason, revision=DECLARED)


def _start(exchange: Exchange, asked: Request, decision: Decision, route: Route) -> str | None:
    """Return where a raised session's step starts; None when the session is not raised.

    An agent that stalls raises its session one tier, and one more for as long as it stalls there.
    """
    context, ladder = decision.context, exchange.loaded.policy.ladder
    memory = exchange.gateway.memory
    lowest = 0 if context.session is None else memory.tier_floor(context.session, context.role)
    stalls = stalled(asked.body.fields, context.dialect)
    if not stalls and lowest <= ladder.index(route.tiers[0]):
        return None
    lowest = max(lowest, ladder.index(route.declared.tier))
    start = next((name for name in route.tiers if ladder.index(name) >= lowest), route.tiers[-1])
    if stalls:
        start = route.next_up(start) or start
        if context.session is not None:
            memory.raise_to(context.session, context.role, tier=ladder.index(start))
    return start
