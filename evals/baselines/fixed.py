"""Policies that never learn: one tier, the declared table, the plain cascade, a random mix."""

import numpy as np

from evals.replay import Brief, News, Player, PlayerMaker
from evals.simulate import Served, Setting, Stage, truth
from evals.worlds import Floats, Ints
from telemetry.records import Arm, OnFail


class Fixed:
    """The same shares (roles, arms) for ever."""

    def __init__(self, shares: Floats) -> None:
        self._shares = shares

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> Floats:
        return np.zeros_like(self._shares)

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        return self._shares[roles]

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        pass


def everywhere(setting: Setting, *, arm: Arm) -> PlayerMaker:
    """One arm for every role."""
    shares = np.zeros((len(setting.world.role_names), len(setting.arms.arms)))
    shares[:, setting.arms.index_of(arm)] = 1.0

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        return Fixed(shares)

    return make


def table(brief: Brief, rng: np.random.Generator) -> Player:
    """The declared table."""
    shares = np.zeros((len(brief.role_names), len(brief.arms)))
    shares[np.arange(len(shares)), brief.declared] = 1.0
    return Fixed(shares)


def cascade(setting: Setting) -> PlayerMaker:
    """Always start at the bottom and go one tier up after a flag."""
    return everywhere(setting, arm=Arm(tier=setting.world.tiers[0], on_fail=OnFail.STEP))


def random_mix(setting: Setting, *, floor: float) -> PlayerMaker:
    """Top tier and one other at random, in the cheapest ratio that truly meets the floor.

    It is told the truth that it needs: the best that can be done without looking at roles or
    checks.
    """
    known = truth(setting, stage=Stage())
    quality, cost = known.weights @ known.role_quality, known.weights @ known.role_cost
    top = setting.arms.index_of(Arm(tier=setting.world.tiers[-1], on_fail=OnFail.ACCEPT))
    target = floor * setting.world.top_quality
    best, shares = float(cost[top]), np.eye(len(cost))[top]
    for tier in setting.world.tiers[:-1]:
        other = setting.arms.index_of(Arm(tier=tier, on_fail=OnFail.ACCEPT))
        gap = quality[top] - quality[other]
        share = 1.0 if gap <= 0 else min(1.0, max(0.0, float((quality[top] - target) / gap)))
        spent = float(share * cost[other] + (1 - share) * cost[top])
        if spent < best:
            best = spent
            shares = share * np.eye(len(cost))[other] + (1 - share) * np.eye(len(cost))[top]
    mixed = np.tile(shares, (len(setting.world.role_names), 1))

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        return Fixed(mixed)

    return make
