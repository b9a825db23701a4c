from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from learning.gate import Block, Limits, moved_share, passed, rounded

COST = np.array([[1.0, 10.0], [1.0, 10.0]])  # small, frontier
TOP = np.array([[0.0, 1.0], [0.0, 1.0]])
SMALL = np.array([[1.0, 0.0], [1.0, 0.0]])
HALF = np.array([[0.5, 0.5], [0.5, 0.5]])
FREE = Limits(
    acts=True, paced=True, quality_armed=True, cost_armed=True, frozen=False, unsafe=False,
    rested=True, step_max=0.2,
)  # fmt: skip
CHEAPER, DEARER = (TOP, SMALL), (SMALL, TOP)


@pytest.mark.parametrize(
    ("way", "change", "small", "block"),
    [
        (CHEAPER, {}, 0.2, {Block.STEP}),
        (CHEAPER, {"paced": False}, 1.0, set()),  # a person agrees to the whole of it
        (CHEAPER, {"paced": False, "rested": False}, 1.0, set()),
        (CHEAPER, {"step_max": 1.0}, 1.0, set()),
        (CHEAPER, {"rested": False}, 0.0, {Block.DWELL}),
        (CHEAPER, {"quality_armed": False}, 0.0, {Block.QUALITY_DISARMED}),
        (CHEAPER, {"cost_armed": False}, 0.2, {Block.STEP}),
        (CHEAPER, {"frozen": True}, 0.0, {Block.FROZEN}),
        (CHEAPER, {"unsafe": True}, 0.0, {Block.UNSAFE}),
        (CHEAPER, {"acts": False}, 0.0, {Block.MODE}),
        (DEARER, {}, 0.0, set()),  # the safe direction never waits
        (DEARER, {"rested": False}, 0.0, set()),
        (DEARER, {"quality_armed": False}, 0.0, set()),
        (DEARER, {"frozen": True}, 1.0, {Block.FROZEN}),
        (DEARER, {"frozen": True, "unsafe": True}, 0.5, {Block.UNSAFE}),
        (DEARER, {"cost_armed": False}, 0.5, {Block.COST_DISARMED}),  # to the table, no further
        (DEARER, {"acts": False}, 1.0, {Block.MODE}),
    ],
)
def test_every_rule_of_the_gate(
    way: tuple[np.ndarray, np.ndarray], change: dict[str, Any], small: float, block: set[Block]
) -> None:
    current, aim = way
    found = passed(current, aim, declared=HALF, cost=COST, limits=replace(FREE, **change))
    assert found.shares[:, 0].tolist() == pytest.approx([small, small])
    assert found.blocks == block
    assert bool(found.moved) == bool(small != current[0, 0])


def test_each_cell_goes_its_own_way() -> None:
    current, aim = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.4, 0.6]])
    found = passed(current, aim, declared=TOP, cost=COST, limits=replace(FREE, rested=False))
    assert found.shares.tolist() == [[0.0, 1.0], [0.4, 0.6]]
    assert (found.cheaper, found.dearer) == ((), (1,))
    assert found.blocks == {Block.DWELL}


def test_noise_moves_nothing() -> None:
    near = HALF + np.array([[0.019, -0.019], [-0.019, 0.019]])
    found = passed(HALF, near, declared=TOP, cost=COST, limits=FREE)
    assert found.shares.tolist() == HALF.tolist()
    assert found.moved == ()


def test_an_unsafe_role_that_serves_something_dearer_than_the_table_stays_there() -> None:
    found = passed(TOP, SMALL, declared=HALF, cost=COST, limits=replace(FREE, unsafe=True))
    assert found.shares.tolist() == TOP.tolist()


def test_no_step_moves_more_than_its_share() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        current, aim = rng.dirichlet(np.ones(4), size=(2, 3))
        cost = rng.random((3, 4))
        found = passed(current, aim, declared=current, cost=cost, limits=FREE)
        assert found.shares.sum(axis=1) == pytest.approx(np.ones(3))
        assert found.shares.min() >= -1e-12
        for row in found.cheaper:
            assert moved_share(current[row], found.shares[row]) <= 0.2 + 1e-9


def test_rounded_shares_sum_to_one_and_leave_zeros_out() -> None:
    shares = rounded(np.array([1 / 3, 1 / 3, 1 / 3, 1e-9]), names=("a", "b", "c", "d"))
    assert shares == {"a": 0.3334, "b": 0.3333, "c": 0.3333}
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9)
