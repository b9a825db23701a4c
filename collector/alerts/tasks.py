"""`CostHigh`: cost per task against its own baseline, with the engine that watches quality.

A task's cost is that of all its attempts, counted up to a clip, as a share of that clip. The clip
is the 99th percentile of the baseline, and never less than four times the limit, so that the mean
can always get over the limit. Tasks are taken in the order in which they began.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from collector.alerts import queries
from collector.alerts.bodies import cost_words, tiers_of
from collector.alerts.books import Books
from collector.alerts.epochs import cost_epoch, roles_of
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.alerts.watched import Baseline, Outcome, Struck, Thresholds, Watched, see
from collector.store import Store
from telemetry.alerting import CostAlertConfig
from telemetry.terms import Terms

PAGE: Final = 5_000
PAGES_MAX: Final = 4
HISTORY_NS: Final = 28 * 86_400_000_000_000
CURSOR: Final = "tasks"
RECOVERY: Final = 50.0
CLIP_LIMITS: Final = 4.0  # least clip, in limits
LIMIT_SHARE_MIN: Final = 0.01  # of the clip; a baseline of nothing must not alarm on a cent
COST: Final = "CostHigh"


class Tasks:
    """Takes new tasks into the books and says what their alert sees."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._behind = False
        self._fresh: dict[str, int] = {}
        self._struck = Struck(counts=False)

    def take(self, books: Books, terms: Terms, now_ns: int) -> None:
        """Take in every task that is added up since the last time, a bounded number at once.

        Raises:
            StoreUnavailable: the store cannot be read; what was taken stays in the books.
        """
        self._fresh = {}
        self._struck = Struck(counts=books.fact(CURSOR, None) is not None)
        config = terms.alerts.cost
        if config is None:
            return
        _begin(books, terms)
        closed = now_ns - int(config.horizon_seconds * 1e9)
        for _ in range(PAGES_MAX):
            at, role, task = books.fact(CURSOR, [max(now_ns - HISTORY_NS, 0), "", ""])
            rows = self._store.read(
                queries.TASKS,
                {"at": at, "role": role, "task": task, "closed": closed, "most": PAGE},
            )
            for row in rows:
                if row["cost_usd"] is not None and terms.of(row["role"]) is not None:
                    self._task(books, terms, row)
            if rows:
                last = rows[-1]
                books.note(CURSOR, [last["start_ns"], last["role"], last["task"]])
            self._behind = len(rows) == PAGE
            if not self._behind:
                return

    def sightings(self, books: Books, terms: Terms) -> Iterator[Sighting]:
        """Yield what `CostHigh` sees for every role, and over all."""
        if terms.alerts.cost is None:
            return
        for role in (*roles_of(terms), None):
            watched, struck = books.peek(COST, role), self._struck.of(COST, role)
            holds = None
            if watched is not None and watched.seen and not self._behind:
                holds = watched.alarmed or struck is not None
            yield Sighting(
                name=COST,
                role=role,
                look=Look(holds=holds, steps=self._fresh.get(role or "", 0)),
                words=partial(cost_words, self._store, role, struck or watched or Watched()),
            )

    def _task(self, books: Books, terms: Terms, row: dict[str, Any]) -> None:
        role, usd = row["role"], max(float(row["cost_usd"]), 0.0)
        config = terms.alerts.cost_of(role)
        whole = terms.alerts.cost
        assert config is not None
        assert whole is not None
        watched = books.of(COST, role)
        baseline = watched.baseline = watched.baseline or Baseline()
        watched.times_ns = watched.times_ns[-config.tasks_min :]
        if baseline.mean is None or baseline.clip is None:
            watched.times_ns.append(row["start_ns"])
            self._learn(baseline, row, usd, config)
            return
        limit = max((1 + config.increase) * baseline.mean / baseline.clip, LIMIT_SHARE_MIN)
        outcome = Outcome(
            id=row["task"],
            at_ns=row["start_ns"],
            bad=min(usd, baseline.clip) / baseline.clip,
            limit=limit,
        )
        watched.limit_min = watched.limit_max = limit
        overall = books.of(COST, None)
        overall.limit_min = LIMIT_SHARE_MIN
        overall.limit_max = 1 / CLIP_LIMITS
        for key, one, its in ((role, watched, config), (None, overall, whole)):
            limits = Thresholds(arl=its.arl, recovery=RECOVERY, times=its.tasks_min)
            if see(one, outcome, limits):
                self._struck.note(COST, key, one)
            self._fresh[key or ""] = self._fresh.get(key or "", 0) + 1

    def _learn(
        self, baseline: Baseline, row: dict[str, Any], usd: float, config: CostAlertConfig
    ) -> None:
        """Take one task into the baseline; the last one settles it."""
        baseline.costs.append(usd)
        baseline.from_ns = baseline.from_ns or row["start_ns"]
        baseline.to_ns = row["start_ns"]
        if len(baseline.costs) < config.baseline_tasks:
            return
        settle(baseline, increase=config.increase)
        span = (baseline.from_ns, baseline.to_ns)
        baseline.tiers, baseline.tasks = tiers_of(self._store, row["role"], span)


def settle(baseline: Baseline, *, increase: float) -> None:
    """Set the mean and the clip of a baseline from its costs, which are then forgotten."""
    costs = np.array(baseline.costs)
    least = CLIP_LIMITS * (1 + increase) * float(costs.mean())
    clip = max(float(np.quantile(costs, 0.99)), least, 1e-9)
    baseline.clip, baseline.mean = clip, float(np.minimum(costs, clip).mean())
    baseline.costs = []


def _begin(books: Books, terms: Terms) -> None:
    for role in (*roles_of(terms), None):
        watched, epoch = books.peek(COST, role), cost_epoch(terms, role)
        if watched is not None and watched.epoch == epoch:
            continue
        watched = books.of(COST, role)
        if watched.evidence > 1.0:
            books.restarted.append((COST, role, watched.evidence))
        watched.start(epoch)
        watched.alarmed = False  # another baseline: the old alarm compares with nothing any more
