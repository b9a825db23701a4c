"""Recent decisions as a replay looks at them, and what a revision would have done with each."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from collector.store import Store
from learning.arms import chain
from learning.revision import Revision, fitted, parse_arm
from telemetry.records import Arm, Reason
from telemetry.terms import RoleTerms, Terms

FREE: Final = frozenset({Reason.DECLARED, Reason.LEARNED, Reason.EXPLORED})
ACTING: Final = ("propose", "bounded")  # modes in which a revision is served
# How many decisions a preview or a difference looks at.
STEPS_DEFAULT: Final = 20_000
STEPS_MAX: Final = 100_000

_STEPS: Final = """
SELECT decision_id, start_ns, cell, role, mode, tier_start, on_fail, offered, propensity, reason,
  pinned, cost_usd, quality
FROM decisions WHERE start_ns >= $since ORDER BY start_ns DESC LIMIT $limit
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One decision. ``free`` says that a revision may decide steps like it.

    ``offered`` stand in the order of the ladder; ``declared`` is one of them.
    """

    at_ns: int
    cell: str
    role: str
    mode: str | None
    offered: tuple[Arm, ...]
    declared: Arm
    arm: Arm
    propensity: float
    cost_usd: float | None
    quality: float | None
    free: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Recent:
    """The steps that were found, newest first; ``others`` are decisions that nothing can move."""

    steps: tuple[Step, ...]
    others: int

    @property
    def count(self) -> int:
        """All decisions looked at."""
        return len(self.steps) + self.others


def recent_steps(store: Store, terms: Terms, *, limit: int, since_ns: int = 0) -> Recent:
    """Return the newest ``limit`` decisions since ``since_ns``."""
    rows = store.read(_STEPS, {"limit": limit, "since": since_ns})
    offer = cache(_offer)
    found = [step for row in rows if (step := _step(row, terms, offer)) is not None]
    return Recent(steps=tuple(found), others=len(rows) - len(found))


def given(revision: Revision | None, step: Step, terms: Terms) -> Mapping[Arm, float]:
    """Return the share of each offered arm under ``revision``; None is the declared policy."""
    known = None if revision is None else shares_of(revision, step, terms)
    found = None
    if known is not None and step.free:
        shares = {parse_arm(arm): share for arm, share in known.items()}
        found = fitted(shares, step.offered, declared=step.declared)
    if found is None:
        return {arm: 1.0 if arm == step.declared else 0.0 for arm in step.offered}
    return found


def shares_of(revision: Revision, step: Step, terms: Terms) -> Mapping[str, float] | None:
    """Return what ``revision`` says of a step: its cell, its mode's or its role's shares."""
    role = terms.of(step.role, step.mode)
    own = role is not None and role.mode is not None
    names = [step.cell, f"{step.role}|{step.mode or ''}|"] + ([] if own else [f"{step.role}||"])
    return next((revision.shares[name] for name in names if name in revision.shares), None)


def _step(row: Mapping[str, Any], terms: Terms, offer: Any) -> Step | None:
    """Return a row as a step, or None when it lacks what a replay needs."""
    if not row["cell"] or not row["offered"] or not row["propensity"] or not row["on_fail"]:
        return None
    role = terms.of(row["role"], row["mode"])
    if role is None:
        return None
    arms, declared = offer(row["offered"], role)
    arm = parse_arm(f"{row['tier_start']}/{row['on_fail']}")
    if arm not in arms:
        return None
    return Step(
        at_ns=row["start_ns"],
        cell=row["cell"],
        role=row["role"],
        mode=row["mode"],
        offered=arms,
        declared=declared,
        arm=arm,
        propensity=row["propensity"],
        cost_usd=row["cost_usd"],
        quality=row["quality"],
        free=row["reason"] in FREE and not row["pinned"] and role.learn in ACTING,
    )


def _offer(text: str, role: RoleTerms) -> tuple[tuple[Arm, ...], Arm]:
    arms = tuple(parse_arm(arm) for arm in text.split(","))
    return arms, declared_among(arms, role)


def declared_among(arms: tuple[Arm, ...], role: RoleTerms) -> Arm:
    """Return the arm that the table means among those a step was offered.

    Where its tier is not offered, that is the nearest one above, else the nearest below.
    """
    tiers = tuple(dict.fromkeys(arm.tier for arm in arms))
    if role.declared.tier in tiers:
        wanted = chain(role.declared, tiers=tiers)
        return next((arm for arm in arms if chain(arm, tiers=tiers) == wanted), arms[-1])
    at = role.tiers.index(role.declared.tier)
    above = [arm for arm in arms if arm.tier in role.tiers[at:]]
    return above[0] if above else arms[-1]
