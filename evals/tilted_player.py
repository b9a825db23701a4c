"""The learner with a tilt inside roles, where its own log proves that one pays."""

from dataclasses import replace

import numpy as np

from evals.replay import Brief, News
from evals.simulate import Served
from evals.tierwise_player import Tierwise, attempts, labels
from evals.worlds import Floats, Ints
from learning.derive import Settings
from learning.tilt import Rows, Tilt, proven

ROWS_MAX = 20_000  # labelled requests that are remembered
EVERY = 10  # ticks between two looks


class Tilted(Tierwise):
    """Tierwise, and a tilt that is asked for every ``EVERY`` ticks; evidence is weighed back."""

    def __init__(self, brief: Brief, *, settings: Settings) -> None:
        super().__init__(brief, settings=settings)
        self.tilt: Tilt | None = None
        self.tilted: list[int] = []  # roles that were tilted, look by look
        self._rows: list[Rows] = []
        self._ratio = np.ones(0)  # plain over tilted chance of each request's arm

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        plain = super().probabilities(roles, features)
        if self.tilt is None:
            return plain
        return self.tilt.chances(self._derived.shares, role=roles, features=features)

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        plain = self._derived.shares[served.role, served.arm]
        self._ratio = np.concatenate([self._ratio, plain / served.propensity])
        price = np.array([self._price[tier] for tier in self._brief.tiers])
        self._rows.append(self._logged(labelled, price=price))
        super().learn(served, labelled, news=news)
        if self._epoch % EVERY == 0:
            self._look()

    def _evidence(self, served: Served, labelled: Served) -> Floats:
        roles = len(self._brief.role_names)
        sums = attempts(served, layout=self._layout, roles=roles, weight=self._ratio[served.number])
        weighed = replace(labelled, label_rate=labelled.label_rate / self._ratio[labelled.number])
        return sums + labels(weighed, layout=self._layout, roles=roles)

    def _look(self) -> None:
        """Ask the log again; the rows of the last ``ROWS_MAX`` labels are kept."""
        names = Rows.__dataclass_fields__
        rows = Rows(
            **{
                name: np.concatenate([getattr(part, name) for part in self._rows])[-ROWS_MAX:]
                for name in names
            }
        )
        self._rows = [rows]
        solution = self._derived.solution
        self.tilt = proven(
            rows,
            shares=self._derived.shares,
            price_of_quality=solution.price_of_quality,
            spare=self._settings.tolerance * self._brief.floors.overall,
        )
        self.tilted.append(0 if self.tilt is None else int(self.tilt.on.sum()))

    def _logged(self, served: Served, *, price: Floats) -> Rows:
        cost = np.zeros(len(served.number))
        for arm, path in enumerate(self._layout.arms.chains):
            own = served.arm == arm
            for step, tier in enumerate(path):
                cost[own] += served.usage[own, step] * price[self._brief.tiers.index(tier)]
        return Rows(
            role=served.role,
            arm=served.arm,
            propensity=served.propensity,
            quality=served.label,
            cost=cost,
            weight=1.0 / served.label_rate,
            features=served.features,
        )
