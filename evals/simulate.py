"""A world with known truth, what may happen to it, and requests served in it.

A simulated check flags a wrong answer with probability ``sensitivity`` and a right one with
``false_alarm``. With ``correlation`` c, a share c of the items draws one common number for the
checks of all its tiers: an item that fools the checker once fools it again.

A stage is what holds for a while: drops, verbosity, prices, role mix, what labels look like. The
truth of a stage is summed over all items with checks averaged, never sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evals.worlds import CORRECT_FROM, Floats, Ints, World
from learning.arms import Arms

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How often a check flags wrong and right answers, 0..1 each."""

    sensitivity: float = 0.0
    false_alarm: float = 0.0
    correlation: float = 0.0

    def flag_chance(self, quality: Floats) -> Floats:
        """Chance that an answer of that quality is flagged, same shape."""
        return np.where(quality < CORRECT_FROM, self.sensitivity, self.false_alarm)


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """How quality becomes known: share, delay in requests, bias per tier in 0..1 points."""

    rate: float = 1.0
    delay: int = 0
    bias: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What holds from ``since`` (share of the run, 0..1) until the next stage.

    Per tier, ladder order, empty for "as recorded": ``drop`` is the share of answers that become
    wrong, ``verbose`` multiplies tokens, ``price`` multiplies the price, ``absent`` takes a tier
    off the list. ``role_weights`` replaces the role mix, ``check`` the setting's check. Prices and
    absence are announced to a policy; all else is silent.
    """

    since: float = 0.0
    drop: tuple[float, ...] = ()
    verbose: tuple[float, ...] = ()
    price: tuple[float, ...] = ()
    absent: tuple[bool, ...] = ()
    role_weights: tuple[float, ...] | None = None
    check: Check | None = None
    labels: Labels = field(default_factory=Labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where a policy plays: a world, the arms on offer and the check that every answer gets."""

    world: World
    arms: Arms
    check: Check


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is true of every arm in one stage, item by item and role by role.

    ``quality`` and ``cost`` are (items, arms); ``role_quality`` and ``role_cost`` are
    (roles, arms); ``weights`` is (roles,), the stage's role mix; ``item_weights`` is (items,),
    sums to 1; ``price`` is (tiers,), the price multipliers.
    """

    quality: Floats
    cost: Floats
    role_quality: Floats
    role_cost: Floats
    weights: Floats
    item_weights: Floats
    price: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A batch of served requests, as a learner may see it; n rows, d attempts at most.

    ``depth`` is how many attempts were made; ``item`` is the world's item, for judges
    only; ``usage`` (n, d) is what each attempt used, in USD at the recorded prices: tokens, as
    far as a learner is concerned, 0 where none was made; ``flagged`` says
    whether the delivered answer was flagged; ``label`` is NaN where the quality is unknown.
    """

    number: Ints
    item: Ints
    role: Ints
    features: Floats
    arm: Ints
    propensity: Floats
    depth: Ints
    usage: Floats
    flagged: Bools
    label: Floats
    label_rate: Floats

    def rows(self, which: Bools) -> "Served":
        """The rows for which ``which`` holds."""
        return Served(
            number=self.number[which],
            item=self.item[which],
            role=self.role[which],
            features=self.features[which],
            arm=self.arm[which],
            propensity=self.propensity[which],
            depth=self.depth[which],
            usage=self.usage[which],
            flagged=self.flagged[which],
            label=self.label[which],
            label_rate=self.label_rate[which],
        )


def joined(parts: Sequence[Served]) -> Served:
    """The batches one after another; all must come from the same world."""
    names = Served.__dataclass_fields__
    return Served(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def per_tier(values: Sequence[float], *, tiers: int, default: float) -> Floats:
    """One number per tier, ``default`` when nothing is said."""
    return np.array(values, dtype=float) if values else np.full(tiers, default)


def truth(setting: Setting, *, stage: Stage) -> Truth:
    """Sum the true quality and cost of every arm over the world's items.

    With q the item's quality on a tier, p its flag chance, s the check's sensitivity and d the
    tier's drop, an answer is delivered unflagged with worth (1-d) q (1-p), delivered flagged with
    worth (1-d) q p, and flagged with chance (1-d) p + d s. A chain multiplies the flag chances of
    the tiers before; correlated checks are summed over the intervals of their common number.
    """
    world, arms, check = setting.world, setting.arms, stage.check or setting.check
    chance = check.flag_chance(world.quality)
    parts = [(1.0 - check.correlation, chance, check.sensitivity)]
    edges = np.unique([0.0, check.false_alarm, check.sensitivity, 1.0])
    for low, high in pairwise(edges):
        share = check.correlation * float(high - low)
        parts.append((share, (low < chance).astype(float), float(low < check.sensitivity)))
    quality = np.zeros((world.items_count, len(arms.chains)))
    cost = np.zeros_like(quality)
    for share, flag_chance, dropped_flag_chance in parts:
        if share > 0:
            worth, spent = _chains(
                world, arms=arms, stage=stage, chance=(flag_chance, dropped_flag_chance)
            )
            quality += share * worth
            cost += share * spent
    return _by_role(world, quality=quality, cost=cost, stage=stage)


def _chains(
    world: World, *, arms: Arms, stage: Stage, chance: tuple[Floats, float]
) -> tuple[Floats, Floats]:
    """Quality and cost of every arm on every item for given flag chances, (items, arms) each."""
    tiers = len(world.tiers)
    drop = per_tier(stage.drop, tiers=tiers, default=0.0)
    unit = per_tier(stage.price, tiers=tiers, default=1.0) * per_tier(
        stage.verbose, tiers=tiers, default=1.0
    )
    flag = (1 - drop) * chance[0] + drop * chance[1]
    unflagged = (1 - drop) * world.quality * (1 - chance[0])
    worth = np.zeros((world.items_count, len(arms.chains)))
    spent = np.zeros_like(worth)
    for arm, path in enumerate(arms.chains):
        reached = np.ones(world.items_count)
        for step, name in enumerate(path):
            tier = world.tiers.index(name)
            spent[:, arm] += reached * unit[tier] * world.cost[:, tier]
            if step == len(path) - 1:
                worth[:, arm] += reached * (1 - drop[tier]) * world.quality[:, tier]
            else:
                worth[:, arm] += reached * unflagged[:, tier]
                reached = reached * flag[:, tier]
    return worth, spent


def _by_role(world: World, *, quality: Floats, cost: Floats, stage: Stage) -> Truth:
    """The truth with its role means and weights."""
    sizes = world.role_weights()
    weights = sizes if stage.role_weights is None else np.array(stage.role_weights)
    item_weights = (weights / np.maximum(sizes, 1e-12))[world.roles] / world.items_count
    return Truth(
        quality=quality,
        cost=cost,
        role_quality=world.role_means(quality),
        role_cost=world.role_means(cost),
        weights=weights,
        item_weights=item_weights,
        price=per_tier(stage.price, tiers=len(world.tiers), default=1.0),
    )


def serve(
    setting: Setting,
    rng: np.random.Generator,
    *,
    stage: Stage,
    items: Ints,
    numbers: Ints,
    probabilities: Floats,
) -> tuple[Served, Floats]:
    """Serve ``items`` with arms drawn from ``probabilities`` (n, arms).

    Returns what a learner may see, labels drawn but not yet delayed, and the cost in USD at the
    stage's prices, (n,).
    """
    world, arms, check = setting.world, setting.arms, stage.check or setting.check
    count, tiers = len(items), len(world.tiers)
    draws = np.cumsum(probabilities, axis=1)
    arm = (rng.random(count)[:, None] * draws[:, -1:] >= draws).sum(axis=1)
    drop = per_tier(stage.drop, tiers=tiers, default=0.0)
    quality = np.where(rng.random((count, tiers)) < drop, 0.0, world.quality[items])
    common = rng.random((count, 1)) < check.correlation
    number = np.where(common, rng.random((count, 1)), rng.random((count, tiers)))
    flags = number < check.flag_chance(quality)
    usage_all = world.cost[items] * per_tier(stage.verbose, tiers=tiers, default=1.0)
    price = per_tier(stage.price, tiers=tiers, default=1.0)
    longest = max(len(path) for path in arms.chains)
    depth = np.zeros(count, dtype=np.int64)
    usage = np.zeros((count, longest))
    cost, delivered, flagged = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    last = np.zeros(count, dtype=np.int64)
    for index, path in enumerate(arms.chains):
        going = arm == index
        for step, name in enumerate(path):
            tier = world.tiers.index(name)
            depth[going] = step + 1
            usage[going, step] = usage_all[going, tier]
            cost[going] += usage_all[going, tier] * price[tier]
            delivered[going] = quality[going, tier]
            flagged[going] = flags[going, tier]
            last[going] = tier
            going = going & flags[:, tier]
    bias = per_tier(stage.labels.bias, tiers=tiers, default=0.0)
    label = np.clip(delivered + bias[last], 0.0, 1.0)
    known = rng.random(count) < stage.labels.rate
    served = Served(
        number=numbers,
        item=items,
        role=world.roles[items],
        features=world.features[items],
        arm=arm.astype(np.int64),
        propensity=probabilities[np.arange(count), arm],
        depth=depth,
        usage=usage,
        flagged=flagged,
        label=np.where(known, label, np.nan),
        label_rate=np.full(count, max(stage.labels.rate, 1e-9)),
    )
    return served, cost
