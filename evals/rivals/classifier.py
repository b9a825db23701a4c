"""A threshold classifier: send a request up when a small model is unlikely to be good enough.

The form of RouteLLM: a logistic regression on what a request shows (roles, features, hashed text
where the world has one) is fitted before the run on recorded answers of both tiers, and its
threshold is set by cross-validation so that the floor holds on those examples. It never learns
afterwards, and looks at no check.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from evals.baselines.rewards import inputs
from evals.replay import Brief, Player, PlayerMaker
from evals.simulate import Setting
from evals.worlds import Floats, Ints
from telemetry.records import Arm, OnFail

EXAMPLES = 500  # items whose answers by every tier somebody has graded
FOLDS = 5


class Classifier:
    """The chosen lower tier where its chance of being good enough is over the threshold."""

    def __init__(
        self, brief: Brief, *, model: LogisticRegression | None, threshold: float, arms: Ints
    ) -> None:
        self._brief, self._model = brief, model
        self._threshold, self._arms = threshold, arms

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> Floats:
        return np.zeros((len(self._brief.role_names), len(self._brief.arms)))

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        low, top = self._arms.tolist()
        down = np.zeros(len(roles), dtype=bool)
        if self._model is not None:
            asked = inputs(self._brief, roles=roles, features=features)
            down = self._model.predict_proba(asked)[:, 1] >= self._threshold
        return np.asarray(np.eye(len(self._brief.arms))[np.where(down, low, top)])

    def learn(self, *_: object, **__: object) -> None:
        pass


def classifier(setting: Setting) -> PlayerMaker:
    """Fit on examples of ``setting``'s world; the lower tier that saves most is the one in use."""

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        world = setting.world
        sample = rng.choice(world.items_count, min(EXAMPLES, world.items_count), replace=False)
        seen = inputs(brief, roles=world.roles[sample], features=world.features[sample])
        quality, cost = world.quality[sample], world.cost[sample]
        top = setting.arms.index_of(Arm(tier=world.tiers[-1], on_fail=OnFail.ACCEPT))
        best = Classifier(brief, model=None, threshold=1.0, arms=np.array([top, top]))
        least = float(cost[:, -1].sum())
        for tier, name in enumerate(world.tiers[:-1]):
            enough = quality[:, tier] >= quality[:, -1]
            if enough.sum() < FOLDS or (~enough).sum() < FOLDS:
                continue
            model = LogisticRegression(max_iter=1_000)
            chance = cross_val_predict(model, seen, enough, cv=FOLDS, method="predict_proba")[:, 1]
            threshold = _threshold(
                chance, quality=quality[:, [tier, -1]], floor=brief.floors.overall
            )
            spent = float(np.where(chance >= threshold, cost[:, tier], cost[:, -1]).sum())
            if spent < least:
                low = setting.arms.index_of(Arm(tier=name, on_fail=OnFail.ACCEPT))
                least = spent
                best = Classifier(
                    brief,
                    model=model.fit(seen, enough),
                    threshold=threshold,
                    arms=np.array([low, top]),
                )
        return best

    return make


def _threshold(chance: Floats, *, quality: Floats, floor: float) -> float:
    """The lowest threshold whose mean quality on the examples clears the floor; above 1 if none.

    ``quality`` is (n, 2): of the lower tier and of the top one.
    """
    order = np.argsort(-chance)
    gain = np.cumsum((quality[:, 0] - quality[:, 1])[order])
    mean = (quality[:, 1].sum() + gain) / len(chance)
    fine = np.flatnonzero(mean >= floor)
    return float(chance[order[fine[-1]]]) if fine.size else 1.1
