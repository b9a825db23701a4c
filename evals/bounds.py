"""Confidence bounds for means of bounded numbers.

``normal``: mean -/+ z s / sqrt(n). Honest for many values of moderate range; too narrow for few or
heavy ones.
``bernstein``: the empirical Bernstein bound. For values in a range of width R, with confidence
1 - a: half width = sqrt(2 v ln(2/a) / n) + 7 R ln(2/a) / (3 (n - 1)). Holds at one fixed n, for any
distribution in the range. Source: Maurer and Pontil 2009.
``betting``: bets against every candidate mean m at once; a candidate that would have multiplied a
gambler's money by 1/a is rejected. Holds at every n at once, so it may be looked at while it
grows. Needs a range; wide ranges (small propensities) make it cautious, never wrong.
Source: Waudby-Smith and Ramdas 2024, predictable plug-in bets.
"""

import math
from statistics import NormalDist

import numpy as np

from evals.worlds import Floats

HALVINGS = 40  # of the candidate means; the gambler's money falls as the candidate rises


def normal(values: Floats, *, error: float = 0.05) -> tuple[float, float]:
    """Two-sided interval; wants at least 2 values."""
    half = NormalDist().inv_cdf(1 - error / 2) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def bernstein(values: Floats, *, width: float, error: float = 0.05) -> tuple[float, float]:
    """Two-sided interval for values that span at most ``width``; wants at least 2 values."""
    count, log = len(values), math.log(4 / error)
    half = math.sqrt(2 * float(values.var(ddof=1)) * log / count)
    half += 7 * width * log / (3 * (count - 1))
    return float(values.mean()) - half, float(values.mean()) + half


def betting_low(values: Floats, *, low: float, high: float, error: float = 0.05) -> float:
    """Lower bound of the mean of values in low..high, valid at every length."""
    unit = np.clip((values - low) / (high - low), 0.0, 1.0)
    count = np.arange(1, len(unit) + 1)
    mean = (0.5 + np.cumsum(unit)) / (count + 1)
    spread = (0.25 + np.cumsum((unit - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])  # a bet may only know the past
    bets = np.sqrt(2 * math.log(1 / error) / (before * len(unit)))
    left, right = 0.0, float(unit.mean())
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        capped = np.minimum(bets, 0.75 / max(middle, 1e-12))
        money = np.cumsum(np.log1p(capped * (unit - middle)))
        rejected = float(money.max()) >= math.log(1 / error)
        left, right = (middle, right) if rejected else (left, middle)
    return low + (high - low) * left
