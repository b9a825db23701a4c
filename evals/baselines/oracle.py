"""Bounds that know the truth: no policy can be cheaper at the same floor."""

import numpy as np

from evals.replay import Floors
from evals.simulate import Bools, Setting, Stage, truth
from evals.worlds import Floats, Ints
from learning.compose import Composed
from learning.programme import Bound, Programme, solve


def constrained(setting: Setting, *, stage: Stage, floors: Floors) -> tuple[Floats, float, float]:
    """The cheapest mix per role that keeps the floors: shares (roles, arms), quality, cost in USD.

    Where the floor is out of reach, the mix of highest quality.
    """
    known = truth(setting, stage=stage)
    roles, arms = known.role_quality.shape
    nothing = np.zeros((roles, 1, arms))
    solution = solve(
        Programme(
            arms=Composed(
                quality=known.role_quality, cost=known.role_cost, own=nothing, common=nothing
            ),
            weights=known.weights,
            floor=floors.overall,
            role_floors=floors.roles,
            least=np.zeros((roles, arms)),
            allowed=np.tile(usable(setting, stage=stage), (roles, 1)),
            bound=Bound(z=0.0),
            role_bound=Bound(z=0.0),
        )
    )
    return solution.shares, solution.quality, solution.cost


def usable(setting: Setting, *, stage: Stage) -> Bools:
    """Arms none of whose tiers is absent in the stage, (arms,)."""
    absent = dict(zip(setting.world.tiers, stage.absent, strict=False))
    return np.array(
        [not any(absent.get(tier, False) for tier in path) for path in setting.arms.chains]
    )


def per_item(setting: Setting, *, stage: Stage, floor: float) -> Ints:
    """The cheapest choice item by item that keeps the overall floor: arms, (items,).

    With a price l on quality, each item takes the arm of least cost - l quality; l is found by
    bisection, so the floor is met from above. No learner can see this much.
    """
    known = truth(setting, stage=stage)
    low, high = 0.0, 1e4 * float(known.cost.max())
    index = np.arange(known.quality.shape[0])
    cost = np.where(usable(setting, stage=stage), known.cost, np.inf)
    for _ in range(80):
        middle = (low + high) / 2
        choice = (cost - middle * known.quality).argmin(axis=1)
        enough = float(known.item_weights @ known.quality[index, choice]) >= floor
        low, high = (low, middle) if enough else (middle, high)
    return np.asarray((cost - high * known.quality).argmin(axis=1))
