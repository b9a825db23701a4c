from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.tally import EPOCHS_MAX, STATS, Stat, Tally, merged

NAMES = st.sampled_from(["a", "b", "c"])


def tally(cell: str, prefix: tuple[str, ...], *, epoch: int, attempts: float) -> Tally:
    sums = np.zeros((1, 1, STATS))
    sums[0, 0, Stat.ATTEMPTS] = attempts
    return Tally(cells=(cell,), prefixes=(prefix,), epochs={epoch: sums})


def plain(found: Tally) -> dict[tuple[str, tuple[str, ...], int], float]:
    return {
        (cell, prefix, epoch): float(sums[row, column, Stat.ATTEMPTS])
        for epoch, sums in found.epochs.items()
        for row, cell in enumerate(found.cells)
        for column, prefix in enumerate(found.prefixes)
        if sums[row, column, Stat.ATTEMPTS]
    }


@given(
    st.lists(st.tuples(NAMES, NAMES, st.integers(0, 3), st.integers(1, 9)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_tallies_merge_in_any_order_into_the_same_sums(rows: Any, random: Any) -> None:
    parts = [tally(c, (p,), epoch=e, attempts=n) for c, p, e, n in rows]
    expected: dict[tuple[str, tuple[str, ...], int], float] = {}
    for c, p, e, n in rows:
        expected[c, (p,), e] = expected.get((c, (p,), e), 0.0) + n
    assert plain(merged(parts)) == expected
    random.shuffle(parts)
    assert plain(merged(parts)) == expected


def test_evidence_ages_with_the_attempts_that_came_after_it() -> None:
    both = tally("a", ("s",), epoch=1, attempts=8) + tally("a", ("s",), epoch=2, attempts=100)
    total = both.total(half_life=100.0, since={})
    assert total[0, 0, Stat.ATTEMPTS] == pytest.approx(100 + 8 / 2)


def test_a_reset_ignores_what_a_model_did_before_its_alarm() -> None:
    both = tally("a", ("s", "m"), epoch=1, attempts=8) + tally("a", ("s", "m"), epoch=2, attempts=3)
    assert both.total(half_life=1e9, since={"m": 2})[0, 0, Stat.ATTEMPTS] == pytest.approx(3)
    assert both.total(half_life=1e9, since={"x": 2})[0, 0, Stat.ATTEMPTS] == pytest.approx(11)


def test_the_role_mix_ages_over_all_requests_alike() -> None:
    old = tally("a", ("s",), epoch=1, attempts=8)
    new = tally("b", ("m",), epoch=2, attempts=50)
    later = tally("b", ("s", "m"), epoch=2, attempts=40)  # not a start: not a request
    mix = (old + new + later).mix(half_life=50.0)
    assert mix.tolist() == pytest.approx([4.0, 50.0])


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    many = merged(tally("a", ("s",), epoch=n, attempts=1) for n in range(EPOCHS_MAX + 40))
    bounded = many.bounded()
    assert len(bounded.epochs) == EPOCHS_MAX
    assert sum(plain(bounded).values()) == EPOCHS_MAX + 40
    assert max(bounded.epochs) == EPOCHS_MAX + 39


def test_adding_leaves_the_inputs_as_they_were() -> None:
    first, second = tally("a", ("s",), epoch=1, attempts=2), tally("a", ("s",), epoch=1, attempts=3)
    _ = first + second
    assert plain(first) == {("a", ("s",), 1): 2.0}
    assert plain(second) == {("a", ("s",), 1): 3.0}
