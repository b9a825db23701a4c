from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learning.compose import Composed
from learning.programme import Bound, Programme, doubt, solve


def programme(
    quality: Any,
    cost: Any,
    *,
    floor: Any,
    deviation: Any = 0.0,
    z: Any = 0.0,
    tolerance: Any = 0.0,
    least: Any = 0.0,
    roles: Any = None,
) -> Any:
    quality, cost = np.array(quality, dtype=float), np.array(cost, dtype=float)
    count, arms = quality.shape
    own = np.zeros((count, arms, arms))
    own[:, np.arange(arms), np.arange(arms)] = deviation
    return Programme(
        arms=Composed(quality=quality, cost=cost, own=own, common=np.zeros_like(own)),
        weights=np.full(count, 1 / count),
        floor=floor,
        role_floors=None if roles is None else np.array(roles),
        least=np.full((count, arms), least),
        allowed=np.ones((count, arms), dtype=bool),
        bound=Bound(z=z, tolerance=tolerance),
        role_bound=Bound(z=z, tolerance=tolerance),
    )


def test_two_arms_are_mixed_so_that_the_floor_is_just_met() -> None:
    found = solve(programme([[0.6, 0.9]], [[1.0, 10.0]], floor=0.8))
    # .6 x + .9 (1 - x) = .8 gives x = 1/3
    assert found.shares[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert found.cost == pytest.approx(7.0)
    assert found.price_of_quality == pytest.approx(9.0 / 0.3)
    assert found.proven


def test_quality_is_bought_where_it_is_cheapest() -> None:
    quality = [[0.5, 0.9], [0.8, 0.9]]
    found = solve(programme(quality, [[1.0, 10.0], [1.0, 10.0]], floor=0.85))
    assert found.shares[0].tolist() == pytest.approx([0.0, 1.0])
    assert found.shares[1].tolist() == pytest.approx([1.0, 0.0])


def test_a_margin_of_z_deviations_stays_above_the_floor() -> None:
    found = solve(programme([[0.6, 0.9]], [[1.0, 10.0]], floor=0.8, deviation=0.02, z=2.0))
    share = found.shares[0, 0]
    size = 0.02 * np.hypot(share, 1 - share)
    assert 0.6 * share + 0.9 * (1 - share) - 2 * size == pytest.approx(0.8, abs=3e-4)


def test_a_tolerance_takes_from_the_margin_never_from_the_floor() -> None:
    sure = solve(programme([[0.6, 0.9]], [[1.0, 10.0]], floor=0.8, tolerance=0.05))
    assert sure.quality == pytest.approx(0.8)


def test_an_unreachable_floor_gives_the_highest_lower_bound_and_says_so() -> None:
    found = solve(programme([[0.6, 0.7]], [[1.0, 10.0]], floor=0.8))
    assert not found.proven
    assert found.shares[0].tolist() == pytest.approx([0.0, 1.0])
    assert found.floor == pytest.approx(0.7)


def test_role_floors_hold_in_every_role() -> None:
    quality = [[0.5, 0.9], [0.88, 0.9]]
    cost = [[1.0, 2.0], [1.0, 50.0]]
    free = solve(programme(quality, cost, floor=0.6))
    assert free.shares[0, 0] > 0.5
    held = solve(programme(quality, cost, floor=0.6, roles=[0.8, 0.8]))
    assert (held.shares * quality).sum(axis=1).min() >= 0.8 - 1e-3


def test_a_role_floor_out_of_reach_is_lowered_to_the_best_arm() -> None:
    found = solve(programme([[0.5, 0.6]], [[1.0, 9.0]], floor=0.1, roles=[0.95]))
    assert found.shares[0, 1] == pytest.approx(1.0, abs=0.01)


def test_exploration_is_a_lower_bound_and_is_paid_for() -> None:
    found = solve(programme([[0.2, 0.6, 0.9]], [[0.5, 1.0, 10.0]], floor=0.8, least=0.05))
    assert found.shares.min() >= 0.05 - 1e-9
    assert found.quality == pytest.approx(0.8)


def test_errors_that_roles_share_do_not_average_out() -> None:
    quality = np.full((50, 1), 0.9)
    own = np.full((50, 1, 1), 0.1)
    nothing = np.zeros_like(own)
    shares, weights = np.ones((50, 1)), np.full(50, 1 / 50)
    alone = Composed(quality=quality, cost=quality, own=own, common=nothing)
    shared = Composed(quality=quality, cost=quality, own=nothing, common=own)
    assert doubt(alone, shares=shares, weights=weights)[0] == pytest.approx(0.1 / np.sqrt(50))
    assert doubt(shared, shares=shares, weights=weights)[0] == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@example(seed=3415, roles=6, arms=6)  # needs more than eight tangents
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 6))
def test_whatever_the_numbers_shares_are_probabilities_and_a_proven_floor_holds(
    seed: Any, roles: Any, arms: Any
) -> None:
    rng = np.random.default_rng(seed)
    case = programme(
        rng.uniform(0, 1, (roles, arms)),
        rng.uniform(1e-6, 1e-2, (roles, arms)),
        floor=float(rng.uniform(0.2, 0.9)),
        deviation=float(rng.uniform(0, 0.1)),
        z=1.64,
        least=0.01,
    )
    found = solve(case)
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(roles))
    assert found.shares.min() >= 0.01 - 1e-6
    size, _ = doubt(case.arms, shares=found.shares, weights=case.weights)
    if found.proven:
        assert found.quality - 1.64 * size >= case.floor - 1e-3
