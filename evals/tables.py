"""Declared tables as people might write them: fitted on a few examples, or plainly wrong."""

import numpy as np

from evals.simulate import Setting
from evals.worlds import Ints
from telemetry.records import Arm, OnFail

EXAMPLES = 30  # graded examples per role and tier that people look at


def fitted(setting: Setting, rng: np.random.Generator, *, floor: float) -> Ints:
    """Per role, the cheapest tier whose mean on 30 examples clears ``floor`` x the top tier's.

    The step's answer goes one tier up when a check flags it, as policies do by default. Returns
    (roles,) arm indices.
    """
    world = setting.world
    chosen = []
    for role in range(len(world.role_names)):
        own = np.flatnonzero(world.roles == role)
        sample = rng.choice(own, EXAMPLES)
        quality, cost = world.quality[sample].mean(axis=0), world.cost[sample].mean(axis=0)
        good = [t for t in np.argsort(cost) if quality[t] >= floor * quality[-1]]
        chosen.append(escalating(setting, tier=int(good[0])))
    return np.array(chosen)


def escalating(setting: Setting, *, tier: int) -> int:
    """The arm that starts at ``tier`` and goes one tier up after a flag."""
    return setting.arms.index_of(Arm(tier=setting.world.tiers[tier], on_fail=OnFail.STEP))


def everywhere(setting: Setting, *, arm: Arm) -> Ints:
    """One arm for all roles, (roles,)."""
    return np.full(len(setting.world.role_names), setting.arms.index_of(arm))
