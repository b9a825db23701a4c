"""The learner's place in the reviewers' queue: what waits there, and how it follows what changes.

A revision that comes into force while a proposal waits takes its base away. Where it touched no
role that the proposal moves, the proposal is *rebased*: the same cells, moved the same way, on what
is in force by now. That is another content and so another name; the former one says where it went.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from collector import proposals, revision_book
from collector.auditlog import Deed
from collector.desk import Desk, Transaction
from collector.learner_state import drop_fact, fact, set_fact
from collector.meters import Meters
from collector.planning import Plan
from collector.proposals import FIRST, SINCE, Moment
from collector.revision_book import LEARNER, Record, Status
from collector.revisions import content, left_queue, moved_cells, role_of
from learning.revision import Revision, parse

PROPOSED: Final = "learner.proposed"

log = logging.getLogger("tierwise.collector")


class Queue:
    """Keeps the learner's proposal fit to be approved; called from the learner's thread."""

    def __init__(self, desk: Desk, meters: Meters) -> None:
        self._desk = desk
        self._meters = meters

    def follow(self, at: Moment) -> dict[str, str]:
        """Rebase what waits on what is in force; return the names that changed, with a status."""
        with self._desk.transaction() as change:
            waits = proposals.waiting(change)
            after = None if waits is None else _rebase(change, waits, at)
            if waits is None or after is None:
                return {}
            set_fact(change, PROPOSED, after.revision.text)
        self._meters.learner_revisions.labels("rebased").inc()
        log.info("proposal %s lives on as %s, on %s", waits.id, after.id, at.active)
        return {waits.id: "rebased", after.id: after.status.value}

    def kept(
        self, plans: Sequence[Plan], *, news: Revision | None, at: Moment
    ) -> tuple[Record | None, dict[str, str]]:
        """Return what still waits after rebasing, withdrawn if it should not be approved by now.

        ``news`` is what would be proposed now.
        """
        statuses = self.follow(at)
        with self._desk.transaction() as change:
            waits = proposals.waiting(change)
        why = None if waits is None else proposals.outdated(waits, plans, news=news, at=at)
        if waits is None or why is None:
            return waits, statuses
        with self._desk.transaction() as change:
            proposals.withdraw(change, waits, reason=why, now_ns=at.now_ns)
            drop_fact(change, PROPOSED)
        self._meters.learner_revisions.labels("withdrawn").inc()
        log.warning("proposal %s is withdrawn: %s", waits.id, why)
        return None, statuses | {waits.id: "withdrawn"}

    def is_news(
        self, proposal: Revision, plans: Sequence[Plan], *, waits: Record | None, at: Moment
    ) -> bool:
        """Say whether a proposal is to be made beside the last one, which may still wait."""
        text = fact(self._desk, PROPOSED) if waits is None else waits.revision.text
        before = None if text is None else parse(text)
        if before is None or not self._comparable(before, proposal):
            return True
        rested = waits is None or proposals.rested(waits, now_ns=at.now_ns)
        return proposals.differs(before, plans, rested=rested)

    def made(self, proposal: Revision) -> None:
        """Remember what was proposed last."""
        with self._desk.transaction() as change:
            set_fact(change, PROPOSED, proposal.text)

    def _comparable(self, before: Revision, proposal: Revision) -> bool:
        """Whether two proposals move the same thing: on one base, or on one that leaves it be."""
        if before.policy_hash != proposal.policy_hash or before.parent == proposal.parent:
            return before.policy_hash == proposal.policy_hash
        with self._desk.transaction() as change:
            return _moved_on(change, before, onto=proposal.parent) is not None


def _rebase(change: Transaction, waits: Record, at: Moment) -> Record | None:
    """Put the same moves on what is in force into the place of ``waits``; None where that fails."""
    stands = revision_book.standing(change)
    if waits.revision.parent == stands.revision or waits.revision.policy_hash != at.policy_hash:
        return None
    revision = _moved_on(change, waits.revision, onto=stands.revision)
    if revision is None:
        return None
    known = revision_book.find(change, revision.revision_id)
    if known is not None and not left_queue(known):
        return None  # people have decided on just that before
    deed = Deed(actor=LEARNER, at_ns=at.now_ns, reason=f"rebased on {stands.name}")
    gone = replace(deed, reason=f"it lives on as {revision.revision_id}, on {stands.name}")
    revision_book.move(change, waits, gone, to=Status.SUPERSEDED, action="rebase")
    if known is None:
        note = {**waits.note, FIRST: proposals.first(waits), SINCE: proposals.since_ns(waits)}
        return revision_book.add(change, revision, deed, trigger=waits.trigger, note=note)
    revision_book.move(change, known, deed, to=Status.PROPOSED, action="propose")
    return revision_book.known(change, known.id)


def _moved_on(change: Transaction, proposal: Revision, *, onto: str | None) -> Revision | None:
    """Return the moves of ``proposal`` on another base; None if that touches a role of theirs.

    Roles, not cells: what one cell of a role leaves open another one decides.
    """
    parent = None if proposal.parent is None else revision_book.find(change, proposal.parent)
    if parent is None and proposal.parent is not None:
        return None  # forgotten
    before = None if parent is None else parent.revision
    base = content(change, onto)
    own = moved_cells(before, proposal)
    if {role_of(cell) for cell in own} & {role_of(cell) for cell in moved_cells(before, base)}:
        return None
    kept = {} if base is None else base.shares
    shares = {cell: mix for cell, mix in kept.items() if cell not in own}
    shares |= {cell: proposal.shares[cell] for cell in own if cell in proposal.shares}
    return Revision(
        policy_hash=proposal.policy_hash, parent=onto, shares=shares, evidence=proposal.evidence
    )
