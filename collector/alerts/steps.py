"""The alerts over single steps: quality, its signal, escalation and the draw of arms.

Steps are taken in the order in which they arrived, each once, after its time to be graded is over.
That order does not depend on how a step came out, so late grades bend nothing.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from collector.alerts import queries
from collector.alerts.bodies import quality_words
from collector.alerts.books import Books
from collector.alerts.epochs import quality_epoch, roles_of, terms_of
from collector.alerts.freshdraws import fresh
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.alerts.watched import Outcome, Struck, Thresholds, Watched, see
from collector.store import Rows, Store
from learning.propensity import Draws
from telemetry.alerting import QualityAlertConfig
from telemetry.terms import Terms

PAGE: Final = 5_000
PAGES_MAX: Final = 4
HISTORY_NS: Final = 28 * 86_400_000_000_000  # how far back a lost desk is counted again
PROPENSITY_ARL: Final = 10_000  # draws
UNGRADED_MIN: Final = 5  # steps without a grade before its age says anything
JUDGED: Final = 2  # rank of what somebody else says of an answer; see collector/rows.py
CURSOR: Final = "steps"

Fresh = dict[tuple[str, str], int]  # outcomes that came with this tick, by alert and role


class Steps:
    """Takes new steps into the books and says what their alerts see."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._behind = False
        self._fresh: Fresh = {}
        self._drawn: set[str] = set()
        self._chances: dict[str, float] = {}
        self._struck = Struck(counts=False)

    def take(self, books: Books, terms: Terms, now_ns: int) -> None:
        """Take in every closed step that came since the last time, a bounded number at once.

        Raises:
            StoreUnavailable: the store cannot be read; what was taken stays in the books.
        """
        self._fresh = {}
        self._struck = Struck(counts=books.fact(CURSOR, None) is not None)
        _begin(books, terms)
        for _ in range(PAGES_MAX):
            rows = self._page(books, terms, now_ns)
            at_ns = books.fact(CURSOR, [0])[0]
            self._drawn = fresh(self._store, rows, at_ns=at_ns)
            self._chances = self._logged(rows)
            for row in rows:
                self._step(books, terms, row)
            if rows:
                last = rows[-1]
                books.note(CURSOR, [last["received_ns"], last["start_ns"], last["decision_id"]])
            self._behind = len(rows) == PAGE
            if not self._behind:
                return

    def sightings(self, books: Books, terms: Terms) -> Iterator[Sighting]:
        """Yield what each alert sees; nothing fires while old steps are still being counted."""
        for role in (*roles_of(terms), None):
            stale = self._stale(books, terms, role)
            for name in ("QualityWarn", "QualityLow"):
                if _floors(terms, role) and terms.alerts.quality is not None:
                    held = stale is True and name == "QualityLow"
                    yield self._sequential(books, name, role, held=held)
            if role is None:
                continue
            if stale is not None:
                yield Sighting(
                    name="QualitySignalStale",
                    role=role,
                    look=Look(holds=None if self._behind else stale),
                    words=partial(_stale_words, books.of("QualityLow", role)),
                )
            for name in ("EscalationHigh", "FeedbackMissing", "PropensityMismatch"):
                if books.peek(name, role) is not None:
                    yield self._sequential(books, name, role)

    def _page(self, books: Books, terms: Terms, now_ns: int) -> Rows:
        at, start, last = books.fact(CURSOR, [max(now_ns - HISTORY_NS, 0), 0, ""])
        rows = self._store.read(queries.STEPS, {"at": at, "start": start, "id": last, "most": PAGE})
        seconds = 0.0 if terms.alerts.quality is None else terms.alerts.quality.horizon_seconds
        wait_ns = int(seconds * 1e9)
        for count, row in enumerate(rows):
            # What arrived in the future came before the clock was set back: it has waited.
            if now_ns - wait_ns < row["received_ns"] <= now_ns + wait_ns:
                return rows[:count]
        return rows

    def _logged(self, rows: Rows) -> dict[str, float]:
        """Return the logged chance of each judged step among ``rows`` that has one, by its id."""
        judged = [row for row in rows if row["quality_rank"] == JUDGED]
        if not judged:
            return {}
        bound = {
            "ids": [row["decision_id"] for row in judged],
            "since": min(row["start_ns"] for row in judged),
        }
        found = self._store.read(queries.CHANCES, bound)
        return {row["decision_id"]: float(row["chance"]) for row in found}

    def _sequential(
        self, books: Books, name: str, role: str | None, *, held: bool = False
    ) -> Sighting:
        watched, struck = books.peek(name, role), self._struck.of(name, role)
        holds = None
        if watched is not None and watched.seen and not self._behind:
            holds = watched.alarmed or struck is not None
        steps = self._fresh.get((name, role or ""), 0)
        return Sighting(
            name=name,
            role=role,
            look=Look(holds=holds, steps=steps, held=held),
            words=partial(quality_words, self._store, name, role, struck or watched or Watched()),
        )

    def _stale(self, books: Books, terms: Terms, role: str | None) -> bool | None:
        """Say whether grades stopped while steps went on, by the steps' own times."""
        config = terms.alerts.quality_of(role)
        watched = books.peek("QualityLow", role)
        if config is None or watched is None or not watched.step_ns or role is None:
            return None
        age_ns = watched.step_ns - watched.graded_ns
        return watched.ungraded >= UNGRADED_MIN and age_ns > config.stale_seconds * 1e9

    # One step -----------------------------------------------------------------------------------

    def _step(self, books: Books, terms: Terms, row: dict[str, Any]) -> None:
        role, config = row["role"], terms.alerts.quality
        own = terms.of(role, row["mode"])
        if own is None:
            return
        if config is not None and own.floor is not None:
            self._grade(books, terms, row, floor=own.floor)
        cost = terms.alerts.cost_of(role)
        if cost is not None and own.checked:
            limits = Thresholds(arl=cost.arl, recovery=50, times=1)
            bad, limit = float(row["escalated_from"] is not None), cost.escalated_share_max
            self._see(books, "EscalationHigh", role, _outcome(row, bad, limit), limits)
        if row["decision_id"] in self._drawn:
            self._draw(books, row)

    def _grade(self, books: Books, terms: Terms, row: dict[str, Any], *, floor: float) -> None:
        role, score = row["role"], row["quality"]
        config = terms.alerts.quality_of(role)
        whole = terms.alerts.quality
        assert config is not None
        assert whole is not None
        missing = Thresholds(arl=config.arl, recovery=50, times=1)
        bad, limit = float(score is None), 1 - config.graded_share_min
        self._see(books, "FeedbackMissing", role, _outcome(row, bad, limit), missing)
        signal = books.of("QualityLow", role)
        signal.step_ns = max(signal.step_ns, row["start_ns"])
        signal.graded_ns = signal.graded_ns or row["start_ns"]
        if score is None:
            signal.ungraded += 1
            return
        signal.ungraded, signal.graded_ns = 0, max(signal.graded_ns, row["start_ns"])
        weight = self._weight(signal, row, config)
        outcome = _outcome(row, 1.0 - score, 1.0 - floor, weight=weight)
        for name, one in (("QualityWarn", config), ("QualityLow", config)):
            self._see(books, name, role, outcome, _levels(one, name))
        for name in ("QualityWarn", "QualityLow"):
            self._see(books, name, None, outcome, _levels(whole, name))

    def _weight(self, signal: Watched, row: dict[str, Any], config: QualityAlertConfig) -> float:
        """Return what a grade weighs: one over its chance, as a share of the most at this time.

        Who judges a share of the answers speaks for the others too. The share may be raised while
        a warning stands; what was logged last, before this step, is the share to go by.
        """
        rate = config.sample if signal.rate is None else signal.rate
        if row["quality_rank"] != JUDGED:
            return rate
        chance = self._chances.get(row["decision_id"])
        if chance is None:  # a judge who does not say judges the configured share
            return 1.0
        signal.rate = chance
        return min(1.0, rate / chance)

    def _draw(self, books: Books, row: dict[str, Any]) -> None:
        watched = books.of("PropensityMismatch", row["role"])
        draws = Draws(counts=watched.arms)
        if watched.wealth:
            draws = Draws(wealth=watched.wealth, counts=watched.arms)
        offered = (row["offered"] or "").split(",")
        arm = f"{row['tier_start']}/{row['on_fail']}"
        draws = draws.see(arm, offered=offered, propensity=row["propensity"])
        watched.wealth, watched.arms = draws.wealth, dict(draws.counts)
        watched.seen += 1
        watched.total += 1
        if draws.evidence < 2.0:
            watched.since_ns = row["start_ns"]
        watched.alarmed = watched.alarmed or draws.evidence >= PROPENSITY_ARL

    def _see(
        self, books: Books, name: str, role: str | None, outcome: Outcome, limits: Thresholds
    ) -> None:
        key = (name, role or "")
        watched = books.of(name, role)
        if see(watched, outcome, limits):
            self._struck.note(name, role, watched)
        self._fresh[key] = self._fresh.get(key, 0) + 1


def _levels(config: QualityAlertConfig, name: str) -> Thresholds:
    arl = config.arl if name == "QualityLow" else config.warn_arl
    return Thresholds(arl=arl, recovery=min(config.recovery_arl, arl), times=config.graded_min)


def _outcome(row: dict[str, Any], bad: float, limit: float, *, weight: float = 1.0) -> Outcome:
    return Outcome(
        id=row["decision_id"], at_ns=row["start_ns"], bad=bad, limit=limit, weight=weight
    )


def _floors(terms: Terms, role: str | None) -> list[float]:
    return [each.floor for each in terms_of(terms, role) if each.floor is not None]


def _begin(books: Books, terms: Terms) -> None:
    """Start detectors again whose role's terms changed, or that are new."""
    for role in (*roles_of(terms), None):
        epoch = quality_epoch(terms, role)
        quality, cost = terms.alerts.quality_of(role), terms.alerts.cost_of(role)
        limits = [1.0 - floor for floor in _floors(terms, role)]
        if quality is not None and limits:
            for name in ("QualityWarn", "QualityLow"):
                _restart(books, name, role, epoch, limits)
            if role is not None:
                _restart(books, "FeedbackMissing", role, epoch, [1.0 - quality.graded_share_min])
        if role is None:
            continue
        if cost is not None and any(each.checked for each in terms_of(terms, role)):
            _restart(books, "EscalationHigh", role, epoch, [cost.escalated_share_max])
        _restart(books, "PropensityMismatch", role, terms.policy_hash, [])


def _restart(books: Books, name: str, role: str | None, epoch: str, limits: list[float]) -> None:
    watched = books.peek(name, role)
    if watched is not None and watched.epoch == epoch:
        return
    watched = books.of(name, role)
    if watched.evidence > 1.0:
        books.restarted.append((name, role, watched.evidence))
    watched.start(epoch)
    if name == "PropensityMismatch":
        watched.alarmed = False  # nothing else would ever end it
    watched.limit_min, watched.limit_max = min(limits, default=0.0), max(limits, default=0.0)


def _stale_words(watched: Watched) -> dict[str, str]:
    hours = (watched.step_ns - watched.graded_ns) / 3.6e12
    return {
        "summary": f"no grade for {hours:.3g} h of served steps ({watched.ungraded} steps)",
        "last_graded_ns": str(watched.graded_ns),
    }
