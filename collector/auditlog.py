"""The audit log: who changed what, when and why, each row chained to the one before by its hash.

A row's hash covers its content and the hash of the row before it, so a row that was edited,
removed or moved breaks the chain from there on. Rows cut off at the end break it too as long as
the head, which is kept beside the log, in the collector's own log and wherever people note it,
is not rewritten as well. The tables refuse to change or remove a row by themselves.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.desk import Desk, Row, Transaction
from collector.store import StoreUnavailable

BEGINNING: Final = "0" * 64
HEAD: Final = "audit_log.head"
COLUMNS: Final = (
    "sequence", "at_ns", "actor", "action", "subject", "before", "after", "reason", "previous",
)  # fmt: skip
PAGE_MAX: Final = 1_000
NO_LOG: Final = "name a store beside which the collector keeps its file, ending in .desk"

_APPEND: Final = """
INSERT INTO audit_log VALUES
  ($sequence, $at_ns, $actor, $action, $subject, $before, $after, $reason, $previous, $hash)
"""
_LAST: Final = "SELECT sequence, hash FROM audit_log ORDER BY sequence DESC LIMIT 1"
_NOTE_HEAD: Final = "INSERT OR REPLACE INTO facts VALUES ($name, $value)"
_PAGE: Final = """
SELECT * FROM audit_log WHERE sequence < $before ORDER BY sequence DESC LIMIT $limit
"""
_NEXT: Final = "SELECT * FROM audit_log WHERE rowid > $after ORDER BY rowid LIMIT $limit"
_HEAD: Final = "SELECT value FROM facts WHERE name = $name"

log = logging.getLogger("tierwise.collector")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """Who does something, when and why."""

    actor: str
    at_ns: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a look at the whole chain found; ``fault`` None says that it is whole.

    ``head`` is the last row as ``sequence:hash``, None for an empty log.
    """

    rows: int
    head: str | None
    fault: str | None


def append(
    change: Transaction, deed: Deed, *, action: str, subject: str, before: Any, after: Any
) -> None:
    """Add one row to the log, in the transaction of what it tells.

    ``before`` and ``after`` are JSON values.
    """
    last = change.row(_LAST) or {"sequence": 0, "hash": BEGINNING}
    row: Row = {
        "sequence": last["sequence"] + 1,
        "at_ns": deed.at_ns,
        "actor": deed.actor,
        "action": action,
        "subject": subject,
        "before": _json(before),
        "after": _json(after),
        "reason": deed.reason,
        "previous": last["hash"],
    }
    row["hash"] = hash_of(row)
    change.run(_APPEND, row)
    change.run(_NOTE_HEAD, {"name": HEAD, "value": head_of(row)})
    log.info("audit %s %s %s by %s", head_of(row), action, subject, deed.actor)


def hash_of(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 that a row with this content and predecessor must carry."""
    return hashlib.sha256(_json([row[name] for name in COLUMNS]).encode()).hexdigest()


def head_of(row: Mapping[str, Any]) -> str:
    """Return a row's place and hash, as people note them."""
    return f"{row['sequence']}:{row['hash']}"


def page(desk: Desk, *, limit: int, before: int | None = None) -> list[Row]:
    """Return up to ``limit`` rows, newest first, from before the row ``before``."""
    found = desk.rows(_PAGE, {"limit": limit, "before": 2**63 - 1 if before is None else before})
    return [shown(row) for row in found]


def shown(row: Row) -> Row:
    """Return a row with its JSON values opened."""
    return row | {"before": json.loads(row["before"]), "after": json.loads(row["after"])}


def verify(desk: Desk, *, noted: str | None = None) -> Verdict:
    """Look at the whole chain; ``noted`` is a head (``sequence:hash``) that must stand in it."""
    known = desk.row(_HEAD, {"name": HEAD})
    return check(_all(desk), head=None if known is None else known["value"], noted=noted)


def verify_file(path: Path, *, noted: str | None = None) -> Verdict:
    """Look at the chain in the desk's file itself, whether or not a collector has it open.

    Raises:
        StoreUnavailable: the file is not there or holds no audit log.
    """
    return check(*read_file(path), noted=noted)


def read_file(path: Path) -> tuple[list[Row], str | None]:
    """Return all rows of the log in the desk's file, in order, and the head kept beside them.

    Raises:
        StoreUnavailable: the file is not there or holds no audit log.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}", hint=NO_LOG) from error
    try:
        reading = Transaction(connection)
        rows = reading.rows(_NEXT, {"after": -(2**63), "limit": -1})
        head = reading.row(_HEAD, {"name": HEAD})
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}", hint=NO_LOG) from error
    finally:
        connection.close()
    return rows, None if head is None else head["value"]


def check(rows: Iterable[Row], head: str | None, *, noted: str | None = None) -> Verdict:
    """Say whether ``rows``, the whole log in order, are one chain that ends at ``head``."""
    count, previous, last = 0, BEGINNING, None
    seen = noted is None
    for row in rows:
        fault = _fault(row, sequence=count + 1, previous=previous)
        if fault is not None:
            return Verdict(rows=count, head=last, fault=fault)
        count, previous, last = count + 1, row["hash"], head_of(row)
        seen = seen or last == noted
    if head != last:
        return Verdict(
            rows=count, head=last, fault=f"rows are missing at the end: the log ended at {head}"
        )
    if not seen:
        return Verdict(rows=count, head=last, fault=f"the noted head {noted} is not in the log")
    return Verdict(rows=count, head=last, fault=None)


def _fault(row: Row, *, sequence: int, previous: str) -> str | None:
    if row["sequence"] != sequence:
        return f"row {sequence} is missing: row {row['sequence']} stands in its place"
    if row["hash"] != hash_of(row):
        return f"row {sequence} was changed: its content does not have its hash"
    if row["previous"] != previous:
        return f"row {sequence} does not follow on the row before it"
    return None


def _all(desk: Desk) -> Iterable[Row]:
    after = -(2**63)
    while found := desk.rows(_NEXT, {"after": after, "limit": PAGE_MAX}):
        yield from found
        after = found[-1]["sequence"]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
