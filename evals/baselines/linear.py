"""LinUCB and LinTS: a ridge regression per arm on role and request features, no floor.

The reward is quality - 0.3 cost, cost as a share of always-top. Batches: the policy is fixed
between ticks, so every decision's probability is exact (0 or 1, plus exploration for LinTS' draw).
Source: Li et al. 2010 (LinUCB, disjoint); Agrawal and Goyal 2013 (Thompson sampling).
"""

import numpy as np

from evals.baselines.rewards import inputs, rewards
from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints


class Linear:
    """The shared regression; subclasses say which coefficients to act on."""

    width = 1.0  # deviations of optimism, or of the posterior's draw

    def __init__(self, brief: Brief, rng: np.random.Generator) -> None:
        self.brief, self.rng = brief, rng
        size = len(brief.role_names) + brief.features_count
        self._gram = np.tile(np.eye(size), (len(brief.arms), 1, 1))
        self._moment = np.zeros((len(brief.arms), size))
        self._noise = 0.4
        self.refresh()

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> None:
        return None

    def inputs(self, roles: Ints, features: Floats) -> Floats:
        """Role indicators and features side by side, (n, d)."""
        return inputs(self.brief, roles=roles, features=features)

    def refresh(self) -> None:
        """Solve the regressions after a tick."""
        self.inverse = np.linalg.inv(self._gram)
        self.mean = np.einsum("aij,aj->ai", self.inverse, self._moment)

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        reward = rewards(self.brief, labelled, news=news)
        seen = self.inputs(labelled.role, labelled.features)
        for arm in range(len(self.brief.arms)):
            mine = seen[labelled.arm == arm]
            self._gram[arm] += mine.T @ mine
            self._moment[arm] += mine.T @ reward[labelled.arm == arm]
        self.refresh()

    def best(self, scores: Floats) -> Floats:
        """All on the best arm of each row."""
        return np.asarray(np.eye(scores.shape[1])[scores.argmax(axis=1)])


class LinUCB(Linear):
    """Optimism: mean plus ``width`` deviations."""

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        asked = self.inputs(roles, features)
        spread = np.einsum("ni,aij,nj->na", asked, self.inverse, asked, optimize=True)
        return self.best(asked @ self.mean.T + self.width * self._noise * np.sqrt(spread))


class LinTS(Linear):
    """Thompson sampling: one draw of the coefficients per tick."""

    def refresh(self) -> None:
        super().refresh()
        roots = np.linalg.cholesky(self.inverse)
        normal = self.rng.standard_normal(self.mean.shape)
        self._drawn = self.mean + self._noise * np.einsum("aij,aj->ai", roots, normal)

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        return self.best(self.inputs(roles, features) @ self._drawn.T)
