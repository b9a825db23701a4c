"""Bodies that receivers of Alertmanager's notices read: times, the v4 body, plain words."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from collector.alert_events import NAME, AlertEvent
from collector.sinks.message import Message, annotations_of, labels_of

NEVER: Final = "0001-01-01T00:00:00Z"  # how Alertmanager writes an end that is not known
LINES_MAX: Final = 20  # alerts of one message in words
WHOLE_MAX: Final = 3  # of these with all that they say
_NOT_REPEATED: Final = frozenset({"summary", "description", "meaning", "reason"})


def rfc3339(at_ns: int) -> str:
    """Return a unix time in ns as text, in UTC.

    >>> rfc3339(1_800_000_000_123_000_000)
    '2027-01-15T08:00:00.123000Z'
    """
    seconds, rest = divmod(at_ns, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
    return whole.isoformat(timespec="microseconds").replace("+00:00", "Z")


def link(console_url: str | None, alert: AlertEvent) -> str:
    """Return where people read about an alert, or nothing when no console is named."""
    return "" if console_url is None else f"{console_url.rstrip('/')}/alerts/{alert.fingerprint}"


def webhook_body(message: Message, *, receiver: str, console_url: str | None) -> dict[str, Any]:
    """Return Alertmanager's webhook body, version 4, of one message.

    Source: Alertmanager's documentation of `webhook_config` and its `template.Data`.
    """
    alerts = message.alerts or (_spoken(message),)
    labels = [labels_of(alert) for alert in alerts]
    annotations = [annotations_of(alert) for alert in alerts]
    return {
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.truncated,
        "status": "firing" if message.firing else "resolved",
        "receiver": receiver,
        "groupLabels": dict(message.group_labels),
        "commonLabels": _shared(labels),
        "commonAnnotations": _shared(annotations),
        "externalURL": console_url or "",
        "notification_reason": message.reason,
        "alerts": [
            {
                "status": alert.status,
                "labels": own,
                "annotations": words,
                "startsAt": rfc3339(alert.starts_ns),
                "endsAt": NEVER if alert.ends_ns is None else rfc3339(alert.ends_ns),
                "generatorURL": link(console_url, alert),
                "fingerprint": alert.fingerprint,
            }
            for alert, own, words in zip(alerts, labels, annotations, strict=True)
        ],
    }


def _spoken(message: Message) -> AlertEvent:
    """Return a report in words as an alert that has ended, which is all that the body can hold."""
    return AlertEvent(
        fingerprint=message.message_id,
        name="TierwiseReport",
        role=None,
        labels={NAME: "TierwiseReport", "severity": "info"},
        annotations={"summary": message.summary} | dict(message.details),
        status="resolved",
        starts_ns=message.at_ns,
        ends_ns=message.at_ns,
        at_ns=message.at_ns,
        reason="",
    )


def _shared(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first = dict(tables[0])
    for other in tables[1:]:
        first = {key: value for key, value in first.items() if other.get(key) == value}
    return first


def words(message: Message, *, console_url: str | None) -> tuple[str, str]:
    """Return a message as a title and a text for people."""
    if message.kind != "alerts":
        lines = [message.summary, *(f"{key}: {text}" for key, text in message.details.items())]
        return f"tierwise: {message.summary[:100]}", "\n".join(lines)
    firing = sum(alert.status == "firing" for alert in message.alerts)
    state = f"{firing} firing" if firing else "resolved"
    named = ", ".join(f"{key}={value}" for key, value in message.group_labels.items() if value)
    lines = []
    for place, alert in enumerate(message.alerts[:LINES_MAX]):
        told = annotations_of(alert)
        where = f" ({alert.role})" if alert.role is not None else ""
        summary = told.get("summary") or told.get("description") or told.get("reason", "")
        lines.append(f"{alert.status.upper()} {alert.name}{where}: {summary}")
        if alert.status == "firing" and place < WHOLE_MAX:
            lines += [
                f"  {key}: {text}"
                for key, text in told.items()
                if text and key not in _NOT_REPEATED
            ]
        if console_url is not None:
            lines.append(f"  {link(console_url, alert)}")
    left = message.truncated + max(0, len(message.alerts) - LINES_MAX)
    if left:
        lines.append(f"and {left} more")
    lines.append(f"why now: {message.reason}")
    return f"tierwise: {named} {state}", "\n".join(lines)
