"""The book of revisions: rows of the desk and how their status may move, within a transaction.

A revision's content never changes; what becomes of it does. At most one is active, and the row
of ``standing`` names it, so both change in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from collector.auditlog import Deed, append
from collector.desk import Row, Transaction
from collector.refusals import Refusal
from learning.revision import Revision
from learning.revision import parse as parse_revision

DECLARED: Final = "declared"  # what the absence of a revision is called
LEARNER: Final = "learner"


class Status(StrEnum):
    """What became of a revision."""

    PROPOSED = "proposed"  # waits for a person
    SHADOW = "shadow"  # compared with live decisions, never served
    ACTIVE = "active"
    SUPERSEDED = "superseded"  # a later one took its place, in force or in the queue
    REJECTED = "rejected"
    ROLLED_BACK = "rolled back"


OPEN: Final = frozenset({Status.PROPOSED, Status.SHADOW})
SERVED: Final = frozenset({Status.SUPERSEDED, Status.ROLLED_BACK})
MOVES: Final[Mapping[Status, frozenset[Status]]] = {
    Status.PROPOSED: frozenset({Status.SHADOW, Status.ACTIVE, Status.SUPERSEDED, Status.REJECTED}),
    Status.SHADOW: frozenset({Status.ACTIVE, Status.SUPERSEDED, Status.REJECTED}),
    Status.ACTIVE: frozenset({Status.SUPERSEDED, Status.ROLLED_BACK}),
    Status.SUPERSEDED: frozenset({Status.ACTIVE, Status.PROPOSED}),
    Status.ROLLED_BACK: frozenset({Status.ACTIVE}),
    Status.REJECTED: frozenset(),
}

_INSERT: Final = """
INSERT INTO revisions
  (id, parent, policy_hash, text, created_ns, author, trigger_name, note, status, status_ns,
   status_by)
VALUES
  ($id, $parent, $policy_hash, $text, $at, $author, $trigger, $note, 'proposed', $at, $author)
"""
_MOVE: Final = """
UPDATE revisions SET status = $status, status_ns = $at, status_by = $by, reason = $reason,
  served_ns = CASE WHEN $status = 'active' THEN $at ELSE served_ns END
WHERE id = $id AND status = $was
"""
_FIND: Final = "SELECT * FROM revisions WHERE id = $id"
_STANDING: Final = "SELECT * FROM standing"
_STAND: Final = """
UPDATE standing SET revision = $revision, previous = $previous, rollout = $rollout,
  activated_ns = $at
"""
_PAGE: Final = """
SELECT * FROM revisions
WHERE number < $before AND ($status IS NULL OR status = $status)
ORDER BY number DESC LIMIT $limit
"""
_OPEN_OF: Final = """
SELECT * FROM revisions WHERE author = $author AND status = 'proposed' ORDER BY number
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A revision and what became of it; ``number`` counts them in order of arrival."""

    number: int
    revision: Revision
    created_ns: int
    author: str
    trigger: str
    note: Mapping[str, Any]
    status: Status
    status_ns: int
    status_by: str  # who moved it to its status
    reason: str | None  # and why
    served_ns: int | None  # when it was last put in force, None if it never was

    @property
    def id(self) -> str:
        return self.revision.revision_id

    def plain(self) -> dict[str, Any]:
        """Return JSON values, without the content."""
        return {
            "number": self.number,
            "id": self.id,
            "parent": self.revision.parent or DECLARED,
            "policy_hash": self.revision.policy_hash,
            "created_ns": self.created_ns,
            "author": self.author,
            "trigger": self.trigger,
            "note": dict(self.note),
            "status": self.status.value,
            "status_ns": self.status_ns,
            "status_by": self.status_by,
            "reason": self.reason,
            "served_ns": self.served_ns,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """Which revision is in force, by name; None is the declared policy."""

    revision: str | None
    previous: str | None
    rollout: float
    activated_ns: int | None

    @property
    def name(self) -> str:
        return self.revision or DECLARED


def standing(change: Transaction) -> Stand:
    """Return what is in force."""
    row = change.row(_STANDING)
    assert row is not None, "the migration writes the row"
    return Stand(
        revision=row["revision"],
        previous=row["previous"],
        rollout=row["rollout"],
        activated_ns=row["activated_ns"],
    )


def find(change: Transaction, revision_id: str) -> Record | None:
    """Return one revision, or None."""
    row = change.row(_FIND, {"id": revision_id})
    return None if row is None else record_of(row)


def known(change: Transaction, revision_id: str) -> Record:
    """Return one revision.

    Raises:
        Refusal: there is none of that name.
    """
    found = find(change, revision_id)
    if found is None:
        raise Refusal(
            "unknown_revision",
            f"no revision {revision_id[:100]!r}",
            hint="`tierwise policy list` shows them",
        )
    return found


def page(
    change: Transaction, *, limit: int, status: str | None = None, before: int | None = None
) -> list[Record]:
    """Return up to ``limit`` revisions, newest first, from before the number ``before``."""
    bound = {
        "limit": limit,
        "status": status,
        "before": 2**63 - 1 if before is None else before,
    }
    return [record_of(row) for row in change.rows(_PAGE, bound)]


def open_of(change: Transaction, author: str) -> list[Record]:
    """Return the proposals of ``author`` that nobody has decided on."""
    return [record_of(row) for row in change.rows(_OPEN_OF, {"author": author})]


def add(
    change: Transaction,
    revision: Revision,
    deed: Deed,
    *,
    trigger: str,
    note: Mapping[str, Any],
) -> Record:
    """Write a revision down as proposed by the deed's actor, and in the audit log."""
    change.run(
        _INSERT,
        {
            "id": revision.revision_id,
            "parent": revision.parent,
            "policy_hash": revision.policy_hash,
            "text": revision.text,
            "at": deed.at_ns,
            "author": deed.actor,
            "trigger": trigger,
            "note": json.dumps(dict(note), sort_keys=True, allow_nan=False),
        },
    )
    after = {"parent": revision.parent or DECLARED, "trigger": trigger}
    append(change, deed, action="propose", subject=revision.revision_id, before=None, after=after)
    return known(change, revision.revision_id)


def move(change: Transaction, record: Record, deed: Deed, *, to: Status, action: str) -> None:
    """Give a revision another status, and write it in the audit log as ``action``.

    Raises:
        Refusal: its status does not allow that.
    """
    _move(change, record, deed, to=to)
    append(
        change, deed, action=action, subject=record.id,
        before={"status": record.status}, after={"status": to},
    )  # fmt: skip


def put_in_force(
    change: Transaction,
    record: Record | None,
    deed: Deed,
    *,
    action: str,
    rollout: float,
    overridden: Sequence[str] = (),
) -> None:
    """Let ``record`` (None: the declared policy) stand; what stood before is over.

    It was superseded, or rolled back if that is the ``action``. ``overridden`` are the preview's
    objections, for the audit log.

    Raises:
        Refusal: a status does not allow that.
    """
    former = Status.ROLLED_BACK if action == "rollback" else Status.SUPERSEDED
    stood = standing(change)
    target = None if record is None else record.id
    if stood.revision is not None and stood.revision != target:
        _move(change, known(change, stood.revision), deed, to=former)
    if record is not None and stood.revision != target:
        _move(change, record, deed, to=Status.ACTIVE)
    previous = stood.previous if stood.revision == target else stood.revision
    stands = {
        "revision": target,
        "previous": previous if rollout < 1.0 else None,
        "rollout": rollout,
        "at": deed.at_ns,
    }
    change.run(_STAND, stands)
    after = {"active": target or DECLARED, "rollout": rollout, "overridden": list(overridden)}
    append(
        change, deed, action=action, subject=target or DECLARED,
        before={"active": stood.name, "rollout": stood.rollout}, after=after,
    )  # fmt: skip


def _move(change: Transaction, record: Record, deed: Deed, *, to: Status) -> None:
    may = sorted(MOVES[record.status])
    if to not in may:
        raise Refusal(
            "wrong_status",
            f"revision {record.id} is {record.status.value}, so it cannot become {to.value}",
            hint=f"it can become {', '.join(may)}" if may else "propose a new one instead",
        )
    bound = {"status": to, "at": deed.at_ns, "by": deed.actor, "reason": deed.reason}
    moved = change.run(_MOVE, bound | {"id": record.id, "was": record.status})
    assert moved == 1, "the record was read in this transaction"


def record_of(row: Row) -> Record:
    """Return a row of the table as a record."""
    return Record(
        number=row["number"],
        revision=parse_revision(row["text"]),
        created_ns=row["created_ns"],
        author=row["author"],
        trigger=row["trigger_name"],
        note=json.loads(row["note"]),
        status=Status(row["status"]),
        status_ns=row["status_ns"],
        status_by=row["status_by"],
        reason=row["reason"],
        served_ns=row["served_ns"],
    )
