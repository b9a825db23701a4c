"""A tilt in play: it stays off while features say nothing and comes on when they say much."""

from dataclasses import replace

import numpy as np

from evals.replay import Brief, Plan, Run, play
from evals.scores import score
from evals.simulate import Check, Setting
from evals.tables import fitted
from evals.tierwise_player import Tierwise
from evals.tilted_player import Tilted
from evals.worlds import Floats, made_up
from learning.arms import ladder_arms
from learning.derive import Settings

WORLD = made_up(np.random.default_rng(21), items=800, roles=2, tiers=2)


def both(features: Floats) -> tuple[Run, Run, Tilted]:
    """The same requests without and with a tilt, and who tilted."""
    case = Setting(
        world=replace(WORLD, features=features), arms=ladder_arms(WORLD.tiers), check=Check()
    )
    declared = fitted(case, np.random.default_rng(0), floor=0.97)
    players: list[Tilted] = []

    def tilted(brief: Brief, _: np.random.Generator) -> Tilted:
        players.append(Tilted(brief, settings=Settings()))
        return players[-1]

    def plain(brief: Brief, _: np.random.Generator) -> Tierwise:
        return Tierwise(brief, settings=Settings())

    plan = Plan(requests=6_000, seed=1)
    first = play(case, plain, plan=plan, declared=declared)
    return first, play(case, tilted, plan=plan, declared=declared), players[0]


def test_noise_tilts_nothing() -> None:
    noise = np.random.default_rng(5).normal(size=(WORLD.items_count, 4))
    plain, tilted, player = both(noise)
    assert set(player.tilted) == {0}
    assert player.tilt is None
    assert score(tilted).quality == score(plain).quality


def test_a_feature_that_knows_what_the_small_tier_can_do_makes_it_cheaper_and_no_worse() -> None:
    knows = (WORLD.quality[:, :1] - WORLD.quality[:, :1].mean()) * 2.0
    plain, tilted, player = both(knows)
    assert max(player.tilted) >= 1
    won, lost = score(tilted), score(plain)
    assert won.bad <= 0.05
    assert won.quality > lost.quality
    assert won.cost < 0.9 * lost.cost
