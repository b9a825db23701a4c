"""Draws against their logged probabilities."""

import numpy as np
import pytest

from learning.propensity import ARMS_MAX, SHARES, Draws

OFFERED = ("a", "b")


def test_one_draw_by_hand() -> None:
    # q(b) = 1/2 before anything was drawn; 1 - e + e (1/2) / (1/10) = 1 + 4 e
    draws = Draws().see("b", offered=OFFERED, propensity=0.1)
    assert draws.wealth == pytest.approx([1 + 4 * share for share in SHARES])


def test_two_draws_by_hand() -> None:
    # then q(b) = 2/3
    draws = Draws().see("b", offered=OFFERED, propensity=0.1)
    draws = draws.see("b", offered=OFFERED, propensity=0.5)
    factor = 2 / 3 / 0.5
    expected = [(1 + 4 * e) * (1 - e + e * factor) for e in SHARES]
    assert draws.wealth == pytest.approx(expected)


def test_a_sure_draw_of_the_only_arm_says_nothing() -> None:
    draws = Draws()
    for _ in range(20_000):
        draws = draws.see("a", offered=("a",), propensity=1.0)
    assert draws.evidence == 1.0


@pytest.mark.parametrize(("drawn", "at_least", "at_most"), [(0.1, 0, 1e3), (0.5, 1e4, 1e99)])
def test_only_draws_that_were_logged_wrong_gather_evidence(
    drawn: float, at_least: float, at_most: float
) -> None:
    rng = np.random.default_rng(3)
    draws = Draws()
    for second in rng.random(400) < drawn:
        arm, propensity = ("b", 0.1) if second else ("a", 0.9)
        draws = draws.see(arm, offered=OFFERED, propensity=propensity)
    assert at_least <= draws.evidence <= at_most


def test_an_arm_that_was_not_on_offer_counts_against_the_log() -> None:
    draws = Draws().see("c", offered=OFFERED, propensity=0.5)
    assert draws.evidence > 1


def test_a_probability_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="propensity"):
        Draws().see("a", offered=OFFERED, propensity=0.0)


def test_the_number_of_arms_that_are_remembered_is_bounded() -> None:
    draws = Draws()
    for number in range(ARMS_MAX + 50):
        draws = draws.see(str(number), offered=(str(number),), propensity=1.0)
    assert len(draws.counts) == ARMS_MAX
