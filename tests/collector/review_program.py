"""A process that changes the policy on and on, for tests that end it the hard way.

Prints the head of the audit log after each change that it was told is done.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

from collector.answers import Ask
from collector.auditlog import HEAD
from collector.changes import Changes
from collector.desk import Desk
from collector.holding import Holding
from collector.refusals import Refusal
from collector.review import Review
from collector.revisions import Revisions
from telemetry.clock import SystemClock
from tests.collector.reviewing import revision, terms

NOTHING: Any = None  # no change of this program asks the store


def change(revisions: Revisions, number: int) -> None:
    """Do the change of that number: three revisions, a rollback, a thaw, and again."""
    changes = Changes(revisions)
    active = revisions.active()
    ask = Ask(
        person="ada", action=str(number), body={}, base=active.standing.etag, key=f"k{number}"
    )
    if number % 5 < 3:
        parent = None if active.standing.revision is None else active.name
        made = revision(number / 1e6, parent=parent)
        revisions.submit(
            made, author="learner", trigger="tick", now_ns=number + 1, activate=True, note={}
        )
        return
    with contextlib.suppress(Refusal):  # nothing is left to undo or to thaw
        if number % 5 == 3:
            Review(changes, NOTHING).rollback(ask, to=None, reason="r")
        else:
            Holding(changes).thaw(ask, role=None, reason=None)


def main() -> None:
    """Change without an end, from the number that is named on."""
    desk = Desk(Path(sys.argv[1]))
    revisions = Revisions(desk, SystemClock(), terms=terms)
    number = int(sys.argv[2])
    while True:
        change(revisions, number)
        row = desk.row("SELECT value FROM facts WHERE name = $name", {"name": HEAD})
        assert row is not None, "every change is logged"
        sys.stdout.write(f"{number} {row['value']}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main()
