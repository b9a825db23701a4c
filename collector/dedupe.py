"""Takes out of a commit what is stored already: senders repeat what they got no answer for."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from collector import queries
from collector.migrations import Connection
from collector.rows import Batch


class _Identity(NamedTuple):
    """How rows of one table are told apart."""

    table: str
    known: str
    ids: tuple[str, ...]
    time: str | None


_IDENTITIES: Final = (
    _Identity("calls", queries.KNOWN["calls"], ("trace_id", "span_id"), "start_ns"),
    _Identity("decisions", queries.KNOWN["decisions"], ("trace_id", "span_id"), "start_ns"),
    _Identity("spans", queries.KNOWN["spans"], ("trace_id", "span_id"), "start_ns"),
    _Identity("logs", queries.KNOWN_LOGS, ("log_id",), "time_ns"),
    _Identity("evaluations", queries.KNOWN_EVALUATIONS, ("evaluation_id",), None),
)


def drop_known(connection: Connection, batches: Sequence[Batch]) -> int:
    """Take out of ``batches`` what is stored already or stands twice; return how many rows."""
    return sum(_drop(connection, batches, identity) for identity in _IDENTITIES)


def _drop(connection: Connection, batches: Sequence[Batch], identity: _Identity) -> int:
    rows = [row for batch in batches for row in getattr(batch, identity.table)]
    if not rows:
        return 0
    key, last = attrgetter(*identity.ids), attrgetter(identity.ids[-1])
    bound: dict[str, Any] = {"ids": list(map(last, rows))}
    if identity.time is not None:
        times = list(map(attrgetter(identity.time), rows))
        bound |= {"low": min(times), "high": max(times)}
    found = connection.execute(identity.known, bound).fetchall()
    seen = set(found) if len(identity.ids) > 1 else {one for (one,) in found}
    before = len(seen)
    if not before and len(set(map(key, rows))) == len(rows):
        return 0
    for batch in batches:
        kept = []
        for row in getattr(batch, identity.table):
            name = key(row)
            if name not in seen:
                seen.add(name)
                kept.append(row)
        setattr(batch, identity.table, kept)
    return len(rows) - (len(seen) - before)
