from typing import Any

import numpy as np
import pytest

from learning.compose import Composed
from learning.programme import Bound, Programme, Solution
from learning.unproven import Caution, cautious

EQUAL = np.array([[0.5, 0.5]])


def programme(quality: Any, deviation: Any, *, least: float = 0.0) -> Programme:
    """One role, a cheap arm and the top tier at ten times the cost."""
    own = np.zeros((1, 2, 2))
    own[0, (0, 1), (0, 1)] = deviation
    return Programme(
        arms=Composed(
            quality=np.array([quality], dtype=float),
            cost=np.array([[1.0, 10.0]]),
            own=own,
            common=np.zeros_like(own),
        ),
        weights=np.ones(1),
        floor=0.8,
        role_floors=None,
        least=np.array([[least, 0.0]]),
        allowed=np.ones((1, 2), dtype=bool),
        bound=Bound(z=1.64),
        role_bound=Bound(z=1.64),
    )


def served(case: Programme, *, asked: float, floor: float = 0.8) -> Solution:
    return cautious(case, caution=Caution(z=0.8, spare=0.0, floor=floor, asked=asked), near=EQUAL)


def test_the_allowance_shrinks_with_the_requests_and_sums_to_a_logarithm() -> None:
    def allowance(asked: float) -> float:
        return Caution(z=0.8, spare=0.0, floor=0.8, asked=asked).allowance

    assert allowance(0) == pytest.approx(0.03)
    assert allowance(200) == pytest.approx(0.01)
    # 3 ln(1 + 1,000 / 100) = 7.19
    assert sum(allowance(asked) for asked in range(1_000)) == pytest.approx(7.19, abs=0.02)


def test_in_the_first_requests_a_mix_stands_until_it_is_known_to_miss_the_floor() -> None:
    # .78 is short by .02: 2 deviations of .01, not 2.5; later by 4 times the allowance of .005.
    case = programme([0.78, 0.8], [0.01, 0.1])
    assert served(case, asked=200).shares[0, 0] > 0.95  # a little of both has the least doubt
    assert served(case, asked=500).shares[0].tolist() == pytest.approx([0.0, 1.0])
    known = programme([0.77, 0.8], [0.01, 0.1])
    assert served(known, asked=200).shares[0].tolist() == pytest.approx([0.0, 1.0])


def test_a_mix_that_looks_short_within_the_allowance_is_served_past_it_the_top_tier_is() -> None:
    # By cautious estimates the top tier, .80 - .8 * .1 = .72, is worse than what is .003 short.
    case = programme([0.797, 0.8], [0.0, 0.1])
    assert served(case, asked=500).shares[0].tolist() == pytest.approx([1.0, 0.0])  # .005 allowed
    assert served(case, asked=2_900).shares[0].tolist() == pytest.approx([0.0, 1.0])  # .001


def test_a_top_tier_that_is_known_to_miss_the_floor_does_not_take_over() -> None:
    # .78 + 1.64 * .01 = .7964
    case = programme([0.79, 0.78], [0.0, 0.01])
    assert served(case, asked=2_900).shares[0].tolist() == pytest.approx([1.0, 0.0])


def test_a_top_tier_that_is_not_allowed_does_not_take_over() -> None:
    case = programme([0.795, 0.8], [0.0, 0.1])
    case.allowed[0, 1] = False
    assert served(case, asked=2_900).shares[0].tolist() == pytest.approx([1.0, 0.0])


def test_exploration_may_cost_the_allowance_where_nothing_is_spared() -> None:
    # A tenth on .4 instead of .8 would cost .04; .005 is allowed after 500 requests.
    found = served(programme([0.4, 0.8], [0.0, 0.0], least=0.1), asked=500)
    assert found.shares[0].tolist() == pytest.approx([0.0125, 0.9875])
    assert found.quality == pytest.approx(0.795)


def test_exploration_may_cost_what_the_estimate_spares_later_by_a_cautious_one() -> None:
    # A fifth on .36 instead of .86 would cost .1. .86 spares .06; .86 - .8 * .025 spares .04, to
    # which .005 is added after 500 requests.
    case = programme([0.36, 0.86], [0.0, 0.025], least=0.2)
    assert served(case, asked=0).shares[0].tolist() == pytest.approx([0.12, 0.88])
    assert served(case, asked=500).shares[0].tolist() == pytest.approx([0.09, 0.91])
