import numpy as np

from learning.components import Estimate
from learning.drift import Kind
from learning.watch import Change, Outcomes, Watch, references


def stream(mean: float, count: int, *, low: float, high: float) -> Outcomes:
    values = (np.random.default_rng(5).random(count) < mean).astype(float)
    kinds = np.full(count, Kind.WHOLE, dtype=np.int64)
    return Outcomes(values=values, low=np.full(count, low), high=np.full(count, high), kinds=kinds)


def test_a_fall_is_told_from_a_rise() -> None:
    _, fallen = Watch().see(stream(0.6, 400, low=0.88, high=0.92))
    assert fallen is not None
    assert fallen.change is Change.WORSE
    _, risen = Watch().see(stream(0.9, 400, low=0.58, high=0.62))
    assert risen is not None
    assert risen.change is Change.BETTER


def test_what_should_be_so_raises_nothing_and_is_remembered() -> None:
    watch, alarm = Watch().see(stream(0.9, 5_000, low=0.88, high=0.92))
    assert alarm is None
    assert watch != Watch()


def test_an_alarm_starts_both_detectors_again() -> None:
    watch, alarm = Watch().see(stream(0.1, 400, low=0.88, high=0.92))
    assert alarm is not None
    assert watch == Watch()


def test_references_wait_until_enough_was_seen() -> None:
    estimate = Estimate(
        mean=np.array([0.8, 0.9]), own=np.array([0.03, 0.05]), common=np.array([0.04, 0.12])
    )
    low, _ = references(estimate, count=np.array([40.0, 40.0]))
    assert np.isnan(low).all()
    low, high = references(estimate, count=np.array([100.0, 100.0]))
    doubt = np.array([0.05, 0.13])  # 3, 4, 5 and 5, 12, 13
    assert np.allclose(low, np.array([0.8, 0.9]) - doubt)
    assert np.allclose(high, np.array([0.8, 0.9]) + doubt)
