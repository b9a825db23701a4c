"""Why a task costs more: four numbers that add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from collector.alerts.bodies import split


def test_the_four_parts_by_hand() -> None:
    """Before: 10 tasks, 10 calls at small, 100 tokens each, 1 USD per token.

    Now: 10 tasks, 20 calls, half of them at mid, 200 tokens each there at 3 USD, small as before
    but at 2 USD. A tier that is new counts as mix.
    """
    before = {"small": (10.0, 1_000.0, 1_000.0)}
    now = {"small": (10.0, 1_000.0, 2_000.0), "mid": (10.0, 2_000.0, 6_000.0)}
    parts = split(before, now, tasks=(10.0, 10.0))
    assert parts is not None
    # 100 USD per task before, 800 now; twice the attempts: +100 at the old mix
    assert parts.attempts == pytest.approx(100.0)
    # per attempt .5 x 100 x 1 + .5 x 200 x 3 = 350 in place of 100: 2 x 250
    assert parts.mix == pytest.approx(500.0)
    assert parts.tokens == pytest.approx(0.0)
    # .5 x 100 tokens x 1 USD more, twice
    assert parts.price == pytest.approx(100.0)
    assert parts.change == pytest.approx(700.0)


def test_more_tokens_alone_are_tokens_alone() -> None:
    parts = split({"a": (4.0, 40.0, 4.0)}, {"a": (8.0, 160.0, 16.0)}, tasks=(4.0, 8.0))
    assert parts is not None
    assert (parts.attempts, parts.mix, parts.price) == pytest.approx((0, 0, 0))
    assert parts.tokens == parts.change == pytest.approx(1.0)


def test_without_tasks_on_one_side_there_is_nothing_to_split() -> None:
    assert split({}, {"a": (1.0, 1.0, 1.0)}, tasks=(0.0, 1.0)) is None


USE = some.tuples(some.floats(1, 1e4), some.floats(1, 1e6), some.floats(0, 1e4))
SIDE = some.dictionaries(some.sampled_from("abc"), USE, min_size=1)


@given(SIDE, SIDE, some.floats(1, 1e4), some.floats(1, 1e4))
def test_the_parts_always_add_up(
    before: dict[str, tuple[float, float, float]],
    now: dict[str, tuple[float, float, float]],
    tasks_before: float,
    tasks_now: float,
) -> None:
    parts = split(before, now, tasks=(tasks_before, tasks_now))
    assert parts is not None
    total = parts.attempts + parts.mix + parts.tokens + parts.price
    scale = 1 + abs(parts.attempts) + abs(parts.mix) + abs(parts.tokens) + abs(parts.price)
    assert total == pytest.approx(parts.change, abs=1e-9 * scale)
    costs = [sum(each[2] for each in side.values()) for side in (before, now)]
    assert parts.change == pytest.approx(
        costs[1] / tasks_now - costs[0] / tasks_before, abs=1e-9 * (scale + sum(costs))
    )
