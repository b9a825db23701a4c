"""Tests of whether two spans of time differ by more than chance, for people who review drift.

Each returns None where too little was seen to say anything. They take observations as independent:
steps of one task are not quite that, so a p-value here is somewhat too small. Reviewers are shown
n and sizes beside it; nothing acts on these numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import chdtrc

EXPECTED_MIN: Final = 5.0  # of every cell of a G-test; rarer categories are taken together
SAMPLE_MIN: Final = 30  # on either side of a comparison of means
PSI_MIN: Final = 200  # on either side, below which the index is mostly noise


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """``n`` observations with their mean and variance."""

    n: int
    mean: float
    variance: float


def g_test(before: Sequence[float], now: Sequence[float]) -> float | None:
    """Return the p-value in 0..1 of "both rows of counts come from the same shares".

        G = 2 sum O ln(O / E),  chi-squared with (categories - 1) degrees of freedom

    One category on both sides cannot change: 1. Categories expected less than five times on either
    side are counted together; None when two do not remain.
    Source: Sokal and Rohlf, Biometry, 1981, ch. 17.
    """
    rows = [(a, b) for a, b in zip(before, now, strict=True) if a + b > 0]
    total_before, total_now = sum(a for a, _ in rows), sum(b for _, b in rows)
    if total_before <= 0 or total_now <= 0:
        return None
    if len(rows) == 1:
        return 1.0 if min(total_before, total_now) >= EXPECTED_MIN else None
    total = total_before + total_now
    share = min(total_before, total_now) / total
    rows.sort(key=lambda row: -sum(row))
    while len(rows) > 1 and sum(rows[-1]) * share < EXPECTED_MIN:
        (a, b), (c, d) = rows.pop(), rows.pop()
        rows.append((a + c, b + d))
        rows.sort(key=lambda row: -sum(row))
    if len(rows) < 2:
        return None
    g = 0.0
    for pair in rows:
        for observed, side in zip(pair, (total_before, total_now), strict=True):
            if observed > 0:
                g += 2 * observed * math.log(observed * total / (sum(pair) * side))
    return float(chdtrc(len(rows) - 1, max(g, 0.0)))


def psi(before: Sequence[float], now: Sequence[float]) -> float | None:
    """Return the population stability index, sum (q - p) ln(q / p); None below 200 on a side.

    A description of size, not a test: there is no threshold at which it means something. Half a
    count stands in for none.
    """
    if min(sum(before), sum(now)) < PSI_MIN:
        return None
    first = [max(count, 0.5) for count in before]
    second = [max(count, 0.5) for count in now]
    index = 0.0
    for a, b in zip(first, second, strict=True):
        p, q = a / sum(first), b / sum(second)
        index += (q - p) * math.log(q / p)
    return index


def mean_shift(before: Sample, now: Sample) -> float | None:
    """Return the two-sided p-value of "both means are the same", by the normal approximation.

    None below 30 on a side. Equal means without any variance: 1.
    """
    if min(before.n, now.n) < SAMPLE_MIN:
        return None
    spread = math.sqrt(before.variance / before.n + now.variance / now.n)
    difference = abs(before.mean - now.mean)
    if spread == 0.0:
        return 1.0 if difference == 0.0 else 0.0
    return math.erfc(difference / spread / math.sqrt(2.0))


def scores(total: float, n: int) -> Sample:
    """Return scores in 0..1 of which only the sum is known, as a sample.

    The variance is the largest that such a mean allows, that of pass or fail, so a test with it
    says "changed" too rarely rather than too often.
    """
    mean = min(max(total / n, 0.0), 1.0) if n else 0.0
    return Sample(n=n, mean=mean, variance=mean * (1.0 - mean))


def kappa(both: int, first_only: int, second_only: int, neither: int) -> float | None:
    """Return Cohen's kappa of two raters who pass or fail the same answers.

    1 is full agreement, 0 what chance alone gives; None where one of them never varies, so that
    chance alone gives full agreement.

    >>> round(kappa(20, 5, 10, 15), 3)
    0.4
    """
    n = both + first_only + second_only + neither
    if n == 0:
        return None
    agreed = (both + neither) / n
    first, second = (both + first_only) / n, (both + second_only) / n
    chance = first * second + (1 - first) * (1 - second)
    return None if chance >= 1.0 else (agreed - chance) / (1.0 - chance)
