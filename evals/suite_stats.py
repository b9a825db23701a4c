"""Intervals and tests for answers that passed or failed, singly and in pairs.

``wilson``: a share of n trials. Source: Wilson 1927.
``paired_difference``: the difference of two shares over the same n cases, from the discordant
cases alone, with one case added to each kind so that no interval has width 0. Source: Bonett and
Price 2012.
``mcnemar``: the exact two-sided probability of discordant cases at least this lopsided when both
sides are equally good. Source: McNemar 1947, by the binomial distribution.
``bootstrap``: percentiles of the mean of resampled differences. Source: Efron 1979.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

Z95: Final = 1.959963984540054
RESAMPLES: Final = 2_000
CASES_MAX: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """``hits`` of ``n`` with a 95 % interval; without trials nothing is known."""

    hits: int
    n: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A difference in -1..1 over ``n`` pairs with a 95 % interval."""

    n: int
    mean: float
    low: float
    high: float


def wilson(hits: int, n: int) -> Share:
    """Return the share of ``hits`` among ``n`` trials with Wilson's 95 % interval.

    >>> found = wilson(8, 10)
    >>> found.share, round(found.low, 4), round(found.high, 4)
    (0.8, 0.4902, 0.9433)
    """
    assert 0 <= hits <= n, f"{hits} hits among {n}"
    if n == 0:
        return Share(hits=0, n=0, share=None, low=None, high=None)
    mean, z2 = hits / n, Z95 * Z95
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if hits == 0 else max(centre - half, 0.0)
    high = 1.0 if hits == n else min(centre + half, 1.0)
    return Share(hits=hits, n=n, share=mean, low=low, high=high)


def paired_difference(only_first: int, only_second: int, n: int) -> Difference | None:
    """Return the share of the first minus that of the second; None without pairs.

    ``only_first`` of ``n`` cases passed on the first side alone, ``only_second`` on the second.

    >>> found = paired_difference(1, 5, 40)
    >>> found.mean, round(found.low, 4), round(found.high, 4)
    (-0.1, -0.224, 0.0336)
    """
    if n == 0:
        return None
    low, high = _bounds(only_first, only_second, n)
    return Difference(n=n, mean=(only_first - only_second) / n, low=low, high=high)


def _bounds(only_first: float, only_second: float, n: int) -> tuple[float, float]:
    one, two = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    middle = one - two
    half = Z95 * math.sqrt((one + two - middle * middle) / (n + 2))
    return max(middle - half, -1.0), min(middle + half, 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value, in (0, 1].

    >>> mcnemar(1, 5), mcnemar(0, 0)
    (0.21875, 1.0)
    """
    discordant = only_first + only_second
    fewer = min(only_first, only_second)
    tail = sum(math.comb(discordant, k) for k in range(fewer + 1)) / (1 << discordant)
    return min(1.0, 2 * tail)


def bootstrap(differences: Sequence[float], *, rng: random.Random) -> Difference | None:
    """Return the mean of paired differences in -1..1; None for fewer than two pairs."""
    n = len(differences)
    if n < 2:
        return None
    means = sorted(fmean(rng.choices(differences, k=n)) for _ in range(RESAMPLES))
    return Difference(
        n=n,
        mean=fmean(differences),
        low=means[int(0.025 * RESAMPLES)],
        high=means[int(0.975 * RESAMPLES) - 1],
    )


def cases_needed(found: Difference, *, discordant: int, margin: float) -> int | None:
    """Return about how many cases would show a difference no worse than ``-margin``.

    Taken that the difference and the share of discordant cases stay as they are; None when the
    difference itself is at or under the margin, where no number of cases would.

    >>> found = paired_difference(2, 2, 40)
    >>> cases_needed(found, discordant=4, margin=0.05)
    168
    """
    if found.mean + margin <= 0:
        return None
    share = discordant / found.n
    low, high = found.n, CASES_MAX
    while low < high:
        n = (low + high) // 2
        one, two = n * (share + found.mean) / 2, n * (share - found.mean) / 2
        if _bounds(one, two, n)[0] >= -margin:
            high = n
        else:
            low = n + 1
    return low
