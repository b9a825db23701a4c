"""Every policy by the name that the command line knows, each as something that plays one plan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from evals.baselines.fixed import cascade, everywhere, random_mix, table
from evals.baselines.linear import LinTS, LinUCB
from evals.baselines.oracle import constrained, per_item
from evals.baselines.rolemeans import EpsilonGreedy, PlugIn, PrimalDual
from evals.replay import Brief, Floors, Plan, Player, PlayerMaker, Run, play, told
from evals.rivals.classifier import classifier
from evals.rivals.packages import BayesianBandits, MabWiser, VowpalWabbit
from evals.rivals.pareto import Knobs, pareto
from evals.scores import score
from evals.simulate import Setting, Stage, truth
from evals.tierwise_player import Tierwise
from evals.worlds import TIERS, Floats, Ints
from learning.derive import Settings
from telemetry.records import Arm, OnFail

PENALTIES = (0.3, 0.1, 0.03, 0.0)  # ParetoBandit's prices on cost that are tried; it ships 0.3
CEILINGS = (0.1, 0.3, 1.0)  # its ceilings that are tried, as shares of always-top's cost


class Policy(Protocol):
    """Plays one plan from its first request to its last."""

    def __call__(self, setting: Setting, *, plan: Plan, declared: Ints) -> Run:
        """Return the judged run."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Learns:
    """A player; ``tick`` is how many requests it stands still at most, None: as the plan says."""

    maker: PlayerMaker
    tick: int | None = None

    def __call__(self, setting: Setting, *, plan: Plan, declared: Ints) -> Run:
        tick = plan.tick if self.tick is None else min(self.tick, plan.tick)
        return play(setting, self.maker, plan=replace(plan, tick=tick), declared=declared)


class Swept:
    """Several settings of one player: the cheapest whose mean quality holds the floor is played.

    It is found with hindsight on the first plan played, its first stage held for the whole run:
    more than an operator could know. Where none holds the floor the best one plays.
    """

    def __init__(self, players: Sequence[Learns]) -> None:
        self.players = players
        self.chosen: Learns | None = None

    def __call__(self, setting: Setting, *, plan: Plan, declared: Ints) -> Run:
        if self.chosen is None:
            self.chosen = self._best(setting, plan=plan, declared=declared)
        return self.chosen(setting, plan=plan, declared=declared)

    def _best(self, setting: Setting, *, plan: Plan, declared: Ints) -> Learns:
        calm = replace(plan, stages=plan.stages[:1])
        found = [score(one(setting, plan=calm, declared=declared)) for one in self.players]
        fine = [index for index, it in enumerate(found) if it.quality >= plan.floor]
        if fine:
            return self.players[min(fine, key=lambda index: found[index].cost)]
        return self.players[max(range(len(found)), key=lambda index: found[index].quality)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Knows:
    """One that is told the truth: chances (items, arms) for each stage."""

    choose: Callable[[Setting, Stage, Floors], Floats]

    def __call__(self, setting: Setting, *, plan: Plan, declared: Ints) -> Run:
        wanted = floors(setting, plan=plan)
        return told(setting, plan=plan, choose=lambda stage: self.choose(setting, stage, wanted))


def floors(setting: Setting, *, plan: Plan) -> Floors:
    """The plan's floors in absolute terms."""
    world = setting.world
    overall = plan.floor * world.top_quality
    if plan.role_floor is None:
        return Floors(overall=overall)
    best = world.role_means(world.quality[:, -1:])[:, 0]
    return Floors(overall=overall, roles=plan.role_floor * best)


NAMES = (
    "tierwise", "table", *TIERS, "random-mix", "cascade", "epsilon-greedy", "linucb", "lints",
    "vw", "mabwiser", "bayesianbandits", "paretobandit", "paretobandit-chains", "primal-dual",
    "classifier", "plug-in", "oracle", "item-oracle",
)  # fmt: skip


def policies(
    setting: Setting, *, floor: float, settings: Settings, online_tick: int = 50
) -> dict[str, Policy]:
    """Every policy that the world has tiers for; packages are imported when they play.

    ``online_tick`` is how many requests ParetoBandit stands still, which learns after every one.
    """

    def tierwise(brief: Brief, rng: np.random.Generator) -> Player:
        return Tierwise(brief, settings=settings)

    accept = [setting.arms.index_of(_only(tier)) for tier in setting.world.tiers]
    chains = list(range(len(setting.arms.arms)))
    makers: dict[str, PlayerMaker] = {
        "tierwise": tierwise,
        "table": table,
        **{tier: everywhere(setting, arm=_only(tier)) for tier in setting.world.tiers},
        "random-mix": random_mix(setting, floor=floor),
        "cascade": cascade(setting),
        "epsilon-greedy": EpsilonGreedy,
        "linucb": LinUCB,
        "lints": LinTS,
        "vw": VowpalWabbit,
        "mabwiser": MabWiser,
        "bayesianbandits": BayesianBandits,
        "primal-dual": PrimalDual,
        "classifier": classifier(setting),
        "plug-in": PlugIn,
    }
    return {
        **{name: Learns(maker=maker) for name, maker in makers.items()},
        "paretobandit": _swept(setting, arms=np.array(accept), tick=online_tick),
        "paretobandit-chains": _swept(setting, arms=np.array(chains), tick=online_tick),
        "oracle": Knows(choose=_oracle),
        "item-oracle": Knows(choose=_item_oracle),
    }


def _only(tier: str) -> Arm:
    return Arm(tier=tier, on_fail=OnFail.ACCEPT)


def _swept(setting: Setting, *, arms: Ints, tick: int) -> Swept:
    """ParetoBandit with every pair of a price on cost and a ceiling."""
    known = truth(setting, stage=Stage())
    cost = known.weights @ known.role_cost
    knobs = [
        Knobs(ceiling_usd=float(share * cost[arms].max()), cost_penalty=penalty)
        for penalty in PENALTIES
        for share in CEILINGS
    ]
    return Swept(
        [Learns(maker=pareto(arms=arms, arm_cost=cost, knobs=one), tick=tick) for one in knobs]
    )


def _oracle(setting: Setting, stage: Stage, wanted: Floors) -> Floats:
    """The cheapest mix per role that holds the floors."""
    return constrained(setting, stage=stage, floors=wanted)[0][setting.world.roles]


def _item_oracle(setting: Setting, stage: Stage, wanted: Floors) -> Floats:
    """The cheapest arm item by item that holds the overall floor."""
    chosen = per_item(setting, stage=stage, floor=wanted.overall)
    return np.asarray(np.eye(len(setting.arms.arms))[chosen])
