"""From tallies to estimates: every component's mean and doubt, and what attempts cost.

Labels are weighted by one over their chance, so a component's effective number of labels is
(sum w)² / sum w². Flags are known for every attempt and labels only for some: because quality is
learned separately for flagged and unflagged answers and put together with the flag rate of *all*
attempts, the check is used as a proxy that sparse labels only correct (post-stratification, the
prediction-powered form).

Beliefs before anything is seen: the top tier meets the floor; a tier that the table declares meets
it too, for at most 12 observations' worth; answers that escalate or come from other tiers fall 0.1
short; a third of the attempts is flagged and flagged answers are mostly bad.
"""

from collections.abc import Mapping

import numpy as np

from learning.arms import Arms
from learning.components import Belief, Estimate, estimate
from learning.compose import Layout, Part
from learning.tally import Floats, Stat

DECLARED_COUNT = 12.0
OTHER_COUNT = 4.0
SHORT = 0.1
COST_COUNT = 4.0  # attempts that the common cost is worth inside a role


def estimates(
    layout: Layout, *, total: Floats, floor: float, declared: Mapping[str, float]
) -> list[tuple[Estimate, Floats]]:
    """Each component of the layout with the effective counts (roles,) behind it.

    ``total`` is (roles, prefixes, STATS); ``declared`` is the share of roles that start at each
    tier by the table.
    """
    found = []
    for part in layout.parts:
        sums = total[:, layout.arms.prefix_index[part.prefix]]
        count, values, squares = _sums(part, sums)
        belief = _belief(part, top=layout.arms.tiers[-1], floor=floor, declared=declared)
        found.append((estimate(count=count, total=values, squares=squares, belief=belief), count))
    return found


def _sums(part: Part, sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Effective count, sum and sum of squares of a component, (roles,) each."""
    if part.kind == "P":
        flagged = sums[:, Stat.FLAGGED]
        return sums[:, Stat.ATTEMPTS], flagged, flagged
    passed = sums[:, Stat.PASSED_W : Stat.PASSED_WQQ + 1]
    failed = sums[:, Stat.FAILED_W : Stat.FAILED_WQQ + 1]
    label = {"U": passed, "B": failed, "D": passed + failed}[part.kind]
    scale = np.where(label[:, 1] > 0, label[:, 0] / np.maximum(label[:, 1], 1e-12), 0.0)
    return label[:, 0] * scale, label[:, 2] * scale, label[:, 3] * scale


def _belief(part: Part, *, top: str, floor: float, declared: Mapping[str, float]) -> Belief:
    """What is believed of a component before anything is seen."""
    if part.kind == "P":
        return Belief(mean=0.3, variance=0.2, count=OTHER_COUNT)
    if part.kind == "B":
        return Belief(mean=0.3, variance=0.16, count=OTHER_COUNT)
    if part.prefix == (top,):
        return Belief(mean=floor + SHORT * (1 - floor), variance=0.16, count=OTHER_COUNT)
    share = declared.get(part.prefix[0], 0.0) if len(part.prefix) == 1 else 0.0
    return Belief(
        mean=floor - SHORT * (1 - share),
        variance=0.16,
        count=OTHER_COUNT + (DECLARED_COUNT - OTHER_COUNT) * share,
    )


def attempt_costs(
    arms: Arms, *, recent: Floats, price: Mapping[str, Floats], typical: Mapping[str, Floats]
) -> Floats:
    """Expected USD of an attempt after each prefix, (roles, prefixes).

    ``recent`` (roles, prefixes, STATS) are sums of recent attempts; ``price`` holds USD per input,
    output and cached token of each tier, (3,); ``typical`` the tokens of an attempt before any is
    seen, (3,). Input tokens include cached ones. Tokens are learned and prices applied, so a new
    price needs no learning. The verdicts that an answer waits for are part of its attempt; before
    any is seen after a prefix they cost what they do after all others.
    """
    costs = np.zeros(recent.shape[:2])
    verdicts = recent[:, :, Stat.VERDICTS_USD]
    usual = float(verdicts.sum()) / max(float(recent[:, :, Stat.ATTEMPTS].sum()), 1.0)
    for index, prefix in enumerate(arms.prefixes):
        sums, unit = recent[:, index], price[prefix[-1]]
        count = sums[:, Stat.ATTEMPTS]
        used = fresh(sums[:, Stat.TOKENS_IN : Stat.TOKENS_CACHED + 1]) @ unit + verdicts[:, index]
        guess = COST_COUNT * (float(fresh(typical[prefix[-1]]) @ unit) + usual)
        common = (float(used.sum()) + guess) / (float(count.sum()) + COST_COUNT)
        costs[:, index] = (used + COST_COUNT * common) / (count + COST_COUNT)
    return costs


def fresh(tokens: Floats) -> Floats:
    """Input, output and cached tokens (..., 3) with the cached ones taken out of the input."""
    found = np.array(tokens, dtype=float)
    found[..., 0] = np.maximum(found[..., 0] - found[..., 2], 0.0)
    return found
