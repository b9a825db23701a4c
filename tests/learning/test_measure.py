import numpy as np
import pytest

from learning.arms import ladder_arms
from learning.measure import COST_COUNT, attempt_costs, fresh
from learning.tally import STATS, Stat

ARMS = ladder_arms(("small", "frontier"))
PRICE = {"small": np.array([1e-6, 4e-6, 1e-7]), "frontier": np.array([3e-6, 15e-6, 3e-7])}
TYPICAL = {"small": np.array([1_000.0, 300.0, 0.0]), "frontier": np.array([1_000.0, 300.0, 0.0])}


def test_cached_tokens_are_part_of_the_input_and_are_taken_out_of_it() -> None:
    assert fresh(np.array([[1_000.0, 200.0, 800.0]])).tolist() == [[200.0, 200.0, 800.0]]
    assert fresh(np.array([100.0, 0.0, 300.0])).tolist() == [0.0, 0.0, 300.0]  # never below 0


def test_an_attempt_with_a_cached_prefix_costs_what_its_provider_asks() -> None:
    recent = np.zeros((1, len(ARMS.prefixes), STATS))
    place = ARMS.prefix_index[("frontier",)]
    attempts = 1_000_000.0
    recent[0, place, Stat.ATTEMPTS] = attempts
    recent[0, place, Stat.TOKENS_IN] = 10_000 * attempts
    recent[0, place, Stat.TOKENS_CACHED] = 8_000 * attempts
    recent[0, place, Stat.TOKENS_OUT] = 500 * attempts
    found = attempt_costs(ARMS, recent=recent, price=PRICE, typical=TYPICAL)
    # 2,000 x 3e-6 + 8,000 x 3e-7 + 500 x 15e-6
    assert found[0, place] == pytest.approx(0.006 + 0.0024 + 0.0075, rel=1e-4)


def test_before_anything_is_seen_an_attempt_costs_the_typical_one() -> None:
    recent = np.zeros((2, len(ARMS.prefixes), STATS))
    found = attempt_costs(ARMS, recent=recent, price=PRICE, typical=TYPICAL)
    assert COST_COUNT > 0
    assert found[:, ARMS.prefix_index[("small",)]].tolist() == pytest.approx([0.0022] * 2)


def test_what_judges_an_attempt_is_part_of_its_cost_and_expected_where_none_was_made() -> None:
    recent = np.zeros((1, len(ARMS.prefixes), STATS))
    small, top = ARMS.prefix_index[("small",)], ARMS.prefix_index[("frontier",)]
    recent[0, small, [Stat.ATTEMPTS, Stat.VERDICTS_USD]] = 96, 96 * 0.01
    found = attempt_costs(ARMS, recent=recent, price=PRICE, typical=TYPICAL)
    # No tokens but those of the four typical attempts, 0.0022 each, of which a cell gets 4 / 100.
    assert found[0, small] == pytest.approx(0.01 + 4 * (4 * 0.0022 / 100) / 100)
    assert found[0, top] == pytest.approx(0.0075 + 0.01)  # 1,000 x 3e-6 + 300 x 15e-6
