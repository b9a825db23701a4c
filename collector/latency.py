"""Latency in buckets 5 % wide, so that quantiles add up over minutes, roles and tiers."""

import math
from collections.abc import Mapping
from typing import Final

GROWTH: Final = 1.05
BUCKET_MAX: Final = 400  # about 83 hours
_LOG_GROWTH: Final = math.log(GROWTH)


def bucket(nanoseconds: int) -> int:
    """Return the bucket of a latency; bucket 0 holds all up to one millisecond.

    >>> bucket(0), bucket(1_000_000), bucket(1_060_000), bucket(10**30)
    (0, 0, 2, 400)
    """
    if nanoseconds <= 1_000_000:
        return 0
    return min(math.ceil(math.log(nanoseconds / 1e6) / _LOG_GROWTH), BUCKET_MAX)


def seconds(number: int) -> float:
    """Return the middle of a bucket in seconds; it is within 2.5 % of what the bucket holds."""
    return GROWTH ** (number - 0.5) / 1e3 if number else 0.001


def quantile(counts: Mapping[int, float], share: float) -> int | None:
    """Return the bucket that holds the quantile of ``counts`` by bucket; None without any.

    >>> quantile({3: 1.0, 7: 18.0, 9: 1.0}, 0.95), quantile({}, 0.5)
    (7, None)
    """
    wanted, below = share * sum(counts.values()), 0.0
    for number in sorted(counts):
        below += counts[number]
        if below >= wanted:
            return number
    return max(counts, default=None)  # rounding of weights left a breath to go
