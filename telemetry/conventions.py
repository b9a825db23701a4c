"""The two histograms of OpenTelemetry's GenAI conventions, kept as numbers and sent as OTLP.

Cumulative, with the bucket boundaries that the conventions recommend. docs/telemetry.md has the
measurement that speaks against the SDK's instruments here.
"""

from collections.abc import Mapping
from typing import Final

from telemetry import names
from telemetry.otlp import KeyValues, double, field, fixed64
from telemetry.tallies import Spread

_CUMULATIVE: Final = b"\x10\x02"


class ConventionHistogram:
    """One histogram metric and its series."""

    def __init__(self, name: str, *, unit: str, meaning: str, bounds: tuple[float, ...]) -> None:
        self._head = b"".join(
            field(number, text.encode()) for number, text in ((1, name), (2, meaning), (3, unit))
        )
        self._bounds = bounds
        self._explicit = field(7, b"".join(double(0, bound)[1:] for bound in bounds))
        self._attributes = KeyValues(9)
        self._spreads: dict[tuple[tuple[str, object], ...], tuple[bytes, Spread]] = {}

    def spread(self, attributes: Mapping[str, object]) -> Spread:
        """Return the numbers of ``attributes``; the caller bounds how many of them there are."""
        key = tuple(attributes.items())
        known = self._spreads.get(key)
        if known is not None:
            return known[1]
        spread = Spread(self._bounds)
        self._spreads[key] = (self._attributes.any(attributes), spread)
        return spread

    def encode(self, *, start_ns: int, now_ns: int) -> bytes:
        """Return the `Metric` with its tag (field 2); b"" while nothing was recorded."""
        points = [
            self._point(attributes, spread, start_ns, now_ns)
            for attributes, spread in self._spreads.values()
            if spread.count
        ]
        if not points:
            return b""
        histogram = b"".join((*points, _CUMULATIVE))
        return field(2, self._head + field(9, histogram))

    def _point(self, attributes: bytes, spread: Spread, start_ns: int, now_ns: int) -> bytes:
        parts = (
            attributes,
            fixed64(2, start_ns),
            fixed64(3, now_ns),
            fixed64(4, spread.count),
            double(5, spread.total),
            field(6, b"".join(count.to_bytes(8, "little") for count in spread.buckets)),
            self._explicit,
            double(11, spread.smallest),
            double(12, spread.largest),
        )
        return field(1, b"".join(parts))


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
