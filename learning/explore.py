"""Where the exploration budget goes: arms that may turn out better, weighed by doubt and saving.

With the programme's price of quality l, an arm's worth in a role is quality * l - cost. An arm is
worth exploring when its worth could, at ``OPTIMISM`` deviations, beat the mix in force:

    hope_ra = max(0, worth_ra + OPTIMISM * l * deviation_ra - worth of the mix in r)

The budget of a role goes to its arms in proportion to hope, capped by what the exploration itself
would cost. What exploration asks for stands as a lower bound in the programme, so the quality it
risks is paid for by the other shares: an explored arm cannot break the floor that the programme
proves. A share up to (q0 - F)/q0 is safe even if the explored arm never succeeds.
Fails when an arm looks worse than it is by more than ``OPTIMISM`` deviations; the trickle keeps
every cheaper arm alive for that, new models that are held included.
"""

from collections.abc import Sequence

import numpy as np

from learning.compose import Composed
from learning.tally import Floats

OPTIMISM = 2.0
FULL_AT = 0.2  # the whole budget is spent on a hope of saving this share of the role's cost


def exploration(  # noqa: PLR0913 - each says something else of the arms
    arms: Composed,
    *,
    shares: Floats,
    allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    price_of_quality: float,
    budget: float,
    alive: Sequence[tuple[str, float]],
    held: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None = None,
) -> Floats:
    """Least share of every arm (roles, arms).

    ``budget`` is the share of a role that may be spent on hope, ``held`` (roles, arms) says of
    which arms none of it may: new models that have had their labels (`canary`). ``alive`` gives
    each arm's start tier and the share that the best arm of that tier keeps while it is cheaper
    than the mix in force, so that a model which recovers is noticed.
    """
    worth = price_of_quality * arms.quality - arms.cost
    current = (shares * worth).sum(axis=1, keepdims=True)
    hope = np.maximum(worth + OPTIMISM * price_of_quality * arms.deviation - current, 0.0)
    hope = np.where(allowed if held is None else allowed & ~held, hope, 0.0)
    regret = np.maximum(current - worth, 0.0)
    score = np.where(hope > 0, hope**2 / (hope + regret + 1e-300), 0.0)
    total = score.sum(axis=1, keepdims=True)
    spent_now = (shares * arms.cost).sum(axis=1, keepdims=True)
    gain = (hope.max(axis=1, keepdims=True) / np.maximum(FULL_AT * spent_now, 1e-300)).clip(0, 1)
    least = np.where(total > 0, score / np.maximum(total, 1e-300), 0.0) * budget * gain
    cheaper = allowed & (arms.cost < spent_now)
    rows = np.arange(len(shares))
    for start, share in dict(alive).items():
        own = np.array([name == start for name, _ in alive])
        rank = np.where(cheaper & own, worth, -np.inf)
        best = rank.argmax(axis=1)
        least[rows, best] += np.where(np.isfinite(rank[rows, best]), share, 0.0)
    return np.asarray(least)
