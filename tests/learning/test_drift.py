import math
from typing import Any

import numpy as np
import pytest

from learning.drift import FALLS, THRESHOLD, Detector


def stream(mean: float, count: int, *, seed: int) -> Any:
    return (np.random.default_rng(seed).random(count) < mean).astype(float)


def test_one_outcome_by_hand() -> None:
    detector, alarm = Detector().watch(np.array([0.0]), means=np.array([0.8]))
    # (0 + 1) x (1 + c m / (1 - m)) with m = .8
    assert detector.wealth == pytest.approx([1 + fall * 4 for fall in FALLS])
    assert alarm is None


def test_two_outcomes_by_hand() -> None:
    detector, _ = Detector().watch(np.array([0.0, 1.0]), means=np.array([0.8, 0.5]))
    assert detector.wealth == pytest.approx([(1 + c * 4 + 1) * (1 - c) for c in FALLS])


def test_a_stream_in_pieces_is_the_same_stream() -> None:
    values, means = stream(0.8, 900, seed=1), np.full(900, 0.82)
    whole, _ = Detector(threshold=1e300).watch(values, means=means)
    pieces = Detector(threshold=1e300)
    for start in range(0, 900, 37):
        pieces, _ = pieces.watch(values[start : start + 37], means=means[start : start + 37])
    assert pieces.wealth == pytest.approx(whole.wealth)


def test_a_million_stationary_outcomes_raise_no_alarm() -> None:
    for mean, seed in ((0.6, 1), (0.9, 2)):
        values = stream(mean, 1_000_000, seed=seed)
        _, alarm = Detector().watch(values, means=np.full(len(values), mean - 0.01))
        assert alarm is None


@pytest.mark.parametrize(
    ("before", "after", "at_most"), [(0.84, 0.511, 75), (0.9, 0.675, 110), (0.9, 0.8, 420)]
)
def test_the_median_delay_is_as_documented(before: Any, after: Any, at_most: Any) -> None:
    delays = []
    for seed in range(101):
        detector, _ = Detector().watch(
            stream(before, 300, seed=seed), means=np.full(300, before - 0.01)
        )
        _, alarm = detector.watch(
            stream(after, 4000, seed=1000 + seed), means=np.full(4000, before - 0.01)
        )
        delays.append(4001 if alarm is None else alarm + 1)
    assert np.median(delays) <= at_most
    rate = after * math.log(after / before) + (1 - after) * math.log((1 - after) / (1 - before))
    assert np.median(delays) >= 0.8 * math.log(THRESHOLD) / rate  # nobody can be much faster


def test_an_alarm_names_the_outcome_and_starts_again() -> None:
    detector, alarm = Detector(threshold=100.0).watch(np.zeros(50), means=np.full(50, 0.9))
    assert alarm is not None
    assert 0 < alarm < 10
    assert detector.evidence == 0.0


def test_graded_scores_at_their_mean_do_not_alarm() -> None:
    values = np.random.default_rng(0).uniform(0.7, 0.9, 200_000)
    _, alarm = Detector().watch(values, means=np.full(len(values), 0.79))
    assert alarm is None
