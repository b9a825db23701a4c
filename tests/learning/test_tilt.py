import math
from dataclasses import replace

import numpy as np
import pytest

from learning.tilt import RATIO_MAX, ROWS_MIN, Rows, Tilt, proven

SHARES = np.array([[0.5, 0.5], [0.5, 0.5]])  # two roles; a cheap arm and a dear one
COST = np.array([0.1, 1.0])
WORTH = 2.0  # USD per point of quality


def logged(rng: np.random.Generator, *, count: int, lift: tuple[float, float]) -> Rows:
    """The cheap arm is right with 0.6 + lift x in a role, the dear one with 0.9 whatever x is."""
    role = rng.integers(0, 2, count)
    arm = rng.integers(0, 2, count)
    features = rng.choice([-1.0, 1.0], (count, 3))
    chance = np.where(arm == 0, 0.6 + np.array(lift)[role] * features[:, 0], 0.9)
    return Rows(
        role=role,
        arm=arm,
        propensity=np.full(count, 0.5),
        quality=(rng.random(count) < chance).astype(float),
        cost=COST[arm],
        weight=np.ones(count),
        features=features,
    )


def shown(rows: Rows, *, spare: float = 0.002) -> Tilt | None:
    return proven(rows, shares=SHARES, price_of_quality=WORTH, spare=spare)


def test_features_that_say_nothing_never_tilt() -> None:
    for seed in range(200):
        rows = logged(np.random.default_rng(seed), count=1_000, lift=(0.0, 0.0))
        assert shown(rows) is None


def test_a_planted_lift_tilts_its_role_and_no_other() -> None:
    found = shown(logged(np.random.default_rng(0), count=4_000, lift=(0.3, 0.0)))
    assert found is not None
    assert found.on.tolist() == [True, False]
    easy, hard = np.array([[1.0, 1.0, 1.0]]), np.array([[-1.0, 1.0, 1.0]])
    here, there = np.array([0]), np.array([1])
    assert found.chances(SHARES, role=here, features=easy)[0, 0] > 0.65
    assert found.chances(SHARES, role=here, features=hard)[0, 0] < 0.35
    assert found.chances(SHARES, role=there, features=easy)[0].tolist() == [0.5, 0.5]


def test_a_tilt_that_came_on_is_truly_better_and_keeps_the_quality() -> None:
    found = shown(logged(np.random.default_rng(1), count=4_000, lift=(0.3, 0.3)))
    assert found is not None
    features = np.array([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
    chances = found.chances(SHARES, role=np.zeros(8, dtype=np.int64), features=features)
    quality = np.column_stack([0.6 + 0.3 * features[:, 0], np.full(8, 0.9)])
    assert (chances * quality).sum(axis=1).mean() > 0.5 * (0.6 + 0.9)
    gain = ((chances - 0.5) * (WORTH * quality - COST)).sum(axis=1).mean()
    assert gain > 0.05  # of 0.15 at most, were every choice moved: 2 x .3 / 4


def test_too_few_rows_show_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = logged(rng, count=2 * ROWS_MIN, lift=(0.3, 0.3))
    few = rows.where(np.arange(len(rows.role)) < ROWS_MIN)
    assert shown(few) is None


def test_a_gain_that_costs_quality_beyond_what_may_be_spared_is_not_taken() -> None:
    """Where only cost differs by x, the tilt saves money; quality is then a matter of luck."""
    rng = np.random.default_rng(2)
    rows = logged(rng, count=4_000, lift=(0.0, 0.0))
    dear = np.where(rows.arm == 0, 0.1, 1.0 - 0.8 * rows.features[:, 0])
    worse = np.where(rows.arm == 0, 0.4 + 0.3 * (rows.features[:, 0] > 0), 0.9)
    rows = replace(rows, cost=dear, quality=(rng.random(4_000) < worse).astype(float))
    assert proven(rows, shares=SHARES, price_of_quality=0.1, spare=0.5) is not None
    assert proven(rows, shares=SHARES, price_of_quality=0.1, spare=0.0) is None


def test_chances_sum_to_one_and_stay_within_a_factor_of_their_shares() -> None:
    tilt = Tilt(
        slopes=np.array([[[5.0], [-5.0]], [[0.0], [0.0]]]),
        means=np.zeros((2, 1, 2)),
        centre=np.zeros((1, 1)),
        scale=np.ones(1),
        price_of_quality=1.0,
        sharpness=1.0,
        on=np.array([True]),
    )
    shares = np.array([[0.02, 0.98]])
    features = np.array([[-3.0], [0.0], [3.0]])
    found = tilt.chances(shares, role=np.zeros(3, dtype=np.int64), features=features)
    assert found.sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    assert found[1].tolist() == pytest.approx([0.02, 0.98])  # nothing said: as it was
    # at x = 3 worth is 15 and -15: the thin arm's factor is capped, the thick one's is exp(-0.6)
    thick = math.exp(-15.0 - (0.02 * 15.0 - 0.98 * 15.0))
    assert found[2, 0] == pytest.approx(0.02 * RATIO_MAX / (0.02 * RATIO_MAX + 0.98 * thick))


def test_label_weights_count_as_so_many_rows() -> None:
    rows = logged(np.random.default_rng(3), count=4_000, lift=(0.3, 0.3))
    twice = replace(rows, weight=np.full(4_000, 2.0))
    one, other = shown(rows), shown(twice)
    assert one is not None
    assert other is not None
    assert other.slopes == pytest.approx(one.slopes)
    assert other.means == pytest.approx(one.means)
