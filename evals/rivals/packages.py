"""Bandit packages as players: Vowpal Wabbit, MABWiser and bayesianbandits, no floor.

Each gets every arm (chains included), roles and features as its context and quality - 0.3 cost as
its reward. Between ticks it stands still, so that every decision's probability is exact; labels
reach it one by one, in order. The packages stand in the extra ``bench``.
"""

import importlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from evals.baselines.rewards import inputs, rewards
from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints
from telemetry.errors import ConfigError

DRAWS = 16  # of the posterior; one of them is picked at random for every request


def need(module: str, *, package: str) -> Any:
    """Import a package of the extra; ConfigError names it when it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"this policy needs the package {package}, which is not installed",
            hint="install the extra `bench`: pip install -r requirements-bench.lock",
        ) from error


class Packaged(ABC):
    """A package's learner: declared arms until the first label, its own choice afterwards."""

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        self.brief = brief
        self.seed = int(rng.integers(2**31))
        self._taught = False

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> None:
        return None

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        if not self._taught:
            return np.eye(len(self.brief.arms))[self.brief.declared[roles]]
        return self.choose(roles, features)

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        if len(labelled.number):
            self._taught = True
            self.teach(labelled, rewards(self.brief, labelled, news=news))

    def inputs(self, roles: Ints, features: Floats) -> Floats:
        """Role indicators and features, (n, d)."""
        return inputs(self.brief, roles=roles, features=features)

    @abstractmethod
    def choose(self, roles: Ints, features: Floats) -> Floats:
        """Probabilities (n, arms) as the package has them."""
        ...

    @abstractmethod
    def teach(self, labelled: Served, reward: Floats) -> None:
        """Give the package labelled requests with their rewards."""
        ...


class VowpalWabbit(Packaged):
    """``--cb_explore_adf --squarecb`` with interactions of context and arm."""

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        super().__init__(brief, rng)
        library = need("vowpalwabbit", package="vowpalwabbit")
        options = f"--cb_explore_adf --squarecb -q SA --quiet --random_seed {self.seed}"
        self._learner = library.Workspace(options)

    def choose(self, roles: Ints, features: Floats) -> Floats:
        found = np.array(
            [
                self._learner.predict(self._example(role, row))
                for role, row in zip(roles.tolist(), features, strict=True)
            ]
        )
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def teach(self, labelled: Served, reward: Floats) -> None:
        for row in range(len(reward)):
            label = f"0:{-reward[row]:.6f}:{labelled.propensity[row]:.6f}"
            example = self._example(int(labelled.role[row]), labelled.features[row])
            arm = int(labelled.arm[row])
            example[arm + 1] = f"{label} {example[arm + 1]}"
            self._learner.learn(example)

    def _example(self, role: int, features: Floats) -> list[str]:
        facts = " ".join(f"f{number}:{value:.4f}" for number, value in enumerate(features))
        arms = [f"|A arm{number}" for number in range(len(self.brief.arms))]
        return [f"shared |S role{role} {facts}", *arms]


class MabWiser(Packaged):
    """LinUCB at its default width."""

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        super().__init__(brief, rng)
        library = need("mabwiser.mab", package="mabwiser")
        self._learner = library.MAB(
            arms=list(range(len(brief.arms))),
            learning_policy=library.LearningPolicy.LinUCB(),
            seed=self.seed,
        )

    def choose(self, roles: Ints, features: Floats) -> Floats:
        expected = self._learner.predict_expectations(self.inputs(roles, features))
        rows = [expected] if isinstance(expected, dict) else expected
        scores = np.array([[row[arm] for arm in range(len(self.brief.arms))] for row in rows])
        return np.asarray(np.eye(scores.shape[1])[scores.argmax(axis=1)])

    def teach(self, labelled: Served, reward: Floats) -> None:
        context = self.inputs(labelled.role, labelled.features)
        self._learner.partial_fit(labelled.arm.tolist(), reward, context)


class BayesianBandits(Packaged):
    """Thompson sampling on Normal-inverse-gamma regressions with stabilised forgetting."""

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        super().__init__(brief, rng)
        library = need("bayesianbandits", package="bayesianbandits")
        self._learners = [
            library.NormalInverseGammaRegressor(
                forgetting=library.StabilizedForgetting(0.9998), random_state=self.seed + arm
            )
            for arm in range(len(brief.arms))
        ]
        self._size = len(brief.role_names) + brief.features_count
        self._drawn = np.zeros((len(brief.arms), DRAWS, self._size))

    def choose(self, roles: Ints, features: Floats) -> Floats:
        scores = np.einsum("nd,akd->kna", self.inputs(roles, features), self._drawn, optimize=True)
        picks = np.eye(len(self.brief.arms))[scores.argmax(axis=2)]
        return np.asarray(picks.mean(axis=0))

    def teach(self, labelled: Served, reward: Floats) -> None:
        context = self.inputs(labelled.role, labelled.features)
        for arm, learner in enumerate(self._learners):
            mine = labelled.arm == arm
            if mine.any():
                learner.partial_fit(context[mine], reward[mine])
            self._drawn[arm] = learner.sample(np.eye(self._size), size=DRAWS)
