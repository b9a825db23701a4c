"""Play a policy on a world and judge every revision by what is true of it.

A world is finite, so a revision (the probabilities in force between two ticks) has an exact
quality and cost: probabilities times true means, checks averaged. A *violation* is a revision more
than 0.5 points (of the top tier's mean quality) under the floor; revisions count by the requests
they served. Means over served requests are reported too, but carry the noise of a sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A whole run: judged revisions, sampled means and alarms."""

    steps: tuple[Step, ...]
    floor: float
    top_quality: float
    cost_served: float  # USD, as sampled
    top_cost_served: float  # USD, had the same requests gone to the top tier
    quality_served: float  # mean over the served requests
    alarms: tuple[int, ...] = field(default=())


def play(setting: Setting, maker: PlayerMaker, *, plan: Plan, declared: Ints) -> Run:
    """Play one policy over one plan; everything random comes from the plan's seed."""
    root = np.random.default_rng(plan.seed)
    items_rng, serve_rng, player_rng = root.spawn(3)
    world = setting.world
    player = maker(brief(setting, plan=plan, declared=declared), player_rng)
    truths = {stage.since: truth(setting, stage=stage) for stage in plan.stages}
    steps: list[Step] = []
    waiting: list[Served] = []
    totals = np.zeros(3)
    for start, end in plan.ticks():
        stage = plan.stage_at(start)
        known = truths[stage.since]
        items = items_rng.choice(world.items_count, end - start, p=known.item_weights)
        steps.append(_judge(setting, player, known=known, span=(start, end)))
        served, cost = serve(
            setting,
            serve_rng,
            stage=stage,
            items=items,
            numbers=np.arange(start, end),
            probabilities=player.probabilities(world.roles[items], world.features[items]),
        )
        totals += (
            cost.sum(),
            (world.cost[items, -1] * known.price[-1]).sum(),
            known.quality[items, served.arm].sum(),
        )
        waiting.append(served)
        arrived, waiting = _arrived(waiting, before=end - stage.labels.delay)
        news = News(price=plan_price(plan, at=end, setting=setting), absent=_absent(plan, end))
        player.learn(served, arrived, news=news)
    return Run(
        steps=tuple(steps),
        floor=plan.floor * world.top_quality,
        top_quality=world.top_quality,
        cost_served=float(totals[0]),
        top_cost_served=float(totals[1]),
        quality_served=float(totals[2] / plan.requests),
        alarms=player.alarms,
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


def _judge(setting: Setting, player: Player, *, known: Truth, span: tuple[int, int]) -> Step:
    """The true worth of the probabilities in force."""
    world = setting.world
    chances = player.probabilities(world.roles, world.features)
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
