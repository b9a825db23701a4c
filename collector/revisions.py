"""The revision in force: what gateways are told, and what the learner hands in.

People's decisions come through ``collector.review``; both write the same book, in one transaction
each, and wake whoever waits for news.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from collector import holds, revision_book
from collector.alerts.raised import raised_roles
from collector.auditlog import Deed
from collector.desk import Desk, Transaction
from collector.refusals import Refusal
from collector.revision_book import DECLARED, LEARNER, OPEN, Record, Status
from learning.revision import Revision
from learning.standing import Standing
from telemetry.clock import Clock
from telemetry.terms import Terms

WAITERS_MAX: Final = 1_024  # long polls at a time; one more is answered at once
KEPT_MAX: Final = 5_000  # revisions that are over; the oldest beyond that are forgotten

_FORGET: Final = """
DELETE FROM revisions
WHERE status IN ('superseded', 'rejected', 'rolled back')
  AND number <= (SELECT max(number) FROM revisions) - $kept
  AND id NOT IN (SELECT previous FROM standing WHERE previous IS NOT NULL)
  AND id NOT IN (SELECT parent FROM revisions WHERE status IN ('active', 'proposed', 'shadow')
    AND parent IS NOT NULL)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Active:
    """What is in force at one moment.

    ``activated_ns`` is when the revision was put in force, None while nothing ever was.
    ``frozen`` names the roles that no learned move may touch; "*" stands for all.
    """

    standing: Standing
    activated_ns: int | None
    frozen: frozenset[str]

    @property
    def name(self) -> str:
        """The revision's id, or `declared`."""
        revision = self.standing.revision
        return DECLARED if revision is None else revision.revision_id


class Revisions:
    """The book of revisions on the desk; safe to use from any thread."""

    def __init__(
        self, desk: Desk, clock: Clock, *, terms: Callable[[], Terms | None] = lambda: None
    ) -> None:
        """Open the book. ``terms`` gives the policy's present terms, None while unknown."""
        self.desk = desk
        self.clock = clock
        self.terms = terms
        self._changed = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._known: tuple[int, int | None, Active] | None = None  # from, until, what
        self._generation = 0  # counts changes, so that none is overwritten by what was before
        self._closed = False

    def active(self) -> Active:
        """Return what is in force now; expired pins and freezes have no part in it."""
        now_ns = self.clock.now_ns()
        with self._changed:
            known, generation = self._known, self._generation
        if known is not None:
            since, until, found = known
            if since <= now_ns and (until is None or now_ns < until):
                return found
        # The desk is read outside the lock: whoever holds the desk may want to wake others.
        with self.desk.transaction() as change:
            found, until = active_in(change, now_ns)
        with self._changed:
            if generation == self._generation:
                self._known = (now_ns, until, found)
        return found

    def submit(
        self,
        revision: Revision,
        *,
        author: str,
        trigger: str,
        now_ns: int,
        activate: bool,
        note: Mapping[str, Any],
    ) -> str:
        """Write ``revision`` down; put it in force or into the queue, and return its status.

        "active" when ``activate`` and no freeze forbids the move, else "proposed"; in the queue it
        supersedes an earlier open proposal of the learner. The same revision once more changes
        nothing and returns what has become of it since; one of the learner's that left the queue
        unserved comes back into it.

        Raises:
            Refusal: it was derived under another policy, or its parent is not in force (any more):
                somebody was faster, and the next tick starts from what they decided.
        """
        with self.desk.transaction() as change:
            known = revision_book.find(change, revision.revision_id)
            again = known is not None and author == LEARNER and not activate and left_queue(known)
            if known is not None and not again and not (activate and known.status in OPEN):
                return known.status.value
            self.refuse_stale(change, revision)
            deed = Deed(actor=author, at_ns=now_ns, reason=trigger)
            serves = activate and not frozen_moves(
                change, revision, terms=self.terms(), now_ns=now_ns
            )
            if author == LEARNER and not serves and (known is None or again):
                _supersede_open(change, author, now_ns=now_ns)
            if known is None:
                known = revision_book.add(change, revision, deed, trigger=trigger, note=note)
            elif again:
                revision_book.move(change, known, deed, to=Status.PROPOSED, action="propose")
                known = revision_book.known(change, known.id)
            if serves:
                revision_book.put_in_force(
                    change, known, deed, action="activate", rollout=self.rollout()
                )
                status = Status.ACTIVE
            else:
                status = known.status
        self.wake()
        return status.value

    def rollout(self) -> float:
        """Return the share of sessions (0..1) that a new revision gets by the policy."""
        terms = self.terms()
        return 1.0 if terms is None else terms.learning.rollout

    def refuse_stale(self, change: Transaction, revision: Revision) -> None:
        """Return if ``revision`` follows on what is in force, under the present policy.

        Raises:
            Refusal: it does not.
        """
        self.refuse_other_policy(revision)
        stands = revision_book.standing(change)
        if revision.parent != stands.revision:
            raise Refusal(
                "stale_base",
                f"revision {revision.revision_id} follows on {revision.parent or DECLARED}, but "
                f"{stands.name} is in force",
                hint="look at the present difference and decide again",
            )

    def refuse_other_policy(self, revision: Revision) -> None:
        """Return if ``revision`` was made under the present policy, or none is known.

        Raises:
            Refusal: it was made under another.
        """
        terms = self.terms()
        if terms is not None and terms.policy_hash != revision.policy_hash:
            raise Refusal(
                "stale_policy",
                f"revision {revision.revision_id} was made under policy "
                f"{revision.policy_hash[:12]}, but the present one is {terms.policy_hash[:12]}",
                hint="wait for the learner's next one, or go back to the declared policy",
            )

    def sweep(self, now_ns: int) -> None:
        """End the holds whose time is over and forget revisions of long ago."""
        with self.desk.transaction() as change:
            over = holds.drop_expired(change, now_ns)
            change.run(_FORGET, {"kept": KEPT_MAX})
        if over:
            self.wake()

    # Telling those who wait ----------------------------------------------------------------

    def wake(self) -> None:
        """Tell whoever waits that something may have changed."""
        with self._changed:
            self._known = None
            self._generation += 1
            self._changed.notify_all()
            for loop, event in self._waiting:
                with suppress(RuntimeError):  # a loop that has ended waits for nothing
                    loop.call_soon_threadsafe(event.set)

    def wait(self, etag: str, *, seconds: float) -> Active:
        """Return what is in force once its entity tag is not ``etag``, or after ``seconds``."""
        ends = self.clock.monotonic() + seconds
        while True:
            with self._changed:
                generation = self._generation
            found = self.active()
            left = min(ends - self.clock.monotonic(), self._seconds_left())
            if found.standing.etag != etag or self._closed or left <= 0:
                return found
            with self._changed:
                self._changed.wait_for(partial(self._past, generation), timeout=left)

    def _past(self, generation: int) -> bool:
        return self._generation != generation

    async def wait_async(self, etag: str, *, seconds: float) -> Active:
        """Do what ``wait`` does, without a thread of its own."""
        ends = self.clock.monotonic() + seconds
        place = (asyncio.get_running_loop(), asyncio.Event())
        with self._changed:
            full = len(self._waiting) >= WAITERS_MAX
            if not full:
                self._waiting.add(place)
        try:
            while True:
                place[1].clear()
                found = await asyncio.to_thread(self.active)
                left = min(ends - self.clock.monotonic(), self._seconds_left())
                if full or self._closed or found.standing.etag != etag or left <= 0:
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(place[1].wait(), left)
        finally:
            with self._changed:
                self._waiting.discard(place)

    def close(self) -> None:
        """Answer everybody who waits, now and from now on at once."""
        self._closed = True
        self.wake()

    def _seconds_left(self) -> float:
        """Return after how many seconds a hold ends, so that what is in force changes by itself."""
        known = self._known
        if known is None or known[1] is None:
            return float("inf")
        return max((known[1] - self.clock.now_ns()) / 1e9, 0.001)


def active_in(change: Transaction, now_ns: int) -> tuple[Active, int | None]:
    """Return what is in force at ``now_ns`` and when, at the latest, that changes by itself."""
    stands = revision_book.standing(change)
    held = holds.holds(change)
    found = Active(
        standing=Standing(
            revision=content(change, stands.revision),
            previous=content(change, stands.previous),
            rollout=stands.rollout,
            pins=holds.pins_at(held, now_ns),
            graded=raised_roles(change),
        ),
        activated_ns=stands.activated_ns,
        frozen=holds.frozen_at(held, now_ns),
    )
    ends = [one.until_ns for one in held if one.until_ns is not None and one.holds_at(now_ns)]
    return found, min(ends, default=None)


def content(change: Transaction, revision_id: str | None) -> Revision | None:
    """Return a revision's content; None is the declared policy's."""
    return None if revision_id is None else revision_book.known(change, revision_id).revision


def role_of(cell: str) -> str:
    """Return the role of a cell, `role|mode|kind` or the role alone.

    >>> role_of("worker|chain|json"), role_of("worker")
    ('worker', 'worker')
    """
    return cell.partition("|")[0]


def moved_cells(before: Revision | None, after: Revision | None) -> list[str]:
    """Return the cells whose shares differ between two revisions, None being the declared one."""
    old = {} if before is None else before.shares
    new = {} if after is None else after.shares
    return sorted(cell for cell in {*old, *new} if _shares(old, cell) != _shares(new, cell))


def _shares(shares: Mapping[str, Mapping[str, float]], cell: str) -> dict[str, float]:
    return {arm: share for arm, share in shares.get(cell, {}).items() if share > 0.0}


def frozen_moves(
    change: Transaction, revision: Revision, *, terms: Terms | None, now_ns: int
) -> list[str]:
    """Return the cells of frozen roles that ``revision`` would move, those left out that fall back.

    Falling back to the declared arm is never forbidden: people wrote the declared table.
    """
    frozen = holds.frozen_at(holds.holds(change), now_ns)
    if not frozen:
        return []
    before = content(change, revision_book.standing(change).revision)
    return [
        cell
        for cell in moved_cells(before, revision)
        if (holds.EVERY_ROLE in frozen or role_of(cell) in frozen)
        and not falls_back(_shares(revision.shares, cell), cell, terms)
    ]


def falls_back(shares: Mapping[str, float], cell: str, terms: Terms | None) -> bool:
    """Say whether a cell with these shares does what the declared table says."""
    if not shares:
        return True
    role, _, rest = cell.partition("|")
    declared = None if terms is None else terms.of(role, rest.partition("|")[0] or None)
    return declared is not None and shares.get(str(declared.declared), 0.0) == 1.0


def left_queue(record: Record) -> bool:
    """Whether it was withdrawn, or gave way to another, before it was ever in force."""
    return record.status is Status.SUPERSEDED and record.served_ns is None


def _supersede_open(change: Transaction, author: str, *, now_ns: int) -> None:
    deed = Deed(actor=author, at_ns=now_ns, reason="a later proposal took its place")
    for record in revision_book.open_of(change, author):
        revision_book.move(change, record, deed, to=Status.SUPERSEDED, action="supersede")
