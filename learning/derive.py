"""From evidence to probabilities: estimate, compose, explore, solve."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from learning.arms import Arms
from learning.components import Belief, Estimate, estimate
from learning.compose import Composed, Layout, compose
from learning.explore import exploration
from learning.programme import Bound, Programme, Solution, solve
from learning.tally import Floats, Stat


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The learner's constants: one setting for every deployment."""

    z: float = 1.64
    tolerance: float = 0.005  # of the floor
    role_z: float = 1.0
    half_life: float = 20_000.0  # attempts
    damping: float = 0.7  # share of the previous mix that a cheaper one keeps
    budget: float = 0.08  # exploration share at most
    trickle: float = 0.004
    spare: float = 0.0025
    topc: float = 50.0
    sel: float = 1.0
    pess: float = 0.0
    pc: float = 4.0
    trust: float = 1500.0
    trust_z: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known outside the evidence.

    ``floor`` and ``role_floors`` (roles,) as declared; ``declared`` (roles,) is the table's arm;
    ``allowed`` (roles, arms); ``tier_cost`` maps a tier to a typical cost of an attempt, USD.
    """

    floor: float
    role_floors: Floats | None
    declared: np.ndarray[tuple[int], np.dtype[np.int64]]
    allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    tier_cost: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """Probabilities (roles, arms), the programme's solution and the estimates behind them."""

    shares: Floats
    solution: Solution
    arms: Composed
    trusted: bool


def estimates(layout: Layout, *, total: Floats, floor: float, settings: Settings) -> list[Estimate]:
    """Every component of the layout from (roles, prefixes, STATS) sums."""
    found = []
    for part in layout.parts:
        sums = total[:, layout.arms.prefix_index[part.prefix]]
        if part.kind == "P":
            flagged = sums[:, Stat.FLAGGED]
            found.append(
                estimate(
                    count=sums[:, Stat.ATTEMPTS],
                    total=flagged,
                    squares=flagged,
                    belief=Belief(mean=0.3, variance=0.2, count=4.0),
                )
            )
            continue
        passed = sums[:, Stat.PASSED_W : Stat.PASSED_WQQ + 1]
        failed = sums[:, Stat.FAILED_W : Stat.FAILED_WQQ + 1]
        label = {"U": passed, "B": failed, "D": passed + failed}[part.kind]
        scale = np.where(label[:, 1] > 0, label[:, 0] / np.maximum(label[:, 1], 1e-12), 0.0)
        top = part.prefix == (layout.arms.tiers[-1],)
        mean = {"U": floor - 0.1 - settings.pess, "B": 0.3 - settings.pess, "D": floor if len(part.prefix) == 1 else floor - 0.1 - settings.pess}
        found.append(
            estimate(
                count=label[:, 0] * scale,
                total=label[:, 2] * scale,
                squares=label[:, 3] * scale,
                belief=Belief(mean=floor + 0.1 * (1 - floor) if top else mean[part.kind], variance=0.16, count=settings.topc if top else settings.pc),
            )
        )
    return found


def attempt_costs(
    arms: Arms, *, total: Floats, price: Mapping[str, float], tier_cost: Mapping[str, float]
) -> Floats:
    """Expected USD of an attempt after each prefix, (roles, prefixes), shrunk to what roles share."""
    costs = np.zeros(total.shape[:2])
    for index, prefix in enumerate(arms.prefixes):
        sums = total[:, index]
        unit = price[prefix[-1]]
        count, used = sums[:, Stat.ATTEMPTS], sums[:, Stat.TOKENS_OUT] * unit
        common = (used.sum() + 4.0 * tier_cost[prefix[-1]] * unit) / (count.sum() + 4.0)
        costs[:, index] = (used + 4.0 * common) / (count + 4.0)
    return costs


def derive(
    layout: Layout,
    *,
    total: Floats,
    situation: Situation,
    price: Mapping[str, float],
    previous: Derived | None,
    settings: Settings,
) -> Derived:
    """Turn weighted sums (roles, prefixes, STATS) into the next probabilities."""
    arms = compose(
        layout,
        estimates=estimates(layout, total=total, floor=situation.floor, settings=settings),
        attempt_cost=attempt_costs(
            layout.arms, total=total, price=price, tier_cost=situation.tier_cost
        ),
    )
    roles, count = arms.quality.shape
    first = [index for index, prefix in enumerate(layout.arms.prefixes) if len(prefix) == 1]
    seen = total[:, first, Stat.ATTEMPTS].sum(axis=1) + 1.0
    weights = seen / seen.sum()
    start = np.zeros((roles, count))
    start[np.arange(roles), situation.declared] = 1.0
    base = start if previous is None else previous.solution.shares
    worth = 0.0 if previous is None else previous.solution.price_of_quality
    dear = float((weights @ arms.cost).max())
    least = exploration(
        arms,
        shares=base,
        allowed=situation.allowed,
        price_of_quality=worth if worth > 0 else 5.0 * dear,
        budget=np.full(roles, settings.budget),
        trickle=settings.trickle,
    )
    bound = Bound(z=settings.z, tolerance=settings.tolerance * situation.floor)
    role_bound = Bound(z=settings.role_z, tolerance=settings.tolerance * situation.floor)
    from learning.margins import selection
    extra = 0.0
    if settings.sel > 0 and worth > 0:
        extra = settings.sel * selection(arms, weights=weights, allowed=situation.allowed, price_of_quality=worth, rng=np.random.default_rng(0))
    programme = Programme(
        arms=arms,
        weights=weights,
        floor=situation.floor + extra,
        role_floors=situation.role_floors,
        least=least,
        allowed=situation.allowed,
        bound=bound,
        role_bound=role_bound,
    )
    solution = solve(programme, near=base)
    if not solution.proven:
        from dataclasses import replace
        safest = (arms.quality - settings.z * arms.deviation).argmax(axis=1)
        best = arms.quality[np.arange(roles), safest]
        loss = float((weights[:, None] * least * np.maximum(best[:, None] - arms.quality, 0)).sum())
        spare = max(float(weights @ best) - situation.floor, 0.0) + settings.spare * situation.floor
        if loss > spare:
            programme = replace(programme, least=least * spare / loss)
            solution = solve(programme, near=base)
    trusted = False
    labels = float(total[:, :, Stat.PASSED_W].sum() + total[:, :, Stat.FAILED_W].sum())
    if labels < settings.trust:
        from dataclasses import replace

        top = layout.arms.chains.index((layout.arms.tiers[-1],))
        mask = np.zeros((roles, count), dtype=bool)
        mask[:, top] = True
        mask[np.arange(roles), situation.declared] = True
        alternative = solve(
            replace(programme, allowed=mask, bound=Bound(z=settings.trust_z)), near=base
        )
        if alternative.proven and alternative.cost < solution.cost:
            solution, trusted = alternative, True
    shares = solution.shares
    if previous is not None and not trusted and solution.proven and settings.damping > 0:
        old = (weights[:, None] * previous.shares * arms.cost).sum()
        if solution.cost < old:
            shares = settings.damping * previous.shares + (1 - settings.damping) * shares
    return Derived(shares=shares, solution=solution, arms=arms, trusted=trusted)
