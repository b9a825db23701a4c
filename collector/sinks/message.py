"""What a sink is given to send: one message, the same bytes of meaning at every try."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from collector.alert_events import NAME, AlertEvent

Kind = Literal["alerts", "change", "report", "test"]

ALERTS_MAX: Final = 100  # of one message; the rest is counted
LABEL_CHARS_MAX: Final = 1_024
TEST_NAME: Final = "TierwiseTest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Alerts of one group, or a change, a report or a test in words.

    ``message_id`` stays the same over all tries: it is what a receiver tells doubles apart by.
    """

    message_id: str
    kind: Kind
    at_ns: int
    summary: str
    reason: str = ""  # as Alertmanager's notification_reason
    group_key: str = ""
    group_labels: Mapping[str, str] = field(default_factory=dict)
    alerts: tuple[AlertEvent, ...] = ()
    truncated: int = 0  # alerts left out
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def firing(self) -> bool:
        """Whether any of its alerts still fires."""
        return any(alert.status == "firing" for alert in self.alerts)


def labels_of(alert: AlertEvent) -> dict[str, str]:
    """Return the alert's labels; its name and role are always among them."""
    own = {NAME: alert.name} | ({} if alert.role is None else {"role": alert.role})
    return {key: value[:LABEL_CHARS_MAX] for key, value in (own | dict(alert.labels)).items()}


def annotations_of(alert: AlertEvent) -> dict[str, str]:
    """Return the alert's words, each of bounded length, with the reason of its last change."""
    words = {key: value[: 4 * LABEL_CHARS_MAX] for key, value in alert.annotations.items()}
    return words if "reason" in words or not alert.reason else words | {"reason": alert.reason}


def packed(message: Message) -> str:
    """Return a message as JSON, for the desk."""
    return json.dumps(asdict(message), default=dict, separators=(",", ":"))


def unpacked(text: str) -> Message:
    """Return the message that ``packed`` wrote."""
    plain = json.loads(text)
    return Message(**plain | {"alerts": tuple(alert_of(one) for one in plain["alerts"])})


def alert_of(plain: Mapping[str, Any]) -> AlertEvent:
    """Return the alert that was written as a dictionary."""
    return AlertEvent(**plain)


def trial(message_id: str, *, at_ns: int, sink: str) -> Message:
    """Return what a test sends: an alert of its own name that has ended already."""
    summary = f"Test of sink {sink}: whoever reads this gets tierwise's alerts."
    alert = AlertEvent(
        fingerprint=message_id,
        name=TEST_NAME,
        role=None,
        labels={NAME: TEST_NAME, "severity": "info", "sink": sink},
        annotations={"summary": summary},
        status="resolved",
        starts_ns=at_ns,
        ends_ns=at_ns,
        at_ns=at_ns,
        reason="test",
    )
    return Message(
        message_id=message_id,
        kind="test",
        at_ns=at_ns,
        summary=summary,
        reason="Test",
        group_key=f'{{}}:{{{NAME}="{TEST_NAME}"}}',
        group_labels={NAME: TEST_NAME},
        alerts=(alert,),
    )
