"""One tick of alerting: look, move every alert on, and commit all of it together.

What was seen, the cursors, the alerts' states, their transitions and what sinks must be told are
one transaction of the desk. A kill before its commit loses a tick that the next one repeats; after
it, nothing is seen twice.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from collector import auditlog, holds
from collector.alert_events import Enqueue, fingerprint, nowhere
from collector.alerts import ledger, pace, pins, supply
from collector.alerts.books import Books
from collector.alerts.catalogue import RULES
from collector.alerts.house import House
from collector.alerts.ledger import Alert
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look, Patience, Standing, State, advance
from collector.alerts.steps import Steps
from collector.alerts.tasks import Tasks
from collector.auditlog import Deed
from collector.desk import Desk, Transaction
from collector.meters import Meters
from collector.silences import Silence, all_of, muting
from collector.store import Store, StoreError
from telemetry.errors import ApiError
from telemetry.terms import Terms

INSTANCES_MAX: Final = 200  # of one alert at one tick; a storm of labels is cut here
# What mutes an alert while it fires for the same role.
INHIBITED: Final = {
    "CostHigh": ("ProviderOutage",),
    "QualityLow": ("ProviderOutage",),
    "QualityWarn": ("QualityLow", "ProviderOutage"),
}
INHIBITION: Final = "alert "
FROM_STORE: Final = frozenset(RULES) - {"StoreDegraded", "TelemetryDropped", "Watchdog"}

log = logging.getLogger("tierwise.collector")


class NoAlert(ApiError):
    """There is no alert of that fingerprint, or it does not fire."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the last tick left to look at: alerts that stand, and the evidence of detectors."""

    alerts: tuple[Alert, ...] = ()
    evidence: Mapping[tuple[str, str], float] = field(default_factory=dict)
    ticks: int = 0  # that were committed since the start


class Alerts:
    """The engine; ``tick`` and ``acknowledge`` may be called from any thread."""

    def __init__(
        self,
        *,
        desk: Desk,
        store: Store,
        terms: Callable[[], Terms | None],
        meters: Meters,
        enqueue: Enqueue = nowhere,
    ) -> None:
        self._desk = desk
        self._store = store
        self._terms = terms
        self._enqueue = enqueue
        self._steps = Steps(store)
        self._tasks = Tasks(store)
        self._house = House(meters)
        self._books: Books | None = None
        self._last_ns: int | None = None
        self._lock = threading.Lock()
        self.seen = Seen()

    def tick(self, now_ns: int) -> None:
        """Look at what is new and move every alert on.

        Raises:
            StoreUnavailable: the desk cannot be read or written; nothing of the tick took effect.
        """
        with self._lock:
            passed_ns = 0 if self._last_ns is None else now_ns - self._last_ns
            try:
                self._tick(now_ns, passed_ns)
            except BaseException:
                self._books = None  # what is in memory may be ahead of the desk
                raise
            self._last_ns = now_ns

    def muted(self, now_ns: int) -> frozenset[str]:
        """Return the fingerprints of firing alerts that nobody is to be told of now.

        Raises:
            StoreUnavailable: the desk cannot be read.
        """
        silences = all_of(self._desk)
        return frozenset(
            alert.fingerprint
            for alert in ledger.read(self._desk).values()
            if alert.standing.state.burning
            and (
                (alert.muted or "").startswith(INHIBITION)
                or muting(silences, alert.labels, now_ns) is not None
            )
        )

    def acknowledge(
        self,
        mark: str,
        *,
        author: str,
        comment: str,
        now_ns: int,
        also: Callable[[Transaction, Alert], None] = lambda change, alert: None,
    ) -> Alert:
        """Take an alert as known: its safety action ends; a sequential one is over.

        Its detector begins again, and so a new alarm rests on what comes from now on.
        The same holds for the alert over all roles that this one explains. ``also`` is done in the
        same transaction.

        Raises:
            NoAlert: none of that fingerprint fires.
            StoreUnavailable: the desk cannot be written.
        """
        with self._lock:
            self._books = None
            books = Books(self._desk)
            standing = ledger.read(self._desk)
            alert = standing.get(mark)
            if alert is None or not alert.standing.state.burning:
                raise NoAlert(
                    f"no firing alert has the fingerprint {mark[:64]!r}",
                    hint="`tierwise alerts list --state firing` shows those that do",
                )
            known = [alert]
            overall = next((one for one in standing.values() if _explains(alert, one)), None)
            if overall is not None:
                known.append(overall)
            words = {"author": author, "comment": comment, "at_ns": now_ns}
            with self._desk.transaction() as change:
                closed = [self._close(change, books, one, words, now_ns) for one in known]
                books.save(change)
                deed = Deed(actor=author, at_ns=now_ns, reason=comment)
                labels = dict(alert.labels)
                auditlog.append(
                    change, deed, action="acknowledge", subject=mark, before=labels, after=words
                )
                also(change, closed[0])
            return closed[0]

    def _close(
        self,
        change: Transaction,
        books: Books,
        alert: Alert,
        words: Mapping[str, Any],
        now_ns: int,
    ) -> Alert:
        """Acknowledge one alert; a sequential one is over, for its evidence begins again."""
        was, reason = alert.standing.state, f"acknowledged by {words['author']}: {words['comment']}"
        alert = replace(alert, acknowledged=words)
        if books.peek(alert.name, alert.role) is not None:
            watched = books.of(alert.name, alert.role)
            watched.start(watched.epoch)
            watched.alarmed = False
            standing = replace(alert.standing, state=State.RESOLVED, since_ns=now_ns)
            alert = replace(alert, standing=replace(standing, ends_ns=now_ns, waited_ns=0))
            if alert.told:
                self._enqueue(change, alert.event("resolved", at_ns=now_ns, reason=reason))
            alert = replace(alert, told=False, muted=None)
        ledger.write(change, alert)
        ledger.moved(change, alert, was=was, now_ns=now_ns, reason=reason)
        return alert

    # One tick -----------------------------------------------------------------------------------

    def _tick(self, now_ns: int, passed_ns: int) -> None:
        if self._books is None:
            self._books = Books(self._desk)
        terms, trouble = self._terms(), None
        sightings: list[Sighting] = []
        looked = set(RULES) - FROM_STORE
        if terms is not None:
            try:
                sightings = list(self._look(self._books, terms, now_ns))
                looked |= FROM_STORE
            except StoreError as error:
                trouble = str(error)
                self._books = Books(self._desk)  # half a page may have been taken in
        sightings += self._house.sightings(trouble)
        before = ledger.read(self._desk)
        after = self._moved(before, _cut(sightings), looked, (now_ns, passed_ns))
        self._commit(self._books, before, after, now_ns)

    def _look(self, books: Books, terms: Terms, now_ns: int) -> Iterator[Sighting]:
        self._steps.take(books, terms, now_ns)
        self._tasks.take(books, terms, now_ns)
        yield from self._steps.sightings(books, terms)
        yield from self._tasks.sightings(books, terms)
        yield from pace.paces(self._store, terms, now_ns)
        yield from supply.prices(books, terms)
        yield from supply.versions(self._store, books, now_ns)
        yield from supply.outages(self._store, terms, now_ns)
        yield from supply.talkers(self._store, terms, now_ns)
        yield from pins.declared(terms, now_ns)
        yield from pins.set_while_running(books, holds.holds(self._desk), now_ns)

    def _moved(
        self,
        before: Mapping[str, Alert],
        sightings: Iterable[Sighting],
        looked: set[str],
        time_ns: tuple[int, int],
    ) -> list[Alert]:
        """Return every alert as it stands after this look, with words where it begins to fire."""
        now_ns, passed_ns = time_ns
        after = []
        marks = set()
        for sighting in sightings:
            labels = sighting.identity
            mark = fingerprint(labels)
            marks.add(mark)
            alert = before.get(mark) or Alert(
                fingerprint=mark,
                name=sighting.name,
                role=sighting.role,
                severity=labels["severity"],
                labels=labels,
            )
            standing = advance(
                alert.standing,
                sighting.look,
                patience=sighting.rule.patience,
                now_ns=now_ns,
                passed_ns=passed_ns,
            )
            after.append(self._worded(alert, standing, sighting))
        for mark, alert in before.items():
            if mark not in marks:
                after.append(_unseen(alert, alert.name in looked, now_ns, passed_ns))
        return after

    def _worded(self, alert: Alert, standing: Standing, sighting: Sighting) -> Alert:
        begins = standing.state.burning and not alert.standing.state.burning
        if not begins:
            return replace(alert, standing=standing)
        try:
            words = dict(sighting.words())
        except StoreError as error:
            words = {"summary": sighting.rule.meaning, "details": f"cannot be read now: {error}"}
        words |= {
            "meaning": sighting.rule.meaning,
            "question": sighting.rule.question,
            "remedy": sighting.rule.remedy,
        }
        return replace(alert, standing=standing, annotations=words, acknowledged=None)

    # What becomes of it -------------------------------------------------------------------------

    def _commit(
        self, books: Books, before: Mapping[str, Alert], after: list[Alert], now_ns: int
    ) -> None:
        kept = []
        with self._desk.transaction() as change:
            silences = all_of(change)
            burning = {(a.name, a.role) for a in after if a.standing.state.burning}
            for name, role, evidence in books.restarted:
                self._restarted(change, after, (name, role, evidence), now_ns)
            for one in after:
                old = before.get(one.fingerprint)
                was = State.INACTIVE if old is None else old.standing.state
                alert = self._told(change, _muted(one, burning, silences, now_ns), now_ns)
                if alert.standing.state is not was:
                    reason = alert.annotations.get("summary", "") or "the condition changed"
                    ledger.moved(change, alert, was=was, now_ns=now_ns, reason=reason)
                if alert != old and not (old is None and alert.standing.state is State.INACTIVE):
                    ledger.write(change, replace(alert, seen_ns=now_ns))
                kept.append(alert)
            books.save(change)
        books.saved()
        self.seen = Seen(
            alerts=tuple(a for a in kept if a.standing.state is not State.INACTIVE),
            evidence={key: each.evidence for key, each in books.every().items()},
            ticks=self.seen.ticks + 1,
        )

    def _told(self, change: Transaction, alert: Alert, now_ns: int) -> Alert:
        """Put what began and what ended into the outbox, once each, muted or not.

        Whether a sink speaks of it is decided when it is sent, by ``muted``.
        """
        state = alert.standing.state
        if state.burning and not alert.told:
            event = alert.event("firing", at_ns=now_ns, reason="it began to fire")
            self._enqueue(change, event)
            return replace(alert, told=True)
        if alert.told and not state.burning:
            event = alert.event("resolved", at_ns=now_ns, reason="its condition is over")
            self._enqueue(change, event)
            return replace(alert, told=False)
        return alert

    def _restarted(
        self,
        change: Transaction,
        after: Iterable[Alert],
        what: tuple[str, str | None, float],
        now_ns: int,
    ) -> None:
        name, role, evidence = what
        for alert in after:
            if (alert.name, alert.role) == (name, role):
                reason = f"the terms changed: evidence {evidence:.4g} starts again from 0"
                state = alert.standing.state
                ledger.moved(change, alert, was=state, now_ns=now_ns, reason=reason)


def _cut(sightings: Iterable[Sighting]) -> Iterator[Sighting]:
    """Yield sightings, of each alert at most so many: labels from outside must not flood us."""
    counts: Counter[str] = Counter()
    for sighting in sightings:
        counts[sighting.name] += 1
        if counts[sighting.name] <= INSTANCES_MAX:
            yield sighting
        elif counts[sighting.name] == INSTANCES_MAX + 1:
            log.warning("more than %d of %s; the rest is left out", INSTANCES_MAX, sighting.name)


def _unseen(alert: Alert, looked: bool, now_ns: int, passed_ns: int) -> Alert:
    """Move on an alert that no rule mentioned: its thing is gone, or nobody could look."""
    patience = Patience(keep_ns=RULES[alert.name].patience.keep_ns if alert.name in RULES else 0)
    look = Look(holds=False if looked else None)
    standing = advance(alert.standing, look, patience=patience, now_ns=now_ns, passed_ns=passed_ns)
    return replace(alert, standing=standing)


def _muted(
    alert: Alert,
    burning: set[tuple[str, str | None]],
    silences: Iterable[Silence],
    now_ns: int,
) -> Alert:
    if not alert.standing.state.burning:
        return alert if alert.muted is None else replace(alert, muted=None)
    inhibitor = _inhibitor(alert, burning)
    if inhibitor is not None:
        return replace(alert, muted=INHIBITION + inhibitor)
    silence = muting(silences, alert.labels, now_ns)
    muted = None if silence is None else f"silence {silence}"
    return alert if muted == alert.muted else replace(alert, muted=muted)


def _inhibitor(alert: Alert, burning: set[tuple[str, str | None]]) -> str | None:
    """Return what says more than ``alert`` does: its cause, or the role behind an overall one."""
    names = INHIBITED.get(alert.name, ())
    found = next((name for name in names if (name, alert.role) in burning), None)
    if found is None and alert.role is None and names:
        own = (*names, alert.name)
        found = next((f"{n} of {role}" for n, role in burning if n in own and role), None)
    return found


def _explains(alert: Alert, overall: Alert) -> bool:
    same = overall.name == alert.name and overall.role is None and alert.role is not None
    return same and overall.standing.state.burning and overall.muted is not None
