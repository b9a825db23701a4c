"""Takes out of a commit what is stored already: senders repeat what they got no answer for."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

from collector import queries
from collector.migrations import Connection
from collector.rows import Batch
from collector.seen import Seen

GAP_NS: Final = 600_000_000_000
STRETCHES_MAX: Final = 8


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
    _Identity("texts", queries.KNOWN["texts"], ("trace_id", "span_id"), "start_ns"),
    _Identity("logs", queries.KNOWN_LOGS, ("log_id",), "time_ns"),
    _Identity("evaluations", queries.KNOWN_EVALUATIONS, ("evaluation_id",), None),
)


def memories(connection: Connection) -> dict[str, Seen]:
    """Return what is remembered of each table that tells its rows apart by time and id."""
    made = {}
    for identity in _IDENTITIES:
        if identity.time is not None:
            row = connection.execute(queries.LATEST[identity.table]).fetchone()
            assert row is not None
            made[identity.table] = Seen(row[0])
    return made


def drop_known(
    connection: Connection, batches: Sequence[Batch], *, seen: Mapping[str, Seen]
) -> int:
    """Take out of ``batches`` what is stored already or stands twice; return how many rows.

    ``seen`` are the ``memories`` of the tables; all that was ever written since they were made
    must have come by here.
    """
    return sum(
        _drop(connection, batches, identity, seen.get(identity.table)) for identity in _IDENTITIES
    )


def _drop(
    connection: Connection, batches: Sequence[Batch], identity: _Identity, seen: Seen | None
) -> int:
    rows = [row for batch in batches for row in getattr(batch, identity.table)]
    if not rows:
        return 0
    key = attrgetter(*identity.ids)
    asked = rows
    if seen is not None and identity.time is not None:
        timed = zip(map(attrgetter(identity.time), rows), map(key, rows), strict=True)
        asked = [rows[place] for place in seen.doubtful(timed)]
        if not asked:
            return 0
    found = set(_stored(connection, asked, identity))
    before = len(found)
    for batch in batches:
        kept = []
        for row in getattr(batch, identity.table):
            name = key(row)
            if name not in found:
                found.add(name)
                kept.append(row)
        setattr(batch, identity.table, kept)
    return len(rows) - (len(found) - before)


def _stored(connection: Connection, rows: Sequence[Any], identity: _Identity) -> Iterator[Any]:
    """Yield the keys of those ``rows`` that the table holds."""
    last = attrgetter(identity.ids[-1])
    found: list[tuple[Any, ...]] = []
    if identity.time is None:
        found = connection.execute(identity.known, {"ids": list(map(last, rows))}).fetchall()
    else:
        timed = sorted(zip(map(attrgetter(identity.time), rows), map(last, rows), strict=True))
        for stretch in stretches(timed):
            bound = {
                "low": stretch[0][0],
                "high": stretch[-1][0],
                "ids": [name for _, name in stretch],
            }
            found += connection.execute(identity.known, bound).fetchall()
    return iter(found) if len(identity.ids) > 1 else (one for (one,) in found)


def stretches(timed: Sequence[tuple[int, str]]) -> list[Sequence[tuple[int, str]]]:
    """Cut (time, id) pairs, sorted by time, at the widest gaps between them.

    A single old span beside new ones must not make the store look through all that lies between.

    >>> [len(part) for part in stretches([(0, "a"), (1, "b"), (10**15, "c")])]
    [2, 1]
    """
    gaps = [
        (later[0] - earlier[0], number)
        for number, (earlier, later) in enumerate(pairwise(timed), start=1)
        if later[0] - earlier[0] > GAP_NS
    ]
    cuts = sorted(number for _, number in nlargest(STRETCHES_MAX - 1, gaps))
    return [timed[low:high] for low, high in pairwise([0, *cuts, len(timed)])]
