"""Changes of a model's tokens, computed by hand, and none where none is."""

from collections.abc import Sequence

import numpy as np
import pytest

from learning.tally import STATS, Floats, Stat, Tally
from learning.usage import Change, changes, recent_usage

PREFIXES = (("m",), ("m", "t"))
Epoch = Sequence[tuple[float, float]]  # by cell: attempts of m, tokens of an answer


def told(epochs: Sequence[Epoch], *, upper: float = 0.0) -> Tally:
    """A tally of attempts at m, and of ``upper`` attempts an epoch and cell at t after it."""
    found: dict[int, Floats] = {}
    for number, cells in enumerate(epochs, start=1):
        sums = np.zeros((len(cells), len(PREFIXES), STATS))
        for row, (attempts, tokens) in enumerate(cells):
            sums[row, 0, [Stat.ATTEMPTS, Stat.TOKENS_OUT]] = attempts, attempts * tokens
            sums[row, 1, [Stat.ATTEMPTS, Stat.TOKENS_OUT]] = upper, upper * 1_000.0
            sums[row, 0, Stat.TOKENS_IN] = 7.0 * attempts
        found[number] = sums
    names = tuple(f"r|{row}|" for row in range(len(epochs[0])))
    return Tally(cells=names, prefixes=PREFIXES, epochs=found)


def seen(tally: Tally, *, since: dict[str, int] | None = None) -> list[Change]:
    return changes(tally, half_life=2_000.0, since=since or {})


OLD, NEW = [(100.0, 200.0)], [(100.0, 400.0)]


def test_answers_of_twice_the_length_are_a_change_after_two_blocks_by_hand() -> None:
    """All six levels are .8, then 1.6: no noise but the prior's, sqrt(4 / 10).

    z = log 2 / (.632 sqrt(1 / 600 + 1 / 200)) = 13.4.
    """
    assert seen(told([OLD] * 6 + [NEW])) == []
    assert seen(told([OLD] * 6 + [NEW] * 2)) == [
        Change(tier="m", epoch=7, ratio=pytest.approx(2.0))  # type: ignore[arg-type]
    ]
    assert seen(told([NEW] * 6 + [OLD] * 2))[0].ratio == pytest.approx(0.5)


def test_after_a_change_all_that_counts_is_at_its_level_and_nothing_else_moves() -> None:
    tally = told([OLD] * 6 + [NEW] * 2, upper=5.0)
    plain = tally.total(half_life=2_000.0, since={})
    found = recent_usage(tally, half_life=2_000.0, since={})
    assert found[0, 0, Stat.TOKENS_OUT] / found[0, 0, Stat.ATTEMPTS] == pytest.approx(400.0)
    assert plain[0, 0, Stat.TOKENS_OUT] / plain[0, 0, Stat.ATTEMPTS] < 270.0
    others = [stat for stat in Stat if stat is not Stat.TOKENS_OUT]
    assert (found[..., others] == plain[..., others]).all()
    assert (found[:, 1] == plain[:, 1]).all()  # t's answers are not m's


def test_cells_keep_how_they_differ() -> None:
    tally = told([[(80.0, 100.0), (20.0, 1_000.0)]] * 6 + [[(80.0, 300.0), (20.0, 3_000.0)]] * 2)
    assert [change.ratio for change in seen(tally)] == [pytest.approx(3.0)]
    found = recent_usage(tally, half_life=2_000.0, since={})[:, 0]
    means = found[:, Stat.TOKENS_OUT] / found[:, Stat.ATTEMPTS]
    assert means.tolist() == pytest.approx([300.0, 3_000.0])


def test_another_mix_of_steps_is_no_change() -> None:
    light, heavy = [(90.0, 100.0), (10.0, 1_000.0)], [(10.0, 100.0), (90.0, 1_000.0)]
    assert seen(told([light] * 6 + [heavy] * 4)) == []


@pytest.mark.parametrize("place", [0, 1, 5, 9])
def test_a_block_with_one_enormous_answer_is_no_change(place: int) -> None:
    epochs = [[(100.0, 200.0)]] * 10
    epochs[place] = [(100.0, 5_000.0)]
    assert seen(told(epochs)) == []


def test_a_change_of_less_than_a_fifth_is_left_to_the_memory() -> None:
    assert seen(told([OLD] * 10 + [[(100.0, 236.0)]] * 10)) == []
    assert len(seen(told([OLD] * 10 + [[(100.0, 242.0)]] * 10))) == 1


def test_two_changes_in_a_row_are_both_followed() -> None:
    tally = told([OLD] * 8 + [[(100.0, 600.0)]] * 8 + [OLD] * 8)
    assert {change.epoch for change in seen(tally)} == {9, 17}
    found = recent_usage(tally, half_life=2_000.0, since={})[0, 0]
    assert found[Stat.TOKENS_OUT] / found[Stat.ATTEMPTS] == pytest.approx(200.0)


def test_evidence_from_before_an_alarm_is_not_looked_at() -> None:
    tally = told([OLD] * 6 + [NEW] * 6)
    assert len(seen(tally)) == 1
    assert seen(tally, since={"m": 7}) == []
    assert len(seen(tally, since={"t": 7})) == 1  # m's own attempts stay


def test_thin_epochs_are_put_together_until_they_say_something() -> None:
    assert seen(told([[(10.0, 200.0)]] * 40 + [[(10.0, 400.0)]] * 9)) == []  # 90 attempts
    assert len(seen(told([[(10.0, 200.0)]] * 40 + [[(10.0, 400.0)]] * 10))) == 1
    assert changes(Tally(cells=(), prefixes=()), half_life=2_000.0, since={}) == []


def test_answers_whose_length_varies_as_much_as_its_mean_raise_no_alarm() -> None:
    rng = np.random.default_rng(5)
    levels = rng.exponential(300.0, (1_000, 100)).mean(axis=1)
    found = [
        seen(told([[(100.0, float(level))] for level in levels[end - 80 : end]]))
        for end in range(80, 1_001, 4)
    ]
    assert found == [[]] * len(found)
