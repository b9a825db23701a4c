from typing import Any

import numpy as np
import pytest

from learning.components import Belief, estimate

BELIEF = Belief(mean=0.5, variance=0.16, count=4.0)


def bernoulli(successes: list[float], tries: list[float]) -> Any:
    good, count = np.array(successes, dtype=float), np.array(tries, dtype=float)
    return estimate(count=count, total=good, squares=good, belief=BELIEF)


def test_nothing_seen_leaves_the_belief_and_a_large_doubt() -> None:
    found = bernoulli([0, 0], [0, 0])
    assert found.mean.tolist() == pytest.approx([0.5, 0.5])
    # the common mean rests on 4 observations of variance 0.16
    assert found.common.tolist() == pytest.approx([0.2, 0.2])
    # a role lies around it with the prior spread of 0.02
    assert (found.own**2).tolist() == pytest.approx([0.02, 0.02])


def test_a_thick_role_stands_on_its_own() -> None:
    found = bernoulli([9000, 2], [10000, 4])
    assert found.mean[0] == pytest.approx(0.9, abs=0.002)
    assert found.own[0] == pytest.approx(np.sqrt(0.09 / 10000), rel=0.05)
    assert found.common[0] < 0.001


def test_a_thin_role_leans_on_the_others() -> None:
    found = bernoulli([90, 91, 89, 90, 0], [100, 100, 100, 100, 1])
    assert 0.5 < found.mean[4] < 0.8  # one failure does not make it a role that always fails
    assert found.own[4] > 3 * found.own[0]


def test_graded_scores_that_hardly_vary_carry_little_doubt() -> None:
    count = np.array([50.0, 50.0])
    graded = estimate(
        count=count, total=0.8 * count, squares=0.641 * count, belief=BELIEF
    )  # variance 0.001
    passfail = bernoulli([40, 40], [50, 50])
    assert graded.own[0] < passfail.own[0] / 3


def test_the_doubt_is_honest_on_simulated_roles() -> None:
    rng = np.random.default_rng(3)
    scores = []
    for _ in range(300):
        truth = np.clip(rng.normal(0.8, 0.1, 10), 0.02, 0.98)
        tries = rng.integers(5, 200, 10).astype(float)
        good = rng.binomial(tries.astype(int), truth).astype(float)
        found = estimate(count=tries, total=good, squares=good, belief=BELIEF)
        scores.append((found.mean - truth) / np.hypot(found.own, found.common))
    spread = np.concatenate(scores)
    assert abs(spread.mean()) < 0.2
    assert 0.85 < spread.std() < 1.15
