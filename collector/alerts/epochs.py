"""Under which terms outcomes are comparable: an epoch ends when what a role runs on changes.

Only the role's own terms, tiers and prices count, so that editing one role blinds no other.
"""

from collections.abc import Iterable
from hashlib import sha256

from telemetry.terms import RoleTerms, Terms


def roles_of(terms: Terms) -> tuple[str, ...]:
    """Return the roles of the policy, each once, in its order."""
    return tuple(dict.fromkeys(each.role for each in terms.roles))


def terms_of(terms: Terms, role: str | None) -> tuple[RoleTerms, ...]:
    """Return the terms of a role in all its modes; of every role for None."""
    return tuple(each for each in terms.roles if role is None or each.role == role)


def quality_epoch(terms: Terms, role: str | None) -> str:
    """Return what changes when a role's grades stop being comparable."""
    own = terms_of(terms, role)
    models = [terms.tiers[tier].models for tier in _tiers(own) if tier in terms.tiers]
    return _digest([own, models, terms.alerts.quality_of(role)])


def cost_epoch(terms: Terms, role: str | None) -> str:
    """Return what changes when a role's costs stop being comparable: prices too."""
    own = terms_of(terms, role)
    tiers = [terms.tiers[tier] for tier in _tiers(own) if tier in terms.tiers]
    return _digest([own, tiers, terms.alerts.cost_of(role)])


def _tiers(own: Iterable[RoleTerms]) -> list[str]:
    return list(dict.fromkeys(tier for each in own for tier in each.tiers))


def _digest(parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:16]
