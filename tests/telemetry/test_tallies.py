import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from telemetry.tallies import Mirror, Spread, Tally

BOUNDS = (1.0, 10.0, 100.0)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_finite_number_is_left_out(odd: float) -> None:
    spread = Spread(BOUNDS)
    spread.record(odd)
    spread.record(0.5)
    assert (spread.count, spread.total, spread.smallest, spread.largest) == (1, 0.5, 0.5, 0.5)


def test_a_counter_is_told_once_what_has_gathered() -> None:
    registry = CollectorRegistry()
    tally = Tally(Counter("steps", "steps", registry=registry))
    tally.pending += 2
    tally.pending += 1
    tally.publish()
    tally.publish()
    assert registry.get_sample_value("steps_total") == 3


@given(st.lists(st.lists(st.integers(-5, 200), max_size=10), max_size=5))
def test_a_mirrored_histogram_shows_what_direct_observation_would(rounds: list[list[int]]) -> None:
    registry = CollectorRegistry()
    direct = Histogram("direct", "x", buckets=BOUNDS, registry=registry)
    mirrored = Histogram("mirrored", "x", buckets=BOUNDS, registry=registry)
    mirror = Mirror(Spread(BOUNDS), mirrored)
    for values in rounds:
        for value in values:
            direct.observe(value)
            mirror.spread.record(value)
        mirror.publish()
    for name in ("sum", "count"):
        ours = registry.get_sample_value(f"mirrored_{name}")
        assert ours == registry.get_sample_value(f"direct_{name}")
    for bound in ("1.0", "10.0", "100.0", "+Inf"):
        ours = registry.get_sample_value("mirrored_bucket", {"le": bound})
        assert ours == registry.get_sample_value("direct_bucket", {"le": bound})
