"""The learner under test, played by the harness: served requests in, probabilities out."""

from collections.abc import Mapping

import numpy as np

from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints
from learning.arms import Arms, Chain
from learning.canary import Canaries, labels_used
from learning.compose import Layout
from learning.derive import Derived, Settings, Situation, derive, stopped
from learning.explore import exploration
from learning.tally import STATS, Stat, Tally
from learning.watch import KIND_OF, Alarm, Change, Outcomes, Watch
from telemetry.learnconfig import CANARY_LABELS

Reference = tuple[Floats, Floats]
Row = tuple[Ints, Floats, Floats, Floats, Ints]  # request numbers, outcomes, low, high, kinds


class Tierwise:
    """Tallies, totals and derived shares of one run; a tick is one epoch.

    A tier that was announced as absent and comes is a new model in every role.
    """

    def __init__(
        self, brief: Brief, *, settings: Settings, canary_labels: float = CANARY_LABELS
    ) -> None:
        self._brief = brief
        self._settings = settings
        self._canary_labels = canary_labels
        arms = Arms(tiers=brief.tiers, arms=brief.arms, chains=brief.chains)
        self._layout = Layout(arms=arms)
        self._tally = Tally(cells=brief.role_names, prefixes=arms.prefixes)
        self._epoch = 0
        self._alarms: list[int] = []
        self._price: Mapping[str, float] = dict.fromkeys(brief.tiers, 1.0)
        self._absent: set[str] = set()
        self._came: set[str] = set()
        self._since: dict[str, int] = {}
        self._demoted: set[str] = set()
        self._watches = dict.fromkeys(brief.tiers, Watch())
        self.changes: list[tuple[int, str, Alarm]] = []
        self._derived = self._derive(None)
        self._least = np.zeros_like(self._derived.shares)

    @property
    def alarms(self) -> tuple[int, ...]:
        return tuple(self._alarms)

    @property
    def explored(self) -> Floats:
        """What exploration asks for; while nothing is proven, more than it gets."""
        return np.minimum(self._least, self._derived.shares)

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        return self._derived.shares[roles]

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        self._epoch += 1
        sums = self._evidence(served, labelled)
        self._watch(served, labelled)
        self._tally = Tally(
            cells=self._tally.cells,
            prefixes=self._tally.prefixes,
            epochs={**self._tally.epochs, self._epoch: sums},
        ).bounded()
        self._price = dict(zip(self._brief.tiers, news.price.tolist(), strict=True))
        pairs = zip(self._brief.tiers, news.absent, strict=False)
        absent = {tier for tier, absent in pairs if absent}
        self._came |= self._absent - absent
        self._absent = absent
        before = self._derived
        self._derived = self._derive(before)
        self._least = self._exploring(before)

    def _evidence(self, served: Served, labelled: Served) -> Floats:
        """The sums (roles, prefixes, STATS) of a tick."""
        roles = len(self._brief.role_names)
        sums = attempts(served, layout=self._layout, roles=roles)
        return sums + labels(labelled, layout=self._layout, roles=roles)

    def _watch(self, served: Served, labelled: Served) -> None:
        """Compare what came with what should have come; an alarm starts the model anew."""
        known = self._derived.references
        for tier in self._brief.tiers:
            rows = [
                *flag_outcomes(served, layout=self._layout, tier=tier, known=known),
                *label_outcomes(labelled, layout=self._layout, tier=tier, known=known),
            ]
            numbers, outcomes = in_order(rows)
            self._watches[tier], alarm = self._watches[tier].see(outcomes)
            if alarm is None:
                continue
            self.changes.append((int(numbers[alarm.index]), tier, alarm))
            self._since[tier] = self._epoch
            if alarm.change is Change.WORSE:
                self._alarms.append(int(served.number[-1]) + 1)
                self._demoted.add(tier)
            else:
                self._demoted.discard(tier)

    def _exploring(self, previous: Derived) -> Floats:
        """The least shares that the last solve asked for, (roles, arms)."""
        settings = self._settings
        arms, worth = self._derived.arms, previous.solution.price_of_quality
        probed = {tier: settings.probe for tier in self._demoted}
        return exploration(
            arms,
            shares=previous.solution.shares,
            allowed=self._allowed(),
            price_of_quality=worth if worth > 0 else 5.0 * float(arms.cost.max()),
            budget=settings.budget,
            alive=[(path[0], probed.get(path[0], settings.trickle)) for path in self._brief.chains],
            held=stopped(
                self._layout.arms,
                self._situation(),
                previous=previous,
                settings=settings,
            ),
        )

    def _canaries(self) -> Canaries | None:
        """The tiers that came during the run and the labels that each has had, by role."""
        if not self._came:
            return None
        used = labels_used(self._tally, tiers=self._came, since=self._since)
        return Canaries(used=used, budget=self._canary_labels)

    def _allowed(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Arms without an absent tier, (roles, arms)."""
        usable = [not self._absent.intersection(path) for path in self._brief.chains]
        return np.tile(np.array(usable), (len(self._brief.role_names), 1))

    def _situation(self) -> Situation:
        """What is known outside the evidence by now."""
        brief = self._brief
        token = np.array([0.0, 1.0, 0.0])  # the world's usage stands as output tokens
        return Situation(
            floor=brief.floors.overall,
            role_floors=brief.floors.roles,
            declared=brief.declared,
            allowed=self._allowed(),
            price={tier: token * price for tier, price in self._price.items()},
            typical={
                tier: token * cost for tier, cost in zip(brief.tiers, brief.tier_cost, strict=True)
            },
            since=self._since,
            demoted=frozenset(self._demoted),
            canaries=self._canaries(),
        )

    def _derive(self, previous: Derived | None) -> Derived:
        return derive(
            self._layout,
            tally=self._tally,
            situation=self._situation(),
            previous=previous,
            settings=self._settings,
            rng=np.random.default_rng(self._epoch),
        )


def flag_outcomes(
    served: Served, *, layout: Layout, tier: str, known: Mapping[tuple[Chain, str], Reference]
) -> list[Row]:
    """Unflagged attempts of a tier as 1, flagged ones as 0."""
    found: list[Row] = []
    for index, path in enumerate(layout.arms.chains):
        for step in range(len(path)):
            key = (path[: step + 1], "P")
            if path[step] != tier or key not in known:
                continue
            made = (served.arm == index) & (served.depth > step)
            flagged = (served.depth > step + 1) | served.flagged
            low, high = known[key]
            role = served.role[made]
            good, kinds = 1.0 - flagged[made], np.full_like(role, KIND_OF["P"])
            found.append((served.number[made], good, 1 - high[role], 1 - low[role], kinds))
    return found


def label_outcomes(
    served: Served, *, layout: Layout, tier: str, known: Mapping[tuple[Chain, str], Reference]
) -> list[Row]:
    """Labelled quality of what a tier delivered."""
    found: list[Row] = []
    for index, path in enumerate(layout.arms.chains):
        for step in range(len(path)):
            if path[step] != tier:
                continue
            made = (served.arm == index) & (served.depth == step + 1)
            for kind, wanted in (("U", ~served.flagged), ("B", served.flagged), ("D", made)):
                if (path[: step + 1], kind) in known:
                    which = made & wanted
                    low, high = known[path[: step + 1], kind]
                    role = served.role[which]
                    number, label = served.number[which], served.label[which]
                    kinds = np.full_like(role, KIND_OF[kind])
                    found.append((number, label, low[role], high[role], kinds))
    return found


def in_order(rows: list[Row]) -> tuple[Ints, Outcomes]:
    """Request numbers and outcomes in their order; those without a reference are left out."""
    if not rows:
        nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
        return none, Outcomes(values=nothing, low=nothing, high=nothing, kinds=none)
    number, values, low, high, kinds = (np.concatenate(part) for part in zip(*rows, strict=True))
    order = np.argsort(number, kind="stable")
    order = order[np.isfinite(low[order])]
    found = Outcomes(values=values[order], low=low[order], high=high[order], kinds=kinds[order])
    return number[order], found


def attempts(served: Served, *, layout: Layout, roles: int, weight: Floats | None = None) -> Floats:
    """Sums of attempts, flags and usage per (role, prefix); ``weight`` (n,) is 1 by default."""
    arms = layout.arms
    each = np.ones(len(served.number)) if weight is None else weight
    sums = np.zeros((roles, len(arms.prefixes), STATS))
    for index, path in enumerate(arms.chains):
        mine = served.arm == index
        for step in range(len(path)):
            at = arms.prefix_index[path[: step + 1]]
            made = mine & (served.depth > step)
            flagged = made & ((served.depth > step + 1) | served.flagged)
            role = served.role[made]
            sums[:, at, Stat.ATTEMPTS] += np.bincount(role, weights=each[made], minlength=roles)
            sums[:, at, Stat.FLAGGED] += np.bincount(
                served.role[flagged], weights=each[flagged], minlength=roles
            )
            sums[:, at, Stat.TOKENS_OUT] += np.bincount(
                role, weights=each[made] * served.usage[made, step], minlength=roles
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
