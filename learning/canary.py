"""New models as canaries: a bounded number of labels may be spent on trying one.

A tier that comes into a role's range, or a version that answers in the place of another, is new.
Exploration tries it while it has hope, until

    used_t = sum over prefixes with t in them of (sum w)² / sum w²  >=  budget

labels that count as evidence have been spent on steps in which it was asked. From then on no hope
buys it steps: it keeps the trickle of its start tier, and whatever the programme gives it on proof.
So it may still prove itself, slowly. It is not held where the declared arm walks it (people chose
it), nor where a proven mix gives it more than exploration could ask for.
The count is over evidence that counts: it begins anew with another version and with an alarm, and
labels that leave the history leave it too.
Fails when labels come late: what is under way when the budget is reached comes on top, as does the
rest of the tick. Without labels nothing is spent, and exploration goes on within what is safe.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from learning.arms import Arms
from learning.programme import Solution
from learning.tally import Floats, Stat, Tally

Bools = np.ndarray[tuple[int, int], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Canaries:
    """``used`` is the labels (roles,) spent on each new tier, ``budget`` how many each may cost."""

    used: Mapping[str, Floats]
    budget: float


def labels_used(
    tally: Tally, *, tiers: Iterable[str], since: Mapping[str, int]
) -> Mapping[str, Floats]:
    """Labels (cells,) on steps in which each of ``tiers`` was asked, those after ``since`` alone.

    A label of an answer that was chosen with some chance is one label, whatever it weighs; one that
    is shared by the steps of a task is one label in all.
    """
    total = tally.total(half_life=math.inf, since=since)
    count = np.zeros(total.shape[:2])
    for first in (Stat.PASSED_W, Stat.FAILED_W):
        w, ww = total[:, :, first], total[:, :, first + 1]
        count += np.where(ww > 0, w**2 / np.where(ww > 0, ww, 1.0), 0.0)
    return {
        tier: count[:, [tier in prefix for prefix in tally.prefixes]].sum(axis=1) for tier in tiers
    }


def held(
    arms: Arms,
    *,
    canaries: Canaries | None,
    declared: np.ndarray[tuple[int], np.dtype[np.int64]],
    before: Solution | None,
    explored_max: float,
) -> Bools | None:
    """Arms (roles, arms) that exploration may not buy steps for; None where no model is new.

    ``declared`` (roles,) is the table's arm, ``before`` the last solution, of whose mix exploration
    may be ``explored_max`` a role.
    """
    if canaries is None:
        return None
    found = np.zeros((len(declared), len(arms.chains)), dtype=bool)
    for tier, used in canaries.used.items():
        walks = np.array([tier in path for path in arms.chains])
        spent = (used >= canaries.budget) & ~walks[declared]
        if before is not None and before.proven:
            spent &= before.shares[:, walks].sum(axis=1) <= explored_max
        found |= spent[:, None] & walks[None, :]
    return found
