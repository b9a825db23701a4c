"""Policies on plain role means: epsilon-greedy, primal-dual queue, programme without margin.

Each arm is learned on its own: no shared attempts, no shrinkage, no doubt.
"""

from abc import ABC, abstractmethod

import numpy as np

from evals.baselines.rewards import COST_WEIGHT, costs
from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints
from learning.compose import Composed
from learning.programme import Bound, Programme, solve

EXPLORE_FIRST, EXPLORE_LEAST = 0.15, 0.02


class RoleMeans(ABC):
    """Means of label and cost per (role, arm), and an exploration share that decays."""

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        self.brief = brief
        self.shape = (len(brief.role_names), len(brief.arms))
        self._tries, self._spent = np.zeros(self.shape), np.zeros(self.shape)
        self._labels, self._worth = np.zeros(self.shape), np.zeros(self.shape)
        self._asked = np.zeros(self.shape[0])
        self._shares = np.zeros(self.shape)
        self._shares[np.arange(self.shape[0]), brief.declared] = 1.0
        self._shares = self.with_exploration(self._shares)

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> Floats:
        return np.full(self.shape, self.exploring / self.shape[1])

    @property
    def quality(self) -> Floats:
        """Mean label, (roles, arms); the floor, worth one label, before any."""
        return np.asarray((self._worth + self.brief.floors.overall) / (self._labels + 1.0))

    @property
    def cost(self) -> Floats:
        """Mean cost in USD, (roles, arms); list prices, worth one try, before any."""
        index = {tier: number for number, tier in enumerate(self.brief.tiers)}
        listed = np.array([self.brief.tier_cost[index[path[0]]] for path in self.brief.chains])
        return np.asarray((self._spent + listed) / (self._tries + 1.0))

    @property
    def weights(self) -> Floats:
        """Share of the requests per role."""
        return np.asarray((self._asked + 1.0) / (self._asked + 1.0).sum())

    @property
    def exploring(self) -> float:
        """Share of the requests that explore; it decays."""
        return float(max(EXPLORE_LEAST, EXPLORE_FIRST / np.sqrt(1 + self._asked.sum() / 500)))

    def with_exploration(self, shares: Floats) -> Floats:
        """The shares with the current exploration share spread over all arms."""
        share = self.exploring
        return np.asarray((1 - share) * shares + share / self.shape[1])

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        return self._shares[roles]

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        cost = costs(self.brief, served, news=news)
        np.add.at(self._tries, (served.role, served.arm), 1.0)
        np.add.at(self._spent, (served.role, served.arm), cost)
        np.add.at(self._labels, (labelled.role, labelled.arm), 1.0)
        np.add.at(self._worth, (labelled.role, labelled.arm), labelled.label)
        np.add.at(self._asked, served.role, 1.0)
        self._shares = self.with_exploration(self.choose(labelled))

    @abstractmethod
    def choose(self, labelled: Served) -> Floats:
        """Shares (roles, arms) before exploration."""
        ...

    def one_hot(self, worth: Floats) -> Floats:
        """All on the best arm of each role."""
        return np.asarray(np.eye(self.shape[1])[worth.argmax(axis=1)])


class EpsilonGreedy(RoleMeans):
    """The arm of highest quality - 0.3 cost in each role, cost as a share of always-top."""

    def choose(self, labelled: Served) -> Floats:
        return self.one_hot(self.quality - COST_WEIGHT * self.cost / self.brief.tier_cost[-1])


class PrimalDual(RoleMeans):
    """A virtual queue of shortfalls prices quality (the form of MESS+ and SLARouter).

    queue <- max(0, queue + floor - label);  arm = argmin V cost - queue quality. Keeps the floor
    on average and late; between, it swings around it.
    """

    patience = 50.0  # V: shortfalls that outweigh always-top's cost

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        self._queue = 0.0
        super().__init__(brief, rng)

    def choose(self, labelled: Served) -> Floats:
        for label in labelled.label.tolist():
            self._queue = max(0.0, self._queue + self.brief.floors.overall - label)
        cost = self.cost / self.brief.tier_cost[-1]
        return self.one_hot(self._queue * self.quality - self.patience * cost)


class PlugIn(RoleMeans):
    """The floor-constrained programme on plain means: what selection does without a margin."""

    def choose(self, labelled: Served) -> Floats:
        nothing = np.zeros((self.shape[0], 1, self.shape[1]))
        arms = Composed(quality=self.quality, cost=self.cost, own=nothing, common=nothing)
        return solve(
            Programme(
                arms=arms,
                weights=self.weights,
                floor=self.brief.floors.overall,
                role_floors=self.brief.floors.roles,
                least=np.zeros(self.shape),
                allowed=np.ones(self.shape, dtype=bool),
                bound=Bound(z=0.0),
                role_bound=Bound(z=0.0),
            )
        ).shares
