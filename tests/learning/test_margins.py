import numpy as np
import pytest

from learning.compose import Composed
from learning.margins import selection


def curse(deviation: float, *, roles: int = 400) -> float:
    quality = np.full((roles, 2), 0.8)
    own = np.zeros((roles, 2, 2))
    own[:, 0, 0] = own[:, 1, 1] = deviation
    return selection(
        Composed(quality=quality, cost=np.zeros_like(quality), own=own, common=np.zeros_like(own)),
        weights=np.full(roles, 1 / roles),
        allowed=np.ones((roles, 2), dtype=bool),
        price_of_quality=1.0,
        rng=np.random.default_rng(0),
    )


def test_the_better_looking_of_two_equal_arms_errs_upwards_by_a_known_amount() -> None:
    # E max of two independent normals of deviation s is s / sqrt(pi)
    assert curse(0.05) == pytest.approx(0.05 / np.sqrt(np.pi), rel=0.03)


def test_certain_estimates_carry_no_curse() -> None:
    assert curse(0.0) == 0.0


def test_the_sampled_winner_of_the_programme_errs_as_the_bootstrap_says() -> None:
    rng = np.random.default_rng(1)
    truth, doubt = np.array([0.80, 0.78]), 0.03
    errors = []
    for _ in range(20_000):
        seen = truth + rng.normal(0, doubt, 2)
        best = int(seen.argmax())
        errors.append(seen[best] - truth[best])
    quality = np.tile(truth, (400, 1))
    own = np.zeros((400, 2, 2))
    own[:, 0, 0] = own[:, 1, 1] = doubt
    said = selection(
        Composed(quality=quality, cost=np.zeros_like(quality), own=own, common=np.zeros_like(own)),
        weights=np.full(400, 1 / 400),
        allowed=np.ones((400, 2), dtype=bool),
        price_of_quality=1.0,
        rng=rng,
    )
    assert said == pytest.approx(np.mean(errors), rel=0.05)
