"""Numbers that are cheap to add to, and are carried over to prometheus-client from time to time.

A prometheus-client value takes a lock, and with several workers a system call and a write into a
shared file, each time it changes; a step changes some twenty of them. Here a step adds plain
numbers and ``publish`` moves what has gathered, five times a second and before every scrape.
"""

import math
from bisect import bisect_left
from typing import Any


class Tally:
    """What a counter has yet to be told; add to ``pending``."""

    __slots__ = ("_child", "pending")

    def __init__(self, child: Any) -> None:
        self._child = child
        self.pending: float = 0

    def publish(self) -> None:
        """Carry it over."""
        pending, self.pending = self.pending, 0
        if pending:
            self._child.inc(pending)


class Spread:
    """A histogram as plain numbers; ``bounds`` ascend, and a value equal to one falls below it."""

    __slots__ = ("bounds", "buckets", "count", "largest", "smallest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    def record(self, value: float) -> None:
        """Count ``value``; not a number and the infinite are left out."""
        if not math.isfinite(value):
            return
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.total += value
        # Not min() and max(), which take three times as long.
        if value < self.smallest:  # noqa: PLR1730
            self.smallest = value
        if value > self.largest:  # noqa: PLR1730
            self.largest = value


class Mirror:
    """Carries a spread over to a prometheus-client histogram with the same bounds."""

    __slots__ = ("_child", "_published", "_total", "spread")

    def __init__(self, spread: Spread, child: Any) -> None:
        self.spread = spread
        self._child = child
        self._published = [0] * len(spread.buckets)
        self._total = 0.0

    def publish(self) -> None:
        """Carry over what was recorded since the last time.

        prometheus-client adds to a histogram one observation at a time only; its buckets are
        reached directly here, which tests/telemetry/test_metrics.py would see break.
        """
        buckets = self.spread.buckets
        if buckets == self._published:
            return
        for value, now, before in zip(self._child._buckets, buckets, self._published, strict=True):
            if now != before:
                value.inc(now - before)
        self._child._sum.inc(self.spread.total - self._total)
        self._published = list(buckets)
        self._total = self.spread.total
