from dataclasses import replace

import numpy as np
import pytest

from evals.simulate import Check, Labels, Setting, Stage, joined, serve, truth
from evals.worlds import World, made_up
from learning.arms import ladder_arms

ARMS = ladder_arms(("small", "frontier"))  # small/accept, small/step, frontier/accept


def two_items() -> World:
    """Small is wrong on the first item and right on the second; the top is right on the first."""
    return World(
        name="hand",
        tiers=("small", "frontier"),
        role_names=("a", "b"),
        roles=np.array([0, 1]),
        quality=np.array([[0.0, 1.0], [1.0, 0.0]]),
        cost=np.array([[1.0, 10.0], [1.0, 20.0]]),
        features=np.zeros((2, 0)),
        digest="hand",
    )


def setting(check: Check) -> Setting:
    return Setting(world=two_items(), arms=ARMS, check=check)


def test_chains_are_summed_by_hand() -> None:
    found = truth(setting(Check(sensitivity=0.8, false_alarm=0.1)), stage=Stage())
    # item 1: wrong, flagged with .8, then right: .8;  item 2: right, flagged with .1, then wrong
    assert found.quality[:, 1].tolist() == pytest.approx([0.8, 0.9])
    assert found.cost[:, 1].tolist() == pytest.approx([1 + 0.8 * 10, 1 + 0.1 * 20])
    assert found.quality[:, 0].tolist() == [0.0, 1.0]
    assert found.quality[:, 2].tolist() == [1.0, 0.0]


def test_a_drop_turns_answers_wrong_and_the_check_may_see_it() -> None:
    stage = Stage(drop=(0.25, 0.0))
    found = truth(setting(Check(sensitivity=0.8, false_alarm=0.1)), stage=stage)
    # item 2: right with .75 and unflagged with .9; else the top, which is wrong here
    assert found.quality[1, 1] == pytest.approx(0.75 * 0.9)
    assert found.cost[1, 1] == pytest.approx(1 + (0.75 * 0.1 + 0.25 * 0.8) * 20)


def test_prices_and_tokens_multiply_costs() -> None:
    stage = Stage(price=(5.0, 1.0), verbose=(2.0, 1.0))
    found = truth(setting(Check()), stage=stage)
    assert found.cost[:, 0].tolist() == [10.0, 10.0]
    assert found.cost[:, 2].tolist() == [10.0, 20.0]


def test_a_stages_check_takes_the_place_of_the_settings() -> None:
    case = setting(Check(sensitivity=0.8, false_alarm=0.1))
    found = truth(case, stage=Stage(check=Check()))  # flags nothing: small serves what it has
    assert found.quality[:, 1].tolist() == [0.0, 1.0]
    assert found.cost[:, 1].tolist() == [1.0, 1.0]
    served, _ = serve(
        case, np.random.default_rng(0), stage=Stage(check=Check(sensitivity=1.0, false_alarm=1.0)),
        items=np.array([0, 1]), numbers=np.arange(2), probabilities=np.array([[0.0, 1.0, 0.0]] * 2),
    )  # fmt: skip
    assert served.depth.tolist() == [2, 2]


def test_a_role_mix_weighs_items() -> None:
    found = truth(setting(Check()), stage=Stage(role_weights=(0.25, 0.75)))
    assert found.item_weights.tolist() == [0.25, 0.75]
    assert found.item_weights @ found.quality[:, 0] == pytest.approx(0.75)


def test_correlated_checks_leave_one_check_as_it_is_and_weaken_the_second() -> None:
    arms = ladder_arms(("small", "mid", "frontier"))
    world = replace(
        two_items(),
        tiers=("small", "mid", "frontier"),
        quality=np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
        cost=np.ones((2, 3)),
    )
    step = [path for path, _ in enumerate(arms.chains) if arms.chains[path][:2] == ("small", "mid")]
    for correlation, expected in ((0.0, 0.8 * 0.8), (1.0, 0.8), (0.5, (0.64 + 0.8) / 2)):
        check = Check(sensitivity=0.8, false_alarm=0.1, correlation=correlation)
        found = truth(Setting(world=world, arms=arms, check=check), stage=Stage())
        assert found.quality[0, step[0]] == pytest.approx(expected)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_served_requests_agree_with_the_truth(correlation: float) -> None:
    world = made_up(np.random.default_rng(1), items=300, roles=3, tiers=3)
    arms = ladder_arms(world.tiers)
    check = Check(sensitivity=0.7, false_alarm=0.2, correlation=correlation)
    case = Setting(world=world, arms=arms, check=check)
    stage = Stage(drop=(0.0, 0.3, 0.0), verbose=(1.0, 1.0, 2.0))
    rng = np.random.default_rng(2)
    count = 120_000
    items = rng.integers(0, world.items_count, count)
    chances = np.full((count, len(arms.arms)), 1 / len(arms.arms))
    served, cost = serve(
        case, rng, stage=stage, items=items, numbers=np.arange(count), probabilities=chances
    )
    known = truth(case, stage=stage)
    for arm in range(len(arms.arms)):
        mine = served.arm == arm
        assert served.label[mine].mean() == pytest.approx(known.quality[:, arm].mean(), abs=0.012)
        assert cost[mine].mean() == pytest.approx(known.cost[:, arm].mean(), rel=0.03)
    assert served.propensity == pytest.approx(np.full(count, 1 / len(arms.arms)))


def test_labels_are_missing_at_their_rate_and_bias_moves_them() -> None:
    case = setting(Check())
    stage = Stage(labels=Labels(rate=0.3, bias=(0.25, 0.0)))
    count = 20_000
    served, _ = serve(
        case,
        np.random.default_rng(0),
        stage=stage,
        items=np.zeros(count, dtype=np.int64),
        numbers=np.arange(count),
        probabilities=np.tile([1.0, 0.0, 0.0], (count, 1)),
    )
    assert np.isnan(served.label).mean() == pytest.approx(0.7, abs=0.02)
    assert np.nanmean(served.label) == 0.25  # the answer is wrong; the judge is kind
    assert joined([served, served]).number.shape == (2 * count,)
