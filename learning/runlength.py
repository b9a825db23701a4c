"""How long an alarm takes to come when it should not, and when it should: by seeded simulation.

Outcomes are drawn anew from a pool of outcomes as they were, singly or in blocks that keep what
hangs together in time, and run through the detector that alarms. Nothing here is a bound; the
bounds are those of `learning.edetector`.
"""

from dataclasses import dataclass

import numpy as np

from learning.edetector import WEALTH_MAX, bets
from learning.tally import Floats

WARM_UP = 300  # good outcomes before the change: evidence does not stand at 0 when it comes


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is simulated: ``block`` outcomes of the pool at a time, in ``streams`` streams."""

    limit: float  # 0..1, of the mean of bad outcomes
    arl: float
    streams: int = 500
    block: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Outcomes from a change to its alarm. ``missed``: share of streams without one in time."""

    median: float | None  # None: more than half were missed
    p90: float | None
    missed: float


def draw(pool: Floats, *, shape: tuple[int, int], block: int, rng: np.random.Generator) -> Floats:
    """Return (streams, steps) outcomes of the pool (n,), in blocks of its own order."""
    streams, steps = shape
    block = max(1, min(block, len(pool)))
    count = -(-steps // block)
    starts = rng.integers(0, len(pool) - block + 1, size=(streams, count))
    where = (starts[:, :, None] + np.arange(block)).reshape(streams, count * block)
    return np.asarray(pool[where[:, :steps]], dtype=np.float64)


def alarms(bad: Floats, *, limit: float, arl: float) -> Floats:
    """Return per stream the number of the outcome that alarms, from 1; infinity for none.

    ``bad`` is (streams, steps), each in 0..1.
    """
    edges = np.array(bets(limit))
    wealth = np.zeros((len(bad), len(edges)))
    first = np.full(len(bad), np.inf)
    for step in range(bad.shape[1]):
        wealth += 1.0
        wealth *= 1.0 + edges * (bad[:, step, None] - limit)
        np.minimum(wealth, WEALTH_MAX, out=wealth)
        over = (wealth.mean(axis=1) >= arl) & np.isinf(first)
        first[over] = step + 1
    return first


def false_alarms(pool: Floats, plan: Plan, *, steps: int, rng: np.random.Generator) -> float:
    """Return the share of streams with an alarm within ``steps`` outcomes of the pool as it is."""
    bad = draw(pool, shape=(plan.streams, steps), block=plan.block, rng=rng)
    return float(np.isfinite(alarms(bad, limit=plan.limit, arl=plan.arl)).mean())


def delay(
    good: Floats, changed: Floats, plan: Plan, *, within: int, rng: np.random.Generator
) -> Delay:
    """Return how long the alarm takes once outcomes come from ``changed`` and not from ``good``.

    Streams that alarmed before the change are left out.
    """
    bad = np.concatenate(
        [
            draw(pool, shape=(plan.streams, steps), block=plan.block, rng=rng)
            for pool, steps in ((good, WARM_UP), (changed, within))
        ],
        axis=1,
    )
    first = alarms(bad, limit=plan.limit, arl=plan.arl) - WARM_UP
    late = first[first > 0]
    if not len(late):
        return Delay(median=None, p90=None, missed=1.0)
    median, p90 = (float(np.quantile(late, q, method="higher")) for q in (0.5, 0.9))
    return Delay(
        median=median if np.isfinite(median) else None,
        p90=p90 if np.isfinite(p90) else None,
        missed=float(np.isinf(late).mean()),
    )


def worsened(pool: Floats, *, mean: float, rng: np.random.Generator) -> Floats:
    """Return the pool with as many outcomes turned all bad as it takes to reach ``mean``.

    A pool that is worse already is returned as it is.
    """
    lacking = (mean - float(pool.mean())) * len(pool)
    if lacking <= 0:
        return pool
    order = rng.permutation(len(pool))
    gained = np.cumsum(1.0 - pool[order])
    count = int(np.searchsorted(gained, lacking)) + 1
    changed = pool.copy()
    changed[order[:count]] = 1.0
    return changed
