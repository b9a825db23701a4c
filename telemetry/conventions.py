"""The two histograms of OpenTelemetry's GenAI conventions, kept as numbers and sent as OTLP.

Cumulative, with the bucket boundaries that the conventions recommend. docs/telemetry.md has the
measurement that speaks against the SDK's instruments here.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from telemetry import names
from telemetry.otlp import KeyValues, double, field, fixed64

SERIES_MAX: Final = 2_000  # as many as the OpenTelemetry SDK keeps per metric
_CUMULATIVE = b"\x10\x02"
_OVERFLOW: Final = {"otel.metric.overflow": True}


class Series:
    """One histogram with one set of attributes."""

    __slots__ = ("_bounds", "attributes", "buckets", "count", "largest", "smallest", "total")

    def __init__(self, attributes: bytes, bounds: tuple[float, ...]) -> None:
        self.attributes = attributes
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    def record(self, value: float) -> None:
        """Count ``value``; one equal to a boundary falls below it. Not a number is left out."""
        if value != value:  # noqa: PLR0124 - the cheapest test for NaN
            return
        self.buckets[bisect_left(self._bounds, value)] += 1
        self.count += 1
        self.total += value
        self.smallest = min(self.smallest, value)
        self.largest = max(self.largest, value)


class ConventionHistogram:
    """One histogram metric and its series."""

    def __init__(self, name: str, *, unit: str, meaning: str, bounds: tuple[float, ...]) -> None:
        self._head = b"".join(
            field(number, text.encode()) for number, text in ((1, name), (2, meaning), (3, unit))
        )
        self._bounds = bounds
        self._explicit = field(7, b"".join(double(0, bound)[1:] for bound in bounds))
        self._attributes = KeyValues(9)
        self._series: dict[tuple[tuple[str, object], ...], Series] = {}

    def series(self, attributes: Mapping[str, object]) -> Series:
        """Return the series of ``attributes``; beyond the limit, the one for all others."""
        key = tuple(attributes.items())
        series = self._series.get(key)
        if series is None and len(self._series) >= SERIES_MAX:
            return self.series(_OVERFLOW) if attributes is not _OVERFLOW else self._new(key)
        return series or self._new(key)

    def _new(self, key: tuple[tuple[str, object], ...]) -> Series:
        series = Series(self._attributes.any(dict(key)), self._bounds)
        self._series[key] = series
        return series

    def encode(self, *, start_ns: int, now_ns: int) -> bytes:
        """Return the `Metric` with its tag (field 2); b"" while nothing was recorded."""
        points = [
            self._point(series, start_ns, now_ns)
            for series in self._series.values()
            if series.count
        ]
        if not points:
            return b""
        histogram = b"".join((*points, _CUMULATIVE))
        return field(2, self._head + field(9, histogram))

    def _point(self, series: Series, start_ns: int, now_ns: int) -> bytes:
        buckets = b"".join(count.to_bytes(8, "little") for count in series.buckets)
        return field(
            1,
            b"".join((
                series.attributes,
                fixed64(2, start_ns),
                fixed64(3, now_ns),
                fixed64(4, series.count),
                double(5, series.total),
                field(6, buckets),
                self._explicit,
                double(11, series.smallest),
                double(12, series.largest),
            )),
        )  # fmt: skip


class ConventionMetrics:
    """Both histograms."""

    def __init__(self) -> None:
        self.token_usage = ConventionHistogram(
            names.TOKEN_USAGE,
            unit="{token}",
            meaning="Tokens per model call.",
            bounds=tuple(float(bound) for bound in names.TOKEN_BUCKETS),
        )
        self.operation_duration = ConventionHistogram(
            names.OPERATION_DURATION,
            unit="s",
            meaning="Duration of model calls.",
            bounds=names.DURATION_BUCKETS,
        )

    def encode(self, *, start_ns: int, now_ns: int) -> list[bytes]:
        """Return the metrics that have data, each with its tag."""
        encoded = [
            metric.encode(start_ns=start_ns, now_ns=now_ns)
            for metric in (self.token_usage, self.operation_duration)
        ]
        return [metric for metric in encoded if metric]
