"""What moved the policy, read off the audit log and put into the outbox as changes.

The log is written in the transaction of what it tells, and the cursor into it in the transaction of
what is put out, so every move is told once whenever the process is killed.
"""

from typing import Final

from collector.desk import Desk, Row, Transaction
from collector.outbox import enqueue_change

# Moves of what is in force; proposals and rejections change nothing.
MOVES: Final = {
    "activate": "is in force",
    "approve": "was approved and is in force",
    "rollback": "is in force again after a rollback",
    "pin": "was pinned",
    "unpin": "is pinned no more",
    "freeze": "was frozen",
    "thaw": "is frozen no more",
}
ROWS_MAX: Final = 200  # of one look
_FACT: Final = "audit log told of up to"
_NEW: Final = "SELECT * FROM audit_log WHERE sequence > $after ORDER BY sequence LIMIT $limit"


class PolicyNews:
    """Remembers on the desk how far it read."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def look(self) -> int:
        """Put moves that are new into the outbox; return how many. History is not told."""
        with self._desk.transaction() as change:
            row = change.row("SELECT value FROM facts WHERE name = $name", {"name": _FACT})
            if row is None:
                newest = change.row("SELECT coalesce(max(sequence), 0) AS n FROM audit_log")
                _keep(change, int(newest["n"]) if newest else 0)
                return 0
            rows = change.rows(_NEW, {"after": int(row["value"]), "limit": ROWS_MAX})
            told = [row for row in rows if row["action"] in MOVES]
            for move in told:
                _tell(change, move)
            if rows:
                _keep(change, int(rows[-1]["sequence"]))
        return len(told)


def _tell(change: Transaction, row: Row) -> None:
    what = "Role" if row["action"] in ("pin", "unpin", "freeze", "thaw") else "Revision"
    details = {"action": row["action"], "author": row["actor"], "subject": row["subject"]}
    enqueue_change(
        change,
        change_id=f"audit log {row['sequence']}",
        summary=f"{what} {row['subject']} {MOVES[row['action']]}, by {row['actor']}",
        details=details | ({"reason": row["reason"]} if row["reason"] else {}),
        at_ns=row["at_ns"],
    )


def _keep(change: Transaction, sequence: int) -> None:
    change.run(
        "INSERT INTO facts VALUES ($name, $value) ON CONFLICT (name) DO UPDATE SET value = $value",
        {"name": _FACT, "value": str(sequence)},
    )
