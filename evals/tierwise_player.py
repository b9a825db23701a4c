"""The learner under test, played by the harness: served requests in, probabilities out."""

from collections.abc import Mapping

import numpy as np

from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints
from learning.arms import Arms
from learning.compose import Layout
from learning.derive import Derived, Settings, Situation, derive
from learning.tally import STATS, Stat, Tally


class Tierwise:
    """Tallies, totals and derived shares of one run; a tick is one epoch."""

    def __init__(self, brief: Brief, *, settings: Settings) -> None:
        self._brief = brief
        self._settings = settings
        arms = Arms(tiers=brief.tiers, arms=brief.arms, chains=brief.chains)
        self._layout = Layout(arms=arms)
        self._tally = Tally(cells=brief.role_names, prefixes=arms.prefixes)
        self._epoch = 0
        self._alarms: list[int] = []
        self._price: Mapping[str, float] = dict.fromkeys(brief.tiers, 1.0)
        self._absent: set[str] = set()
        self._derived = self._derive(None)

    @property
    def alarms(self) -> tuple[int, ...]:
        return tuple(self._alarms)

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        return self._derived.shares[roles]

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        self._epoch += 1
        sums = attempts(served, layout=self._layout, roles=len(self._brief.role_names))
        sums += labels(labelled, layout=self._layout, roles=len(self._brief.role_names))
        self._tally = Tally(
            cells=self._tally.cells,
            prefixes=self._tally.prefixes,
            epochs={**self._tally.epochs, self._epoch: sums},
        ).bounded()
        self._price = dict(zip(self._brief.tiers, news.price.tolist(), strict=True))
        self._derived = self._derive(self._derived)

    def _derive(self, previous: Derived | None) -> Derived:
        brief = self._brief
        shape = (len(brief.role_names), len(brief.arms))
        return derive(
            self._layout,
            total=self._tally.total(half_life=self._settings.half_life, since={}, kept=0.05),
            situation=Situation(
                floor=brief.floors.overall,
                role_floors=brief.floors.roles,
                declared=brief.declared,
                allowed=np.ones(shape, dtype=bool),
                tier_cost=dict(zip(brief.tiers, brief.tier_cost.tolist(), strict=True)),
            ),
            price=self._price,
            previous=previous,
            settings=self._settings,
        )


def attempts(served: Served, *, layout: Layout, roles: int) -> Floats:
    """Sums of attempts, flags and usage per (role, prefix)."""
    arms = layout.arms
    sums = np.zeros((roles, len(arms.prefixes), STATS))
    for index, path in enumerate(arms.chains):
        mine = served.arm == index
        for step in range(len(path)):
            at = arms.prefix_index[path[: step + 1]]
            made = mine & (served.depth > step)
            flagged = made & ((served.depth > step + 1) | served.flagged)
            role = served.role[made]
            sums[:, at, Stat.ATTEMPTS] += np.bincount(role, minlength=roles)
            sums[:, at, Stat.FLAGGED] += np.bincount(served.role[flagged], minlength=roles)
            sums[:, at, Stat.TOKENS_OUT] += np.bincount(
                role, weights=served.usage[made, step], minlength=roles
            )
    return sums


def labels(served: Served, *, layout: Layout, roles: int) -> Floats:
    """Sums of labelled quality per (role, prefix that delivered)."""
    arms = layout.arms
    sums = np.zeros((roles, len(arms.prefixes), STATS))
    weight = 1.0 / served.label_rate
    for index, path in enumerate(arms.chains):
        for step in range(len(path)):
            at = arms.prefix_index[path[: step + 1]]
            for flagged, first in ((False, Stat.PASSED_W), (True, Stat.FAILED_W)):
                which = (served.arm == index) & (served.depth == step + 1)
                which &= served.flagged == flagged
                role, w, q = served.role[which], weight[which], served.label[which]
                for offset, values in enumerate((w, w * w, w * q, w * q * q)):
                    sums[:, at, first + offset] += np.bincount(
                        role, weights=values, minlength=roles
                    )
    return sums
