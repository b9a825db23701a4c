"""Play a policy on a world and judge every revision by what is true of it.

A world is finite, so a revision (the probabilities in force between two ticks) has an exact
quality and cost: probabilities times true means, checks averaged. A *violation* is a revision more
than 0.5 points (of the top tier's mean quality) under the floor; revisions count by the requests
they served. Windows of served requests are reported too, but carry the noise of a sample: about
2 points at 500 requests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from evals.simulate import Served, Setting, Stage, Truth, joined, per_tier, serve, truth
from evals.worlds import Floats, Ints
from telemetry.records import Arm

TOLERANCE = 0.005  # share of the top tier's mean quality
FIRST = 2_000  # requests that count as the start
REQUESTS_MAX = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Floors:
    """Mean quality to keep, 0..1: over all requests, and in every role (``roles``, (roles,))."""

    overall: float
    roles: Floats | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """What a policy may know before its first request.

    ``declared`` is (roles,), the arm that the declared table names for each role; ``tier_cost`` is
    (tiers,), a typical cost of an attempt from list prices.
    """

    setting_name: str
    tiers: tuple[str, ...]
    arms: tuple[Arm, ...]
    chains: tuple[tuple[str, ...], ...]
    role_names: tuple[str, ...]
    features_count: int
    floors: Floors
    declared: Ints
    tier_cost: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What is announced at a tick: price multiplier and absence per tier."""

    price: Floats
    absent: tuple[bool, ...]


class Player(Protocol):
    """A policy under test."""

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        """Chance of every arm for every request, (n, arms); rows sum to 1."""
        ...

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        """Take a tick: requests served since the last (labels hidden), and labels that arrived."""
        ...

    @property
    def alarms(self) -> tuple[int, ...]:
        """Request numbers at whose tick a quality alarm was raised."""
        ...

    @property
    def explored(self) -> Floats | None:
        """Share of every arm that is exploration, (roles, arms); None when it cannot be told."""
        ...


PlayerMaker = Callable[[Brief, np.random.Generator], Player]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run: floor relative to the top tier's mean, stages, length, ticks and seed."""

    floor: float = 0.97
    role_floor: float | None = None
    stages: tuple[Stage, ...] = (Stage(),)
    requests: int = 20_000
    tick: int = 200
    seed: int = 0

    def ticks(self) -> list[tuple[int, int]]:
        """Half-open request ranges between ticks: finer in the first 1,000 requests."""
        assert 0 < self.requests <= REQUESTS_MAX, f"{self.requests} requests"
        edges, at = [0], 0
        while at < self.requests:
            at = min(at + (self.tick if at >= 1_000 else min(50, self.tick)), self.requests)
            edges.append(at)
        return list(pairwise(edges))

    def stage_at(self, number: int) -> Stage:
        """The stage that holds for request ``number``."""
        return [stage for stage in self.stages if stage.since * self.requests <= number][-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One revision as judged: true quality and cost while it served requests start..end."""

    start: int
    end: int
    quality: float
    cost: float
    top_cost: float
    worst_role: float  # true quality of the worst role, as a share of the top tier's in it
    shares: Floats  # (arms,), true share of the requests that each arm gets
    explored: float | None = None  # true cost of the requests that explore, per request of all
    labelled: tuple[int, ...] = ()  # labels that arrived at its end, per tier that had answered


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A whole run: judged revisions, what was served, and alarms."""

    steps: tuple[Step, ...]
    floor: float
    top_quality: float
    cost_served: float  # USD, as sampled
    top_cost_served: float  # USD, had the same requests gone to the top tier
    quality_served: Floats  # (requests,), mean quality of the item on the arm that served it
    alarms: tuple[int, ...] = field(default=())


def play(setting: Setting, maker: PlayerMaker, *, plan: Plan, declared: Ints) -> Run:
    """Play one policy over one plan; everything random comes from the plan's seed."""
    world = setting.world
    player_rng = np.random.default_rng(plan.seed).spawn(3)[2]
    player = maker(brief(setting, plan=plan, declared=declared), player_rng)

    def act(_: Stage, items: Ints) -> Floats:
        return player.probabilities(world.roles[items], world.features[items])

    run = _run(setting, plan=plan, act=act, player=player)
    return replace(run, alarms=player.alarms)


def told(setting: Setting, *, plan: Plan, choose: Callable[[Stage], Floats]) -> Run:
    """Serve the chances (items, arms) that ``choose`` gives for each stage: for those who know all.

    It meets the same requests as a player of the same plan.
    """
    chances = {stage.since: choose(stage) for stage in plan.stages}
    return _run(setting, plan=plan, act=lambda stage, items: chances[stage.since][items])


def _run(
    setting: Setting,
    *,
    plan: Plan,
    act: Callable[[Stage, Ints], Floats],
    player: Player | None = None,
) -> Run:
    """Serve the plan's requests with the chances (items, arms) of ``act``; a player hears of it."""
    items_rng, serve_rng, _ = np.random.default_rng(plan.seed).spawn(3)
    world = setting.world
    everything = np.arange(world.items_count)
    truths = {stage.since: truth(setting, stage=stage) for stage in plan.stages}
    steps: list[Step] = []
    qualities: list[Floats] = []
    waiting: list[Served] = []
    spent = np.zeros(2)
    for start, end in plan.ticks():
        stage = plan.stage_at(start)
        known = truths[stage.since]
        items = items_rng.choice(world.items_count, end - start, p=known.item_weights)
        step = _judge(setting, act(stage, everything), known=known, span=(start, end))
        explored = None if player is None else player.explored
        served, cost = serve(
            setting,
            serve_rng,
            stage=stage,
            items=items,
            numbers=np.arange(start, end),
            probabilities=act(stage, items),
        )
        spent += cost.sum(), (world.cost[items, -1] * known.price[-1]).sum()
        qualities.append(known.quality[items, served.arm])
        arrived, waiting = _arrived([*waiting, served], before=end - stage.labels.delay)
        steps.append(
            replace(
                step,
                explored=None if explored is None else _cost(explored, known=known),
                labelled=_by_tier(setting, arrived),
            )
        )
        if player is not None:
            news = News(price=plan_price(plan, at=end, setting=setting), absent=_absent(plan, end))
            player.learn(served, arrived, news=news)
    return Run(
        steps=tuple(steps),
        floor=plan.floor * world.top_quality,
        top_quality=world.top_quality,
        cost_served=float(spent[0]),
        top_cost_served=float(spent[1]),
        quality_served=np.concatenate(qualities),
    )


def brief(setting: Setting, *, plan: Plan, declared: Ints) -> Brief:
    """What a policy is told before the run."""
    world = setting.world
    top_by_role = world.role_means(world.quality[:, -1:])[:, 0]
    return Brief(
        setting_name=world.name,
        tiers=world.tiers,
        arms=setting.arms.arms,
        chains=setting.arms.chains,
        role_names=world.role_names,
        features_count=world.features.shape[1],
        floors=Floors(
            overall=plan.floor * world.top_quality,
            roles=None if plan.role_floor is None else plan.role_floor * top_by_role,
        ),
        declared=declared,
        tier_cost=world.cost.mean(axis=0),
    )


def plan_price(plan: Plan, *, at: int, setting: Setting) -> Floats:
    """Price multipliers that hold for request ``at``, (tiers,)."""
    stage = plan.stage_at(min(at, plan.requests - 1))
    return per_tier(stage.price, tiers=len(setting.world.tiers), default=1.0)


def _absent(plan: Plan, at: int) -> tuple[bool, ...]:
    return plan.stage_at(min(at, plan.requests - 1)).absent


def _arrived(waiting: Sequence[Served], *, before: int) -> tuple[Served, list[Served]]:
    """Labelled rows numbered under ``before``, and what still waits."""
    all_rows = joined(waiting)
    ready = all_rows.number < before
    return all_rows.rows(ready & ~np.isnan(all_rows.label)), [all_rows.rows(~ready)]


def _by_tier(setting: Setting, labelled: Served) -> tuple[int, ...]:
    """How many of the labels speak of an answer of each tier."""
    tiers = setting.world.tiers
    counts = np.zeros(len(tiers), dtype=np.int64)
    for arm, path in enumerate(setting.arms.chains):
        depth = labelled.depth[labelled.arm == arm]
        for step, tier in enumerate(path):
            counts[tiers.index(tier)] += int((depth == step + 1).sum())
    return tuple(counts.tolist())


def _cost(shares: Floats, *, known: Truth) -> float:
    """True cost of shares (roles, arms) of the requests, in USD per request of all."""
    return float(known.weights @ (shares * known.role_cost).sum(axis=1))


def _judge(setting: Setting, chances: Floats, *, known: Truth, span: tuple[int, int]) -> Step:
    """The true worth of chances (items, arms) while they serve the requests of ``span``."""
    world = setting.world
    assert bool(np.allclose(chances.sum(axis=1), 1.0)), "probabilities do not sum to 1"
    assert bool((chances >= 0).all()), "a probability is below 0"
    per_item = (chances * known.quality).sum(axis=1)
    by_role = world.role_means(np.column_stack([per_item, world.quality[:, -1]]))
    weights = known.item_weights
    return Step(
        start=span[0],
        end=span[1],
        quality=float(weights @ per_item),
        cost=float(weights @ (chances * known.cost).sum(axis=1)),
        top_cost=float(weights @ world.cost[:, -1] * known.price[-1]),
        worst_role=float((by_role[:, 0] / np.maximum(by_role[:, 1], 1e-9)).min()),
        shares=weights @ chances,
    )
