from typing import Any

import numpy as np
import pytest

from learning.arms import ladder_arms
from learning.components import Estimate
from learning.compose import Layout, compose

TWO = Layout(arms=ladder_arms(("small", "frontier")))


def known(values: dict[tuple[tuple[str, ...], str], float], doubt: float = 0.0) -> list[Estimate]:
    return [
        Estimate(
            mean=np.array([values[part.prefix, part.kind]]),
            own=np.array([doubt]),
            common=np.array([0.0]),
        )
        for part in TWO.parts
    ]


VALUES = {
    (("small",), "P"): 0.4,
    (("small",), "U"): 0.9,
    (("small",), "B"): 0.2,
    (("frontier",), "D"): 0.88,
    (("small", "frontier"), "D"): 0.7,
}


def test_a_layout_names_the_parts_that_arms_are_made_of() -> None:
    assert [("/".join(part.prefix), part.kind) for part in TWO.parts] == [
        ("small", "P"),
        ("small", "U"),
        ("small", "B"),
        ("frontier", "D"),
        ("small/frontier", "D"),
    ]


def test_quality_and_cost_of_chains_by_hand() -> None:
    cost = np.array([[1.0, 50.0, 40.0]])  # small, frontier, frontier after small
    arms = compose(TWO, estimates=known(VALUES), attempt_cost=cost)
    # accept: .6 x .9 + .4 x .2;  step: .6 x .9 + .4 x .7;  frontier: .88
    assert arms.quality[0].tolist() == pytest.approx([0.62, 0.82, 0.88])
    assert arms.cost[0].tolist() == pytest.approx([1.0, 1.0 + 0.4 * 40.0, 50.0])


def test_what_a_change_of_model_loses_is_added_to_each_arm() -> None:
    cost = np.array([[1.0, 50.0, 40.0]])
    lost = np.array([[0.5, 0.5, 2.0]])
    arms = compose(TWO, estimates=known(VALUES), attempt_cost=cost, switching=lost)
    assert arms.cost[0].tolist() == pytest.approx([1.5, 17.5, 52.0])


def test_doubt_enters_with_the_derivative_of_each_part() -> None:
    arms = compose(TWO, estimates=known(VALUES, doubt=0.01), attempt_cost=np.ones((1, 3)))
    step = arms.own[0, :, 1] / 0.01
    # d/dP = .7 - .9, d/dU = 1 - P, d/dB = 0, frontier alone 0, d/dD = P
    assert step.tolist() == pytest.approx([-0.2, 0.6, 0.0, 0.0, 0.4])
    assert arms.deviation[0, 1] == pytest.approx(0.01 * np.sqrt(0.04 + 0.36 + 0.16))


def test_slopes_agree_with_small_steps_on_three_tiers() -> None:
    layout = Layout(arms=ladder_arms(("small", "mid", "frontier")))
    rng = np.random.default_rng(0)
    means = rng.uniform(0.2, 0.9, len(layout.parts))
    cost = np.ones((1, len(layout.arms.prefixes)))

    def quality(values: Any) -> Any:
        parts = [
            Estimate(mean=np.array([v]), own=np.array([1.0]), common=np.array([0.0]))
            for v in values
        ]
        return compose(layout, estimates=parts, attempt_cost=cost)

    slopes = quality(means).own[0]
    for part in range(len(means)):
        moved = means.copy()
        moved[part] += 1e-6
        change = (quality(moved).quality - quality(means).quality)[0] / 1e-6
        assert change == pytest.approx(slopes[part], abs=1e-4)
