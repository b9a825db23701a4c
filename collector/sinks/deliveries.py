"""Which message is tried next, and what is written down after a try.

A try is written down before it is made: after a kill nobody knows what became of it, so it is made
again under the same id. Only the oldest message of a lane is tried; messages that were tried least
go first, so one that a receiver chokes on does not hold up the others.
"""

import random
from collections.abc import Sequence
from typing import Final

from collector.desk import Row, Transaction
from collector.sinks.sink import Answer, Verdict

BACKOFF_SECONDS_FIRST: Final = 5.0
BACKOFF_SECONDS_MAX: Final = 300.0
RETRY_AFTER_SECONDS_MAX: Final = 3_600.0
DAY_NS: Final = 86_400_000_000_000
GIVE_UP_NS: Final = DAY_NS
GIVE_UP_TRIES: Final = 20  # so that a clock that leaps a day ahead gives nothing up
KEEP_NS: Final = 7 * DAY_NS


def backoff_seconds(failures: int, rng: random.Random) -> float:
    """Return how long to wait after so many failures in a row: full jitter, 5 s to 5 min."""
    ceiling = BACKOFF_SECONDS_FIRST * 2.0 ** min(failures - 1, 16)
    return rng.uniform(0.0, min(BACKOFF_SECONDS_MAX, ceiling))


def ready(change: Transaction, sink: str, now_ns: int) -> bool:
    """Say whether the sink may be tried; a time that lies too far ahead is of another clock."""
    row = change.row("SELECT next_ns, disabled FROM sinks WHERE sink = $sink", {"sink": sink})
    if row is None or row["disabled"] is not None:
        return False
    far = now_ns + int(RETRY_AFTER_SECONDS_MAX * 1e9)
    return bool(row["next_ns"] <= now_ns or row["next_ns"] > far)


def claim(change: Transaction, sink: str, now_ns: int) -> Row | None:
    """Return the message to try now, with the try counted; None when there is none or not now."""
    if not ready(change, sink, now_ns):
        return None
    row = change.row(
        "SELECT number, created_ns, attempts + 1 AS attempts, body FROM deliveries "
        "WHERE number IN (SELECT min(number) FROM deliveries "
        "WHERE sink = $sink AND state = 'due' GROUP BY lane) ORDER BY attempts, number LIMIT 1",
        {"sink": sink},
    )
    if row is not None:
        change.run(
            "UPDATE deliveries SET attempts = $attempts WHERE number = $number",
            {"attempts": row["attempts"], "number": row["number"]},
        )
    return row


def settle(
    change: Transaction, sink: str, row: Row, answer: Answer, *, now_ns: int, rng: random.Random
) -> str | None:
    """Write down what became of a try; return why the message was given up, if it was."""
    note(change, sink, answer, now_ns=now_ns, rng=rng)
    given_up = None
    if answer.verdict is Verdict.REFUSED or answer.verdict is Verdict.GONE:
        given_up = str(answer.verdict)
    elif answer.verdict is Verdict.RETRY and _too_old(row, now_ns):
        given_up = "expired"
    state = "due"
    if answer.verdict is Verdict.ACCEPTED:
        state = "sent"
    elif given_up is not None:
        state = "dead"
    change.run(
        "UPDATE deliveries SET state = $state, ended_ns = $ended, error = $error "
        "WHERE number = $number",
        {
            "state": state, "number": row["number"], "error": answer.message or None,
            "ended": None if state == "due" else now_ns,
        },
    )  # fmt: skip
    return given_up


def _too_old(row: Row, now_ns: int) -> bool:
    return bool(now_ns - row["created_ns"] >= GIVE_UP_NS and row["attempts"] >= GIVE_UP_TRIES)


def note(
    change: Transaction, sink: str, answer: Answer, *, now_ns: int, rng: random.Random
) -> None:
    """Write down how the sink itself stands after a try: proven, waiting or disabled."""
    bound: dict[str, object] = {"sink": sink, "now": now_ns, "error": answer.message or None}
    if answer.verdict is Verdict.ACCEPTED:
        change.run(
            "UPDATE sinks SET failures = 0, next_ns = 0, acknowledged_ns = $now, disabled = NULL, "
            "error = NULL WHERE sink = $sink",
            bound,
        )
        return
    if answer.verdict is Verdict.GONE:
        change.run("UPDATE sinks SET disabled = $error, error = $error WHERE sink = $sink", bound)
        return
    if answer.verdict is Verdict.REFUSED:  # the message is at fault, or the set-up: others may go
        change.run("UPDATE sinks SET error = $error WHERE sink = $sink", bound)
        return
    row = change.row("SELECT failures FROM sinks WHERE sink = $sink", {"sink": sink})
    wait = backoff_seconds((row["failures"] if row else 0) + 1, rng)
    asked = min(answer.retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX)
    change.run(
        "UPDATE sinks SET failures = failures + 1, next_ns = $next, error = $error "
        "WHERE sink = $sink",
        bound | {"next": now_ns + int(max(wait, asked) * 1e9)},
    )


def pending(change: Transaction, sink: str) -> int:
    """Return how many messages wait for a sink."""
    row = change.row(
        "SELECT count(*) AS n FROM deliveries WHERE sink = $sink AND state = 'due'", {"sink": sink}
    )
    return int(row["n"]) if row else 0


def forget(change: Transaction, sinks: Sequence[str], now_ns: int) -> None:
    """Remove what is a week old and done with, and what was for sinks that are no more."""
    before = {"before": now_ns - KEEP_NS}
    change.run("DELETE FROM deliveries WHERE state <> 'due' AND ended_ns < $before", before)
    change.run(
        "DELETE FROM outbox WHERE at_ns < $before AND "
        "number <= (SELECT coalesce(min(cursor), 0) FROM sinks)",
        before,
    )
    change.run("DELETE FROM outbox_alerts WHERE status = 'resolved' AND ends_ns < $before", before)
    for row in change.rows("SELECT sink FROM sinks"):
        if row["sink"] not in sinks:
            for table in _BY_SINK:
                change.run(table, {"sink": row["sink"]})


_BY_SINK: Final = (
    "DELETE FROM deliveries WHERE sink = $sink",
    "DELETE FROM notice_groups WHERE sink = $sink",
    "DELETE FROM sinks WHERE sink = $sink",
)
