"""Whom a step asks, and whom next: the tier's models in turn, then up as the arm says."""

from typing import NamedTuple

from router.route import Route
from router.targets import Target
from telemetry.records import Arm, Cause


class Candidate(NamedTuple):
    """A model to ask, and why."""

    tier: str
    place: int  # among the tier's models, from 0
    target: Target
    cause: Cause


def first(route: Route, arm: Arm) -> Candidate:
    """Return whom the decision chose."""
    return begin(route, arm.tier, Cause.START)


def after_down(route: Route, arm: Arm, candidate: Candidate) -> Candidate | None:
    """Return whom to ask when ``candidate`` gave no answer: its tier's next model, else up.

    An arm that accepts what fails its checks still goes up: there is nothing to accept.
    """
    models = route.targets(candidate.tier)
    place = candidate.place + 1
    if place < len(models):
        return Candidate(candidate.tier, place, models[place], Cause.FAILOVER)
    up = route.after_fail(arm, candidate.tier) or route.next_up(candidate.tier)
    return None if up is None else begin(route, up, Cause.ESCALATION)


def after_flag(route: Route, arm: Arm, candidate: Candidate) -> Candidate | None:
    """Return whom to ask when ``candidate``'s answer failed its checks; None: nobody."""
    tier = route.after_fail(arm, candidate.tier)
    if tier is None:
        return None
    return begin(route, tier, Cause.ESCALATION)


def begin(route: Route, tier: str, cause: Cause) -> Candidate:
    """Return the first model of a tier."""
    return Candidate(tier, 0, route.targets(tier)[0], cause)
