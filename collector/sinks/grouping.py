"""Spreads what happened over the sinks: which alerts share a message, and when it is due.

As Alertmanager does it: a new group waits ``group_wait`` for company, a group that changed speaks
again after ``group_interval``, one that only goes on firing after ``repeat_interval``. Other than
there, an alert that ended before its group spoke is named all the same: nothing is left untold.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from collector.alert_events import NAME, AlertEvent
from collector.desk import Row, Transaction
from collector.outbox import firing
from collector.sinks.message import (
    ALERTS_MAX,
    Message,
    alert_of,
    annotations_of,
    labels_of,
    packed,
    unpacked,
)

EVENTS_MAX: Final = 1_000  # spread in one transaction
MESSAGE_CHARS_MAX: Final = 40_000  # of labels and annotations, so that a body stays under 64 KiB
MESSAGES_DUE_MAX: Final = 10_000  # of one sink; the oldest give way, counted
WATCHDOG: Final = "Watchdog"
SECOND_NS: Final = 1_000_000_000
NEVER_NS: Final = 2**62  # of a group that need not speak until something changes
HELD_NS: Final = 30 * SECOND_NS  # how often is looked whether alerts are muted no more

# How a sink hears of alerts: in groups, each incident by itself, each event, or all that fires.
Style = Literal["groups", "incidents", "events", "state"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """How news reaches one sink; times are nanoseconds."""

    sink: str
    style: Style
    group_by: tuple[str, ...] = (NAME,)
    wait_ns: int = 0
    interval_ns: int = 0
    repeat_ns: int | None = None  # None: never said again
    words: frozenset[str] = frozenset()  # which of change and report it takes
    severities: frozenset[str] | None = None  # None: all
    watchdog: bool = True

    def takes(self, alert: AlertEvent) -> bool:
        """Say whether the sink is to hear of this alert."""
        if alert.name == WATCHDOG:
            return self.watchdog
        severity = alert.labels.get("severity")
        return self.severities is None or severity is None or severity in self.severities


def spread(change: Transaction, route: Route, *, now_ns: int, muted: Collection[str] = ()) -> int:
    """Turn what is new into messages for one sink; return how many old ones had to give way."""
    sink = {"sink": route.sink}
    row = change.row("SELECT cursor FROM sinks WHERE sink = $sink", sink)
    if row is None:
        row = _join(change, route, now_ns=now_ns, muted=muted)
    events = change.rows(
        "SELECT number, event_id, kind, body FROM outbox WHERE number > $cursor "
        "ORDER BY number LIMIT $most",
        row | {"most": EVENTS_MAX},
    )
    for event in events:
        _take(change, route, event, now_ns=now_ns, muted=muted)
    if events:
        change.run(
            "UPDATE sinks SET cursor = $cursor WHERE sink = $sink",
            sink | {"cursor": events[-1]["number"]},
        )
    if route.style in ("groups", "incidents"):
        _flush_due(change, route, now_ns=now_ns, muted=muted)
    return _make_room(change, route.sink, now_ns)


def _join(change: Transaction, route: Route, *, now_ns: int, muted: Collection[str]) -> Row:
    """Let a sink that was not known begin with what fires now; history is not told to it."""
    cursor = change.row("SELECT coalesce(max(number), 0) AS cursor FROM outbox") or {"cursor": 0}
    change.run(
        "INSERT INTO sinks (sink, cursor) VALUES ($sink, $cursor)",
        {"sink": route.sink, "cursor": cursor["cursor"]},
    )
    if route.style in ("groups", "incidents"):
        for alert in filter(route.takes, firing(change).values()):
            _news(change, route, alert, now_ns=now_ns, muted=muted)
    return cursor


def _take(
    change: Transaction, route: Route, event: Row, *, now_ns: int, muted: Collection[str]
) -> None:
    if event["kind"] != "alert":
        if event["kind"] in route.words:
            message = unpacked(event["body"])
            _deliver(change, route.sink, message, lane=message.message_id, now_ns=now_ns)
        return
    alert = alert_of(json.loads(event["body"]))
    if not route.takes(alert):
        return
    if route.style == "state":
        change.run("UPDATE sinks SET resend_ns = 0 WHERE sink = $sink", {"sink": route.sink})
    elif route.style == "events":  # a record of what happened, which no silence hides
        message = _message(event["event_id"], "", [alert], now_ns=now_ns)
        _deliver(change, route.sink, message, lane=event["event_id"], now_ns=now_ns)
    else:
        _news(change, route, alert, now_ns=now_ns, muted=muted)


def _news(
    change: Transaction, route: Route, alert: AlertEvent, *, now_ns: int, muted: Collection[str]
) -> None:
    """Put an alert's change down in its group, and say when the group is to speak."""
    labels = _group_labels(route, alert)
    key = _group_key(labels)
    bound: dict[str, Any] = {"sink": route.sink, "key": key}
    row = change.row("SELECT * FROM notice_groups WHERE sink = $sink AND group_key = $key", bound)
    held = [alert.fingerprint] if alert.status == "firing" and alert.fingerprint in muted else []
    if row is None:
        # What has been going on for longer than the wait need not wait for company any more.
        waited = alert.starts_ns + route.wait_ns < now_ns
        bound |= {
            "labels": json.dumps(labels), "news": json.dumps([alert.fingerprint]),
            "held": json.dumps(held),
            "flush": now_ns if waited else now_ns + route.wait_ns,
        }  # fmt: skip
        change.run(
            "INSERT INTO notice_groups VALUES "
            "($sink, $key, $labels, $flush, NULL, '[]', $news, $held)",
            bound,
        )
        return
    news, due = json.loads(row["news"]), row["flush_ns"]
    if row["flushed_ns"] is None:
        due = min(due, now_ns + route.wait_ns)
    elif not news:
        due = min(due, max(now_ns, row["flushed_ns"] + route.interval_ns))
    if alert.fingerprint not in news:
        news.append(alert.fingerprint)
    change.run(
        "UPDATE notice_groups SET news = $news, flush_ns = $flush, held = $held "
        "WHERE sink = $sink AND group_key = $key",
        bound
        | {
            "news": json.dumps(news),
            "flush": due,
            "held": json.dumps([*json.loads(row["held"]), *held]),
        },
    )


def _group_labels(route: Route, alert: AlertEvent) -> dict[str, str]:
    if route.style == "incidents":
        return {"fingerprint": alert.fingerprint}
    labels = labels_of(alert)
    return {name: labels.get(name, "") for name in route.group_by}


def _group_key(labels: dict[str, str]) -> str:
    return "{}:{" + ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def _flush_due(change: Transaction, route: Route, *, now_ns: int, muted: Collection[str]) -> None:
    # A time further ahead than any wait was set before the clock was put back.
    longest = max(route.wait_ns, route.interval_ns, route.repeat_ns or 0, HELD_NS)
    rows = change.rows(
        "SELECT * FROM notice_groups WHERE sink = $sink AND "
        "(flush_ns <= $now OR (flush_ns > $far AND flush_ns < $never))",
        {
            "sink": route.sink, "now": now_ns, "never": NEVER_NS,
            "far": now_ns + longest + 60 * SECOND_NS,
        },
    )  # fmt: skip
    if not rows:
        return
    fires = {key: one for key, one in firing(change).items() if route.takes(one)}
    for row in rows:
        labels = json.loads(row["labels"])
        here = {key: one for key, one in fires.items() if _group_labels(route, one) == labels}
        _flush(change, route, _Group(row, labels, here, muted), now_ns)


class _Group:
    """One group at the moment at which it may speak; alerts by fingerprint."""

    def __init__(
        self, row: Row, labels: dict[str, str], fires: dict[str, AlertEvent],
        muted: Collection[str],
    ) -> None:  # fmt: skip
        self.key: str = row["group_key"]
        self.labels = labels
        self.flushed_ns: int | None = row["flushed_ns"]
        self.told = set(json.loads(row["told"]))
        self.news = set(json.loads(row["news"]))
        self.burning = {key: one for key, one in fires.items() if key not in muted}
        self.held = set(fires) - set(self.burning)
        # Of what is muted people hear the end only when they had heard the beginning.
        unheard = set(json.loads(row["held"])) - self.told
        self.over = sorted(self.news - set(fires) - unheard)


def _flush(change: Transaction, route: Route, group: _Group, now_ns: int) -> None:
    """Let one group speak, if there is anything to say, and set when it is to speak again."""
    ended = _ended(change, group.over)
    bound: dict[str, Any] = {"sink": route.sink, "key": group.key}
    reason = _reason(route, group, ended, now_ns)
    flushed_ns = group.flushed_ns
    if reason is not None:
        alerts = [*group.burning.values(), *ended.values()]
        message_id = _message_id(route.sink, group.key, alerts, flushed_ns)
        message = _message(
            message_id, reason, alerts, now_ns=now_ns, key=group.key, labels=group.labels
        )
        _deliver(change, route.sink, message, lane=group.key, now_ns=now_ns)
        flushed_ns = now_ns
    elif not group.burning and not group.held:
        change.run("DELETE FROM notice_groups WHERE sink = $sink AND group_key = $key", bound)
        return
    told = set(group.burning) | (group.told & group.held)
    change.run(
        "UPDATE notice_groups SET flush_ns = $flush, flushed_ns = $flushed, told = $told, "
        "news = '[]', held = $held WHERE sink = $sink AND group_key = $key",
        bound
        | {
            "flush": _next_flush(route, group, flushed_ns, now_ns),
            "flushed": flushed_ns,
            "told": json.dumps(sorted(told)),
            "held": json.dumps(sorted(group.held)),
        },
    )


def _next_flush(route: Route, group: _Group, flushed_ns: int | None, now_ns: int) -> int:
    times = []
    if group.held:
        times.append(now_ns + max(route.interval_ns, HELD_NS))
    if not group.burning:
        times.append(now_ns + route.interval_ns)
    elif route.repeat_ns is not None:
        times.append((flushed_ns or now_ns) + route.repeat_ns)
    return min(times, default=NEVER_NS)


def _ended(change: Transaction, keys: list[str]) -> dict[str, AlertEvent]:
    found = {}
    for key in keys:
        row = change.row(
            "SELECT body FROM outbox_alerts WHERE fingerprint = $key AND status = 'resolved'",
            {"key": key},
        )
        if row is not None:
            found[key] = alert_of(json.loads(row["body"]))
    return found


def _reason(route: Route, group: _Group, ended: dict[str, AlertEvent], now_ns: int) -> str | None:
    """Return Alertmanager's `notification_reason`, or None when there is nothing to say."""
    burning = set(group.burning)
    if not burning and not ended:
        return None
    if group.flushed_ns is None:
        return "FirstNotification"
    if burning - group.told or burning & group.news:
        return "NewAlertsInGroup"
    if ended:
        return "NewResolvedAlerts" if burning else "AllAlertsResolved"
    if route.repeat_ns is not None and now_ns >= group.flushed_ns + route.repeat_ns:
        return "RepeatIntervalElapsed"
    return None


def _message(
    message_id: str, reason: str, alerts: list[AlertEvent], *, now_ns: int, key: str = "",
    labels: dict[str, str] | None = None,
) -> Message:  # fmt: skip
    kept = _fitting(alerts)
    return Message(
        message_id=message_id,
        kind="alerts",
        at_ns=now_ns,
        summary=", ".join(sorted({alert.name for alert in kept}))[:200],
        reason=reason,
        group_key=key,
        group_labels=labels or {},
        alerts=kept,
        truncated=len(alerts) - len(kept),
    )


def _fitting(alerts: Sequence[AlertEvent]) -> tuple[AlertEvent, ...]:
    """Return the first alerts, as many as a message may hold; at least one."""
    size = 0
    for place, alert in enumerate(alerts[:ALERTS_MAX]):
        size += len(json.dumps([labels_of(alert), annotations_of(alert)]))
        if size > MESSAGE_CHARS_MAX and place:
            return tuple(alerts[:place])
    return tuple(alerts[:ALERTS_MAX])


def _message_id(sink: str, key: str, alerts: list[AlertEvent], flushed_ns: int | None) -> str:
    parts = [sink, key, str(flushed_ns)]
    parts += sorted(f"{one.fingerprint}{one.status}{one.starts_ns}" for one in alerts)
    return "tw_" + hashlib.blake2b("\x1f".join(parts).encode(), digest_size=15).hexdigest()


def _deliver(change: Transaction, sink: str, message: Message, *, lane: str, now_ns: int) -> None:
    """Put a message into its lane; one there that no try was made of yet becomes part of it."""
    bound = {"sink": sink, "lane": lane}
    waiting = change.row(
        "SELECT number, body FROM deliveries WHERE sink = $sink AND lane = $lane "
        "AND state = 'due' AND attempts = 0",
        bound,
    )
    if waiting is not None:
        message = _joined(unpacked(waiting["body"]), message)
        change.run("DELETE FROM deliveries WHERE number = $number", {"number": waiting["number"]})
    change.run(
        "INSERT OR IGNORE INTO deliveries (message_id, sink, lane, created_ns, body) "
        "VALUES ($id, $sink, $lane, $now, $body)",
        bound | {"id": message.message_id, "now": now_ns, "body": packed(message)},
    )


def _joined(old: Message, new: Message) -> Message:
    """Return the newer message with what only the older one, never sent, had to tell."""
    named = {alert.fingerprint for alert in new.alerts}
    alerts = (*new.alerts, *(one for one in old.alerts if one.fingerprint not in named))
    kept = _fitting(alerts)
    reason = old.reason if old.reason == "FirstNotification" else new.reason
    left = new.truncated + len(alerts) - len(kept)
    return replace(new, alerts=kept, reason=reason, truncated=left)


def _make_room(change: Transaction, sink: str, now_ns: int) -> int:
    return change.run(
        "UPDATE deliveries SET state = 'dead', ended_ns = $now, error = 'too many wait' "
        "WHERE number IN (SELECT number FROM deliveries WHERE sink = $sink AND state = 'due' "
        "ORDER BY number DESC LIMIT -1 OFFSET $most)",
        {"sink": sink, "now": now_ns, "most": MESSAGES_DUE_MAX},
    )
