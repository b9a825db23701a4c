from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.tally import Stat, merged
from tests.learning.observations import Observation, Seen, tally_attempts, tally_labels


def seen(
    *attempts: tuple[str, bool], cell: str = "a", label: Any = None, chance: Any = 1.0
) -> Observation:
    return Observation(
        cell=cell,
        attempts=tuple(Seen(tier=tier, flagged=flag, tokens_out=10) for tier, flag in attempts),
        label=label,
        label_chance=chance,
    )


def test_an_attempt_counts_for_every_prefix_it_made() -> None:
    found = tally_attempts([seen(("small", True), ("frontier", False))], epoch=3)
    assert found.prefixes == (("small",), ("small", "frontier"))
    sums = found.epochs[3][0]
    assert sums[:, Stat.ATTEMPTS].tolist() == [1, 1]
    assert sums[:, Stat.FLAGGED].tolist() == [1, 0]
    assert sums[:, Stat.TOKENS_OUT].tolist() == [10, 10]


def test_a_label_belongs_to_the_prefix_that_delivered_and_to_what_the_check_said() -> None:
    rows = [
        seen(("small", False), label=1.0, chance=0.5),
        seen(("small", True), label=0.25),
        seen(("small", True), ("frontier", True), label=0.5),
    ]
    found = tally_labels(rows, epoch=1)
    sums = dict(zip(found.prefixes, found.epochs[1][0], strict=True))
    assert sums[("small",)][Stat.PASSED_W : Stat.PASSED_WQQ + 1].tolist() == [2, 4, 2, 2]
    assert sums[("small",)][Stat.FAILED_W : Stat.FAILED_WQQ + 1].tolist() == [1, 1, 0.25, 0.0625]
    assert sums[("small", "frontier")][Stat.FAILED_WQ] == 0.5


def test_an_unlabelled_outcome_is_missing_never_a_success() -> None:
    assert tally_labels([seen(("small", False))], epoch=1).cells == ()


@given(st.permutations(range(6)))
def test_the_order_of_outcomes_does_not_change_their_sums(order: Any) -> None:
    rows = [
        seen(("small", number % 2 == 0), cell="ab"[number % 2], label=number / 6)
        for number in range(6)
    ]
    shuffled = merged(tally_labels([rows[index]], epoch=1) for index in order)
    assert shuffled.epochs[1] == pytest.approx(tally_labels(rows, epoch=1).epochs[1])


def test_impossible_observations_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"label 1\.5"):
        seen(("small", False), label=1.5)
    with pytest.raises(AssertionError, match="label chance 0"):
        seen(("small", False), chance=0.0)
    with pytest.raises(AssertionError, match="without an attempt"):
        Observation(cell="a", attempts=())
