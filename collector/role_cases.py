"""A role's terms as the learner's case: which arms, which prices, what is still unknown."""

from collections.abc import Mapping

import numpy as np

from collector.learner_state import Carried
from learning.rolewise import Case, role_arms
from learning.switching import Conversations
from learning.tally import Floats
from telemetry.terms import RoleTerms, Terms

# Tokens of an attempt before any was seen: input, output, cached input.
TYPICAL = np.array([1_000.0, 300.0, 0.0])


def obstacle(declared: RoleTerms, terms: Terms) -> str | None:
    """Return why nothing can be learned for a role at all, None when something can."""
    if declared.learn == "off":
        return "learn is off"
    if declared.pin is not None:
        return f"pinned to {declared.pin.model}"
    if declared.floor is None:
        return "no quality_floor"
    if len(declared.tiers) < 2:
        return f"its range is {declared.tiers[0]} alone"
    unpriced = [tier for tier in declared.tiers if terms.tiers[tier].usd_per_token is None]
    return f"no price is known for {', '.join(unpriced)}" if unpriced else None


def learnable(declared: RoleTerms, terms: Terms) -> bool:
    """Say whether a learner can choose among a role's arms."""
    return obstacle(declared, terms) is None


def case_of(
    declared: RoleTerms,
    terms: Terms,
    *,
    carried: Carried,
    usage: Mapping[str, Floats] | None = None,
    conversations: Conversations | None = None,
    canaries: Mapping[str, float] | None = None,
) -> Case:
    """Return the case of a learnable role.

    ``usage`` is the mean tokens of an attempt by tier; ``conversations`` is laid out over the cells
    that the evidence is; ``canaries`` is how many labels each tier with a new model has had.
    """
    assert declared.floor is not None, "obstacle() speaks of this"
    known = usage or {}
    common = np.mean(list(known.values()), axis=0) if known else TYPICAL
    return Case(
        arms=role_arms(declared.tiers, declared=declared.declared, checked=declared.checked),
        declared=declared.declared,
        floor=declared.floor,
        price={tier: np.array(terms.tiers[tier].usd_per_token) for tier in declared.tiers},
        typical={tier: known.get(tier, common) for tier in declared.tiers},
        since=carried.since,
        demoted=carried.demoted,
        conversations=conversations,
        canaries={t: used for t, used in (canaries or {}).items() if t in declared.tiers},
        canary_labels=terms.learning.canary_labels,
    )
