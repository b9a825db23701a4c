"""What every policy of the replay harness promises that learns, the learner under test included."""

import pickle
from copy import deepcopy
from dataclasses import fields

import numpy as np
import pytest

from evals.replay import Brief, News, Plan, Player, PlayerMaker, play
from evals.rivals.field import Learns, policies
from evals.simulate import Check, Served, Setting
from evals.tables import fitted
from evals.worlds import Floats, Ints, made_up
from learning.arms import ladder_arms
from learning.derive import Settings

WORLD = made_up(np.random.default_rng(4), items=200, roles=3, tiers=3)
CASE = Setting(
    world=WORLD, arms=ladder_arms(WORLD.tiers), check=Check(sensitivity=0.8, false_alarm=0.1)
)
DECLARED = fitted(CASE, np.random.default_rng(0), floor=0.97)
PACKAGED = {"vw", "mabwiser", "bayesianbandits"}  # tests/evals/test_rivals.py
MAKERS = {
    name: policy.maker
    for name, policy in policies(CASE, floor=0.97, settings=Settings()).items()
    if isinstance(policy, Learns) and name not in PACKAGED
}


class Watched:
    """A player whose promises are checked as it plays."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.sizes: list[int] = []

    @property
    def alarms(self) -> tuple[int, ...]:
        return self.player.alarms

    @property
    def explored(self) -> Floats | None:
        return self.player.explored

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        given = roles.copy(), features.copy()
        found = self.player.probabilities(roles, features)
        assert found.shape == (len(roles), len(CASE.arms.arms))
        assert bool(((found >= 0) & (found <= 1)).all())
        assert found.sum(axis=1) == pytest.approx(np.ones(len(roles)), abs=1e-9)
        assert (roles == given[0]).all()
        assert (features == given[1]).all()
        return found

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        given = deepcopy((served, labelled, news))
        self.player.learn(served, labelled, news=news)
        for now, before in zip((served, labelled), given[:2], strict=True):
            for field in fields(Served):
                np.testing.assert_array_equal(getattr(now, field.name), getattr(before, field.name))
        assert news.absent == given[2].absent
        self.sizes.append(len(pickle.dumps(self.player)))


def played(make: PlayerMaker, *, ticks: int) -> tuple[Watched, Floats]:
    """A player after so many ticks of 50 requests, and what it was served."""
    found: list[Watched] = []

    def watched(brief: Brief, rng: np.random.Generator) -> Player:
        found.append(Watched(make(brief, rng)))
        return found[-1]

    plan = Plan(requests=50 * ticks, tick=50, seed=3)
    run = play(CASE, watched, plan=plan, declared=DECLARED)
    return found[0], run.quality_served


def test_the_learner_and_the_baselines_are_enrolled() -> None:
    assert {"tierwise", "table", "epsilon-greedy", "linucb", "lints", "plug-in"} <= set(MAKERS)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_it_plays_by_the_rules_and_the_same_seed_gives_the_same_run(name: str) -> None:
    _, first = played(MAKERS[name], ticks=12)
    _, again = played(MAKERS[name], ticks=12)
    assert (first == again).all()


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_its_memory_does_not_grow_with_history(name: str) -> None:
    player, _ = played(MAKERS[name], ticks=220)
    assert player.sizes[-1] <= 1.05 * player.sizes[119]  # the tally holds 96 epochs by then
