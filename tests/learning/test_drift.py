import math
from typing import Any

import numpy as np
import pytest

from learning.drift import GAINS, LOSSES, THRESHOLD, Detector, Kind


def stream(mean: float, count: int, *, seed: int) -> Any:
    return (np.random.default_rng(seed).random(count) < mean).astype(float)


def of(kind: Kind, count: int) -> Any:
    return np.full(count, kind, dtype=np.int64)


def watch(detector: Detector, values: Any, *, means: Any, kind: Kind = Kind.WHOLE) -> Any:
    return detector.watch(values, means=means, kinds=of(kind, len(values)))


def test_a_story_says_what_each_kind_of_outcome_falls_by() -> None:
    # A quarter becomes wrong and the checks see nine tenths of it: of 100 unflagged answers 22.5
    # are flagged now and 2.5 more are wrong, so that 75 of 77.5 parts of the quality are left.
    at = int(np.flatnonzero(np.isclose(LOSSES.falls, [0.225, 1 - 75 / 77.5, 0.25]).all(axis=1))[0])
    assert LOSSES.falls[at, Kind.WHOLE] == 0.25
    assert LOSSES.weights.sum() == pytest.approx(1.0)
    assert GAINS.weights.sum() == pytest.approx(1.0)


def test_one_outcome_by_hand() -> None:
    detector, alarm = watch(Detector(), np.array([0.0]), means=np.array([0.8]))
    # (0 + 1) x (1 + c m / (1 - m)) with m = .8
    assert detector.wealth == pytest.approx([1 + fall * 4 for fall in LOSSES.falls[:, Kind.WHOLE]])
    assert alarm is None


def test_two_outcomes_of_two_kinds_by_hand() -> None:
    detector, _ = Detector().watch(
        np.array([0.0, 1.0]),
        means=np.array([0.8, 0.5]),
        kinds=np.array([Kind.FLAG, Kind.UNFLAGGED]),
    )
    falls = LOSSES.falls
    assert detector.wealth == pytest.approx((1 + falls[:, 0] * 4 + 1) * (1 - falls[:, 1]))


def test_evidence_is_weighted_by_story() -> None:
    detector = Detector(wealth=tuple(float(number) for number in range(len(LOSSES.weights))))
    by_hand = sum(w * n for n, w in enumerate(LOSSES.weights.tolist()))
    assert detector.evidence == pytest.approx(by_hand)


def test_a_stream_in_pieces_is_the_same_stream() -> None:
    values, means = stream(0.8, 900, seed=1), np.full(900, 0.82)
    kinds = np.arange(900) % 3
    whole, _ = Detector(threshold=1e300).watch(values, means=means, kinds=kinds)
    pieces = Detector(threshold=1e300)
    for start in range(0, 900, 37):
        part = slice(start, start + 37)
        pieces, _ = pieces.watch(values[part], means=means[part], kinds=kinds[part])
    assert pieces.wealth == pytest.approx(whole.wealth)


def test_a_million_stationary_outcomes_raise_no_alarm() -> None:
    for mean, seed in ((0.6, 1), (0.9, 2)):
        values = stream(mean, 1_000_000, seed=seed)
        _, alarm = watch(Detector(), values, means=np.full(len(values), mean - 0.005))
        assert alarm is None


@pytest.mark.parametrize(
    ("before", "after", "at_most"), [(0.84, 0.511, 70), (0.9, 0.675, 100), (0.9, 0.8, 420)]
)
def test_the_median_delay_is_as_documented(before: Any, after: Any, at_most: Any) -> None:
    delays = []
    for seed in range(101):
        means = np.full(300, before - 0.005)
        detector, _ = watch(Detector(), stream(before, 300, seed=seed), means=means)
        values, means = stream(after, 4000, seed=1000 + seed), np.full(4000, before - 0.005)
        _, alarm = watch(detector, values, means=means)
        delays.append(4001 if alarm is None else alarm + 1)
    assert np.median(delays) <= at_most
    rate = after * math.log(after / before) + (1 - after) * math.log((1 - after) / (1 - before))
    # Nobody can be much faster; what evidence stood before the change helps a little.
    assert np.median(delays) >= 0.6 * math.log(THRESHOLD) / rate


def test_a_check_that_sees_the_loss_or_sees_nothing_of_it_makes_no_alarm_late() -> None:
    # Of right answers (.9) a quarter become wrong: .675. Checks flag .8 of wrong ones, .1 of right
    # ones, or none at all; a detector that expects labels to fall as flags do would wait for ever.
    for caught, wrongly in ((0.8, 0.1), (0.0, 0.0)):
        delays = []
        for seed in range(21):
            rng = np.random.default_rng(seed)
            right = rng.random(3000) < 0.675
            flagged = rng.random(3000) < np.where(right, wrongly, caught)
            share = 0.9 * wrongly + 0.1 * caught  # flagged before the loss
            good = 0.9 * (1 - wrongly) / (1 - share)  # right of the unflagged, before it
            rows = [(1.0 - flag, 1 - share, Kind.FLAG) for flag in flagged]
            labels = [(float(fine), good, Kind.UNFLAGGED) for fine in right]
            mixed = [
                row
                for first, second, flag in zip(rows, labels, flagged, strict=True)
                for row in ([first] if flag else [first, second])
            ]
            values, means, kinds = (np.array(column) for column in zip(*mixed, strict=True))
            detector, alarm = Detector().watch(values, means=means, kinds=kinds.astype(np.int64))
            assert detector.evidence == 0.0
            assert alarm is not None
            delays.append(alarm + 1)
        assert np.median(delays) < 400


def test_an_alarm_names_the_outcome_and_starts_again() -> None:
    detector, alarm = watch(Detector(threshold=100.0), np.zeros(50), means=np.full(50, 0.9))
    assert alarm is not None
    assert 0 < alarm < 10
    assert detector.evidence == 0.0


def test_a_handful_of_wrong_answers_of_a_perfect_role_is_no_alarm() -> None:
    _, alarm = watch(Detector(), np.zeros(3), means=np.full(3, 0.9999))
    assert alarm is None


def test_what_never_happens_where_nothing_was_expected_is_no_evidence() -> None:
    detector, alarm = watch(Detector(stories=GAINS), np.zeros(50_000), means=np.zeros(50_000))
    assert alarm is None
    assert detector.evidence == pytest.approx(50_000)  # one for each moment, and nothing won


def test_graded_scores_at_their_mean_do_not_alarm() -> None:
    values = np.random.default_rng(0).uniform(0.7, 0.9, 200_000)
    _, alarm = watch(Detector(), values, means=np.full(len(values), 0.79))
    assert alarm is None
