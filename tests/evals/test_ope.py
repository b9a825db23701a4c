import os

import numpy as np
import pytest

from evals.bounds import bernstein, betting_low, normal
from evals.coverage import beside_top, bound, covering
from evals.ope import Log, dr_rows, effective, evaluate, ips_rows, snips_rows
from evals.simulate import Check, Setting
from evals.worlds import Floats, World, made_up
from learning.arms import distinct_arms, ladder_arms
from telemetry.records import Arm, OnFail

CHECK = Check(sensitivity=0.8, false_alarm=0.1)
TARGET = np.array([[0.5, 0.5]])


def log(
    *, arm: list[int], propensity: list[float], reward: list[float], pinned: bool = False
) -> Log:
    count = len(arm)
    return Log(
        cell=np.zeros(count, dtype=np.int64),
        arm=np.array(arm),
        propensity=np.array(propensity),
        reward=np.array(reward),
        weight=np.ones(count),
        pinned=np.full(count, pinned),
    )


def drawn(rng: np.random.Generator, *, rows: int, logging: Floats, means: Floats) -> Log:
    cell = rng.integers(0, len(logging), rows)
    arm = (rng.random(rows)[:, None] > np.cumsum(logging[cell], axis=1)).sum(axis=1)
    return Log(
        cell=cell,
        arm=arm,
        propensity=logging[cell, arm],
        reward=(rng.random(rows) < means[cell, arm]).astype(float),
        weight=np.ones(rows),
        pinned=np.zeros(rows, dtype=bool),
    )


def test_inverse_propensity_scores_by_hand() -> None:
    rows = log(arm=[0, 0, 1], propensity=[0.8, 0.8, 0.2], reward=[1.0, 0.0, 1.0])
    assert ips_rows(rows, TARGET).tolist() == pytest.approx([0.625, 0.0, 2.5])
    # SNIPS: 3.125 / (0.625 + 0.625 + 2.5)
    assert snips_rows(rows, TARGET).mean() == pytest.approx(3.125 / 3.75)


def test_doubly_robust_is_exact_when_rewards_do_not_vary() -> None:
    rows = log(arm=[0, 1] * 50, propensity=[0.5] * 100, reward=[0.7] * 100)
    assert dr_rows(rows, TARGET).mean() == pytest.approx(0.7)


def test_effective_rows_by_hand() -> None:
    assert effective(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective(np.zeros(0)) == 0.0


def test_impossible_propensities_are_refused_by_row() -> None:
    with pytest.raises(AssertionError, match="row 1 has propensity 0"):
        log(arm=[0, 0], propensity=[1.0, 0.0], reward=[1.0, 1.0])


def test_rows_that_a_pin_decided_teach_nothing() -> None:
    found = evaluate(log(arm=[0], propensity=[1.0], reward=[1.0], pinned=True), TARGET)
    assert all(estimate.rows == 0 for estimate in found)
    assert all("not enough data" in (estimate.refused or "") for estimate in found)


def test_an_arm_that_was_hardly_tried_refuses_a_verdict_and_says_which() -> None:
    logging = np.array([[0.99, 0.01]])
    rows = drawn(np.random.default_rng(0), rows=500, logging=logging, means=np.array([[0.8, 0.8]]))
    refused = evaluate(rows, TARGET)[0].refused or ""
    tried = int((rows.arm == 1).sum())
    assert refused.startswith(
        f"not enough data: where the policies differ the log is worth {tried}"
    )
    assert refused.endswith("arm 1 in cell 0 wants them most")


def test_an_arm_that_was_never_tried_refuses_a_verdict_and_says_which() -> None:
    rows = log(arm=[0] * 400, propensity=[0.9] * 400, reward=[1.0] * 400)
    refused = evaluate(rows, TARGET)[0].refused or ""
    assert "arm 1 in cell 0 was never tried, and 50% of" in refused


def test_many_thin_cells_decide_together() -> None:
    # 60 cells with 4 tries of the wanted arm each are 240 rows: enough, though no cell is
    count = 60 * 40
    cell = np.repeat(np.arange(60), 40)
    arm = np.tile([1] * 4 + [0] * 36, 60)
    many = Log(
        cell=cell,
        arm=arm,
        propensity=np.where(arm == 1, 0.1, 0.9),
        reward=np.ones(count),
        weight=np.ones(count),
        pinned=np.zeros(count, dtype=bool),
    )
    found = evaluate(many, np.tile([0.0, 1.0], (60, 1)))[2]
    assert found.refused is None
    assert found.deciding_rows == pytest.approx(240)
    # no failure was seen, yet the interval allows for some: 1.96 / 240
    assert found.value - found.low == pytest.approx(1.959964 / 240, rel=0.2)


def test_an_arm_on_which_both_policies_agree_decides_nothing() -> None:
    logging = np.array([[0.95, 0.05], [0.5, 0.5]])
    target = np.array([[0.95, 0.05], [0.1, 0.9]])
    rows = drawn(np.random.default_rng(0), rows=600, logging=logging, means=np.full((2, 2), 0.8))
    assert evaluate(rows, target, logging=logging)[0].refused is None


LOGGING = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2]])
MEANS = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.9]])
WANTED = np.array([[0.2, 0.8], [0.5, 0.5], [0.0, 1.0]])
TRUTH = float((WANTED * MEANS).sum(axis=1).mean())


def test_estimates_are_unbiased_cover_the_truth_and_gate_below_it() -> None:
    rng = np.random.default_rng(7)
    values: dict[str, list[float]] = {}
    covered: dict[str, list[bool]] = {}
    gate: list[bool] = []
    for _ in range(200):
        rows = drawn(rng, rows=3_000, logging=LOGGING, means=MEANS)
        for found in evaluate(rows, WANTED):
            values.setdefault(found.estimator, []).append(found.value)
            covered.setdefault(found.estimator, []).append(found.low <= TRUTH <= found.high)
            if found.gate_low is not None and found.safe_low is not None:
                gate.append(found.gate_low <= TRUTH)
                assert found.safe_low <= found.low
    for name, estimates in values.items():
        assert np.mean(estimates) == pytest.approx(TRUTH, abs=0.006), name
        assert 0.90 <= np.mean(covered[name]) <= 0.99, name
    assert np.mean(gate) >= 0.95
    assert np.std(values["dr"]) < np.std(values["ips"]) / 1.5


def test_missing_labels_are_weighed_by_their_chance() -> None:
    rng = np.random.default_rng(3)
    rows = drawn(rng, rows=60_000, logging=LOGGING, means=MEANS)
    chance = np.where(rows.arm == 0, 0.2, 0.8)  # one arm is labelled more often
    kept = rng.random(len(chance)) < chance
    thinned = Log(
        cell=rows.cell[kept],
        arm=rows.arm[kept],
        propensity=rows.propensity[kept],
        reward=rows.reward[kept],
        weight=1 / chance[kept],
        pinned=rows.pinned[kept],
    )
    for found in evaluate(thinned, WANTED):
        assert found.value == pytest.approx(TRUTH, abs=0.02), found.estimator


def test_bounds_by_hand_and_in_order() -> None:
    values = np.array([0.0, 1.0] * 50)
    low, high = normal(values)
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt(25 / 99) / 10)
    safe_low, safe_high = bernstein(values, width=1.0)
    assert safe_low < low < high < safe_high


def test_the_betting_bound_holds_and_tightens() -> None:
    rng = np.random.default_rng(0)
    for mean in (0.1, 0.5, 0.9):
        bounds = [
            betting_low((rng.random(500) < mean).astype(float), low=0.0, high=1.0)
            for _ in range(100)
        ]
        assert np.mean(np.array(bounds) <= mean) >= 0.93
        assert np.mean(bounds) > mean - 0.08


def test_many_thin_cells_are_covered_as_promised() -> None:
    # 12 roles, a 10 % slice that follows the target beside the top tier
    repeats = 500 if os.environ.get("TIERWISE_LONG") == "1" else 75
    found = []
    for seed in range(12, 16):
        world = made_up(np.random.default_rng(seed), items=1_200, roles=12, tiers=3)
        setting = Setting(world=world, arms=ladder_arms(world.tiers), check=CHECK)
        wanted = np.zeros((12, len(setting.arms.arms)))
        wanted[:, 1] = 1.0  # start small, escalate
        logging = beside_top(wanted)
        assert logging[0].tolist() == pytest.approx([0, 0.1, 0, 0, 0, 0.9])
        found.append(
            covering(
                setting, target=wanted, logging=logging, rows=3_000, repeats=repeats, seed=seed
            )
        )
    assert [held.refused for held in found] == [0.0] * 4
    assert 0.93 <= np.mean([held.covered for held in found]) <= 0.97
    assert all(held.half_width < 0.05 for held in found)


def test_the_least_width_that_an_estimate_can_have_by_hand() -> None:
    world = World(
        name="hand", tiers=("small", "frontier"), role_names=("r",),
        roles=np.zeros(4, dtype=np.int64),
        quality=np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
        cost=np.ones((4, 2)), features=np.zeros((4, 0)), digest="",
    )  # fmt: skip
    arms = distinct_arms(
        [Arm(tier=tier, on_fail=OnFail.ACCEPT) for tier in world.tiers], tiers=world.tiers
    )
    setting = Setting(world=world, arms=arms, check=Check())

    def least(target: list[float], logging: list[float]) -> float:
        return bound(setting, target=np.array([target]), logging=np.array([logging]), rows=10_000)

    # Small is right in half of the steps: its variance is .25, that of frontier 0.
    assert least([1.0, 0.0], [0.25, 0.75]) == pytest.approx(1.6449 / 100)  # .25 / .25
    assert least([0.5, 0.5], [0.25, 0.75]) == pytest.approx(1.6449 / 200)  # .25² / .25
    assert least([0.0, 1.0], [0.5, 0.5]) == 0.0
