from typing import Any

import numpy as np
import pytest

from learning.compose import Composed
from learning.explore import exploration


def arms(quality: Any, cost: Any, deviation: Any) -> Any:
    quality, cost = np.array([quality], dtype=float), np.array([cost], dtype=float)
    own = np.array(deviation, dtype=float)[None, None, :] * np.eye(len(deviation))[None]
    return Composed(quality=quality, cost=cost, own=own, common=np.zeros_like(own))


def explore(
    case: Composed,
    *,
    shares: list[float],
    alive: Any = (("a", 0.0), ("b", 0.0)),
    allowed: Any = (True, True),
    budget: float = 0.1,
) -> Any:
    return exploration(
        case,
        shares=np.array([shares], dtype=float),
        allowed=np.array([allowed]),
        price_of_quality=100.0,
        budget=budget,
        alive=alive,
    )[0]


def test_an_uncertain_cheap_arm_gets_the_budget() -> None:
    least = explore(arms([0.8, 0.9], [1.0, 10.0], [0.2, 0.001]), shares=[0.0, 1.0])
    assert least == pytest.approx([0.1, 0.0], abs=0.001)


def test_a_certain_worse_arm_gets_nothing() -> None:
    least = explore(arms([0.5, 0.9], [1.0, 10.0], [0.001, 0.0]), shares=[0.0, 1.0])
    assert least.tolist() == [0.0, 0.0]


def test_a_trickle_keeps_the_best_cheaper_arm_of_each_start_tier_alive() -> None:
    least = explore(
        arms([0.5, 0.9], [1.0, 10.0], [0.0, 0.0]),
        shares=[0.0, 1.0],
        alive=(("a", 0.02), ("b", 0.01)),
    )
    assert least == pytest.approx([0.02, 0.0])


def test_an_arm_that_is_not_allowed_is_never_explored() -> None:
    least = explore(
        arms([0.8, 0.9], [1.0, 10.0], [0.2, 0.0]),
        shares=[0.0, 1.0],
        allowed=(False, True),
        alive=(("a", 0.02), ("b", 0.0)),
    )
    assert least.tolist() == [0.0, 0.0]
