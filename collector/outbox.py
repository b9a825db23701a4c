"""The outbox: what must be told is written down in the transaction in which it becomes true.

Nothing is sent here. Whoever records that an alert began or ended, or that a policy was promoted,
calls ``enqueue`` or ``enqueue_change`` inside the same desk transaction; so after a kill at any
moment both are there or neither is. `collector.sinks.poster` reads on from here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from collector.alert_events import AlertEvent
from collector.desk import Desk, Transaction
from collector.sinks.message import LABEL_CHARS_MAX, Message, alert_of, packed


def enqueue(change: Transaction, event: AlertEvent) -> None:
    """Put down that an alert began or ended; the same event twice is one."""
    body = json.dumps(asdict(event), default=dict)
    parts = (event.fingerprint, event.status, str(event.starts_ns), str(event.at_ns))
    if not _add(change, _id("alert", *parts), kind="alert", at_ns=event.at_ns, body=body):
        return
    change.run(
        "INSERT INTO outbox_alerts VALUES ($fingerprint, $status, $starts, $ends, $body) "
        "ON CONFLICT (fingerprint) DO UPDATE SET status = $status, starts_ns = $starts, "
        "ends_ns = $ends, body = $body",
        {
            "fingerprint": event.fingerprint, "status": event.status,
            "starts": event.starts_ns, "ends": event.ends_ns, "body": body,
        },
    )  # fmt: skip


def enqueue_change(
    change: Transaction, *, change_id: str, summary: str, details: Mapping[str, str], at_ns: int
) -> None:
    """Put down that the policy moved; ``change_id`` (a revision, say) makes it happen once.

    PagerDuty hears of it as a change event, OpenTelemetry as a log event; nobody is paged.
    """
    _put_words(change, "change", change_id, summary=summary, details=details, at_ns=at_ns)


def enqueue_report(
    change: Transaction, *, report_id: str, summary: str, details: Mapping[str, str], at_ns: int
) -> None:
    """Put down a report for the sinks that asked for it."""
    _put_words(change, "report", report_id, summary=summary, details=details, at_ns=at_ns)


def sink_proofs(desk: Desk) -> dict[str, int]:
    """Return by sink when something, a test or real news, was last acknowledged there, in unix ns.

    0 stands for never, and for a sink that its receiver disabled since. Empty: the policy has none.
    """
    rows = desk.rows("SELECT sink, disabled, acknowledged_ns FROM sinks")
    return {
        row["sink"]: (row["acknowledged_ns"] or 0) if row["disabled"] is None else 0 for row in rows
    }


def firing(change: Transaction) -> dict[str, AlertEvent]:
    """Return by fingerprint what fires, as it was last put down."""
    rows = change.rows("SELECT fingerprint, body FROM outbox_alerts WHERE status = 'firing'")
    return {row["fingerprint"]: alert_of(json.loads(row["body"])) for row in rows}


def _put_words(
    change: Transaction, kind: str, own_id: str, *, summary: str, details: Mapping[str, str],
    at_ns: int,
) -> None:  # fmt: skip
    event_id = _id(kind, own_id)
    message = Message(
        message_id=event_id,
        kind="change" if kind == "change" else "report",
        at_ns=at_ns,
        summary=summary[:LABEL_CHARS_MAX],
        details={key: value[:LABEL_CHARS_MAX] for key, value in details.items()},
    )
    _add(change, event_id, kind=kind, at_ns=at_ns, body=packed(message))


def _add(change: Transaction, event_id: str, *, kind: str, at_ns: int, body: str) -> bool:
    bound = {"id": event_id, "kind": kind, "at": at_ns, "body": body}
    sql = (
        "INSERT OR IGNORE INTO outbox (event_id, kind, at_ns, body) VALUES ($id, $kind, $at, $body)"
    )
    return change.run(sql, bound) == 1


def _id(*parts: str) -> str:
    """Return an id that the same parts always give."""
    return "tw_" + hashlib.blake2b("\x1f".join(parts).encode(), digest_size=15).hexdigest()
