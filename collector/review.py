"""What people decide about revisions: propose, approve, reject, activate, roll back."""

from typing import Any

from collector import holds, revision_book
from collector.answers import Answer, Ask
from collector.auditlog import Deed
from collector.changes import Changes
from collector.desk import Transaction
from collector.fitting import present, refuse_unfit
from collector.holds import Hold
from collector.preview import Impact, impact
from collector.proposals import successor
from collector.recent_steps import STEPS_DEFAULT, recent_steps
from collector.refusals import Refusal
from collector.revision_book import DECLARED, OPEN, Record, Status
from collector.revisions import content, moved_cells, role_of
from collector.store import Store
from learning.revision import Revision


class Review:
    """The desk where revisions are decided on; safe to use from any thread."""

    def __init__(self, changes: Changes, store: Store) -> None:
        self._changes = changes
        self._revisions = changes.revisions
        self._store = store

    def propose(self, ask: Ask, revision: Revision, *, reason: str) -> Answer:
        """Put a person's revision into the queue.

        Raises:
            Refusal: it does not follow on what is in force, or does not fit the policy.
        """

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            record = revision_book.find(change, revision.revision_id)
            if record is None:
                self._refuse_unfit(revision)
                self._revisions.refuse_stale(change, revision)
                record = revision_book.add(change, revision, deed, trigger="person", note={})
            return {"revision": record.id, "status": record.status.value}

        return self._changes.make(ask, do, reason=reason)

    def shadow(self, ask: Ask, revision_id: str, *, reason: str | None) -> Answer:
        """Compare a proposal with live decisions from now on without serving it."""

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            record = revision_book.known(change, revision_id)
            self._revisions.refuse_other_policy(record.revision)
            revision_book.move(change, record, deed, to=Status.SHADOW, action="shadow")
            return {"revision": revision_id, "status": Status.SHADOW.value}

        return self._changes.make(ask, do, reason=reason)

    def reject(self, ask: Ask, revision_id: str, *, reason: str) -> Answer:
        """Take a proposal out of the queue for good."""

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            record = revision_book.known(change, revision_id)
            revision_book.move(change, record, deed, to=Status.REJECTED, action="reject")
            return {"revision": revision_id, "status": Status.REJECTED.value}

        return self._changes.make(ask, do, reason=reason)

    def approve(
        self, ask: Ask, revision_id: str, *, override: str | None, rollout: float | None
    ) -> Answer:
        """Put a proposal in force.

        Raises:
            Refusal: its base is stale, or the preview objects and nobody says why to override.
        """
        record, later = self._read(revision_id)
        try:
            earlier = self._changes.earlier(ask)
        except Refusal:
            refuse_closed(record, later=later)  # that says more than a stale base does
            raise
        if earlier is not None:
            return earlier
        refuse_closed(record, later=later)
        looked = self._refuse_blocked(record.revision, override)

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            proposed = revision_book.known(change, revision_id)
            refuse_closed(proposed)
            self._revisions.refuse_stale(change, proposed.revision)
            self._enforce(change, proposed, deed, "approve", looked=looked, rollout=rollout)
            return {"revision": revision_id, "status": Status.ACTIVE.value}

        return self._changes.make(ask, do, reason=override)

    def activate(
        self, ask: Ask, revision: Revision, *, override: str | None, rollout: float | None
    ) -> Answer:
        """Put any revision in force: one that was in force before, a proposal, or a file's.

        Raises:
            Refusal: it was made under another policy, was rejected, or was never served and the
                preview objects and nobody says why to override.
        """
        earlier = self._changes.earlier(ask)
        if earlier is not None:
            return earlier
        self._refuse_unfit(revision)
        known = self._find(revision.revision_id)
        proven = known is not None and known.served_ns is not None
        looked = None if proven else self._refuse_blocked(revision, override)

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            record = revision_book.find(change, revision.revision_id)
            if record is None:
                record = revision_book.add(change, revision, deed, trigger="file", note={})
            stands = revision_book.standing(change)
            share = self._revisions.rollout() if rollout is None else rollout
            if stands.revision == record.id and stands.rollout == share:
                return {"revision": record.id, "status": Status.ACTIVE.value, "unchanged": True}
            self._revisions.refuse_other_policy(record.revision)
            if record.status in OPEN:
                self._revisions.refuse_stale(change, record.revision)
            self._enforce(change, record, deed, "activate", looked=looked, rollout=rollout)
            return {"revision": record.id, "status": Status.ACTIVE.value}

        return self._changes.make(ask, do, reason=override)

    def rollback(self, ask: Ask, *, to: str | None, reason: str) -> Answer:
        """Go back to the active revision's parent, or to ``to``, and freeze the roles concerned.

        Frozen, because the learner would walk straight back. It never waits for a preview.

        Raises:
            Refusal: nothing is to be taken back, or the target was never in force.
        """

        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            stands = revision_book.standing(change)
            active = content(change, stands.revision)
            if active is None:
                raise Refusal(
                    "wrong_status",
                    "the declared policy is in force: nothing to undo",
                    hint="`tierwise policy list` shows the others; `activate` takes one",
                )
            name = to or active.parent or DECLARED
            target = None if name == DECLARED else revision_book.known(change, name)
            if target is not None:
                _refuse_unserved(target)
                self._revisions.refuse_other_policy(target.revision)
            revision_book.put_in_force(change, target, deed, action="rollback", rollout=1.0)
            back = None if target is None else target.revision
            frozen = sorted({role_of(cell) for cell in moved_cells(active, back)})
            for role in frozen:
                _freeze_after(change, role, deed, undone=active.revision_id)
            return {"revision": name, "undone": active.revision_id, "frozen": frozen}

        return self._changes.make(ask, do, reason=reason)

    def preview(self, revision: Revision | None, *, steps: int = STEPS_DEFAULT) -> Impact:
        """Replay recent decisions under ``revision`` against what is in force now.

        A shadow revision is compared with the decisions since it became one.

        Raises:
            Refusal: the collector knows no policy.
        """
        terms = present(self._revisions.terms())
        known = None if revision is None else self._find(revision.revision_id)
        shadow = known is not None and known.status is Status.SHADOW
        since_ns = known.status_ns if shadow and known is not None else 0
        recent = recent_steps(self._store, terms, limit=steps, since_ns=since_ns)
        return impact(revision, self._revisions.active().standing.revision, recent, terms)

    def _refuse_blocked(self, revision: Revision, override: str | None) -> Impact:
        looked = self.preview(revision)
        if looked.blocked and not override:
            raise Refusal(
                "inconclusive",
                f"the preview objects: {'; '.join(looked.blocked[:5])}",
                hint="wait for evidence, or say why it should be served nevertheless (override)",
            )
        return looked

    def _enforce(
        self, change: Transaction, record: Record, deed: Deed, action: str, *,
        looked: Impact | None, rollout: float | None,
    ) -> None:  # fmt: skip
        base = revision_book.standing(change).name
        if looked is not None and looked.base != base:
            raise Refusal(
                "stale_base",
                f"{base} came in force while the preview was made",
                hint="look at the present difference and decide again",
            )
        revision_book.put_in_force(
            change,
            record,
            deed,
            action=action,
            rollout=self._revisions.rollout() if rollout is None else rollout,
            overridden=() if looked is None else looked.blocked,
        )

    def _refuse_unfit(self, revision: Revision) -> None:
        self._revisions.refuse_other_policy(revision)
        refuse_unfit(revision, present(self._revisions.terms()))

    def _find(self, revision_id: str) -> Record | None:
        with self._revisions.desk.transaction() as change:
            return revision_book.find(change, revision_id)

    def _read(self, revision_id: str) -> tuple[Record, str | None]:
        """Return a revision, and the name under which it waits if it was rebased."""
        with self._revisions.desk.transaction() as change:
            record = revision_book.known(change, revision_id)
            return record, successor(change, record)


def refuse_closed(record: Record, *, later: str | None = None) -> None:
    """Raise ``Refusal`` for a revision that waits for nobody any more; it says why it does not.

    ``later`` is the name under which it waits by now, if it was rebased.
    """
    if record.status not in OPEN:
        because = f" ({record.reason})" if record.reason else ""
        activates = "`tierwise policy activate` puts a former revision in force again"
        raise Refusal(
            "wrong_status",
            f"revision {record.id} is {record.status.value}{because}: there is nothing to approve",
            hint=activates if later is None else f"{later} moves the same cells: approve that",
        )


def _refuse_unserved(record: Record) -> None:
    if record.served_ns is None or record.status is Status.ACTIVE:
        raise Refusal(
            "wrong_status",
            f"revision {record.id} is {record.status.value}: one can go back only to what was "
            "in force before",
            hint="`--to declared` goes back to the declared policy",
        )


def _freeze_after(change: Transaction, role: str, deed: Deed, *, undone: str) -> None:
    if holds.find(change, "freeze", role) is None:
        hold = Hold(
            kind="freeze",
            role=role,
            arm=None,
            owner=deed.actor,
            reason=f"rolled back {undone}: {deed.reason}",
            since_ns=deed.at_ns,
            until_ns=None,
        )
        holds.put(change, hold, deed)
