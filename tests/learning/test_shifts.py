"""The tests behind the drift report, against numbers worked out by hand."""

import math

import pytest

from learning.shifts import Sample, g_test, kappa, mean_shift, psi, scores


def test_the_g_test_of_a_two_by_two_table() -> None:
    # Expected 60 and 40 on both sides: G = 2 (50 ln 5/6 + 50 ln 5/4 + 70 ln 7/6 + 30 ln 3/4).
    g = 2 * (
        50 * math.log(5 / 6) + 50 * math.log(5 / 4) + 70 * math.log(7 / 6) + 30 * math.log(3 / 4)
    )
    assert g == pytest.approx(8.4024, abs=1e-4)
    assert g_test([50, 50], [70, 30]) == pytest.approx(math.erfc(math.sqrt(g / 2)))


def test_the_g_test_of_three_categories_has_two_degrees_of_freedom() -> None:
    # Chi-squared with two degrees of freedom is exponential: p = exp(-G / 2).
    before, now = [30, 30, 40], [60, 20, 20]
    expected = [45, 25, 30]
    g = 2 * sum(
        o * math.log(o / e) for row in (before, now) for o, e in zip(row, expected, strict=True)
    )
    assert g_test(before, now) == pytest.approx(math.exp(-g / 2))


def test_equal_shares_are_no_change_whatever_the_totals() -> None:
    assert g_test([10, 30, 60], [100, 300, 600]) == pytest.approx(1.0)


def test_one_category_that_stays_alone_cannot_change() -> None:
    assert g_test([100], [7]) == 1.0
    assert g_test([100], [3]) is None


def test_a_tier_that_is_no_more_is_a_change() -> None:
    p = g_test([100, 0], [0, 100])
    assert p is not None
    assert p < 1e-30


@pytest.mark.parametrize(("before", "now"), [([0], [0]), ([5, 1], [0, 0]), ([3, 3], [3, 3])])
def test_too_little_says_nothing(before: list[float], now: list[float]) -> None:
    assert g_test(before, now) is None


def test_rare_categories_are_counted_together() -> None:
    assert g_test([50, 50, 1, 1], [50, 50, 1, 1]) == pytest.approx(1.0)
    assert g_test([96, 2, 2], [94, 3, 3]) == pytest.approx(g_test([96, 4], [94, 6]))


def test_the_stability_index_describes_only_what_is_large_enough() -> None:
    wanted = (0.6 - 0.5) * math.log(0.6 / 0.5) + (0.4 - 0.5) * math.log(0.4 / 0.5)
    assert psi([100, 100], [120, 80]) == pytest.approx(wanted)
    assert psi([100, 99], [120, 80]) is None
    assert psi([200, 0], [100, 100]) is not None


def test_a_shift_of_means_by_two_standard_errors() -> None:
    # Standard error sqrt(4/100 + 5/100) = 0.3; a shift of 0.588 is 1.96 of them.
    p = mean_shift(Sample(n=100, mean=1.0, variance=4.0), Sample(n=100, mean=1.588, variance=5.0))
    assert p == pytest.approx(0.05, abs=1e-4)


def test_means_of_few_say_nothing_and_means_that_never_vary_are_compared_as_they_are() -> None:
    few, many = Sample(n=29, mean=1.0, variance=1.0), Sample(n=100, mean=1.0, variance=0.0)
    assert mean_shift(few, many) is None
    assert mean_shift(many, many) == 1.0
    assert mean_shift(many, Sample(n=100, mean=2.0, variance=0.0)) == 0.0


def test_scores_of_which_the_sum_is_known_vary_as_much_as_they_can() -> None:
    assert scores(75.0, 100) == Sample(n=100, mean=0.75, variance=0.1875)
    assert scores(0.0, 0) == Sample(n=0, mean=0.0, variance=0.0)


def test_kappa_is_agreement_beyond_chance() -> None:
    # Agreement 35/50 = 0.7; chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4.
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert kappa(10, 0, 0, 10) == 1.0
    assert kappa(10, 0, 0, 0) is None
    assert kappa(0, 0, 0, 0) is None
