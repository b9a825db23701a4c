"""OpenTelemetry log events: one record for each time an alert begins or ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector.alert_events import AlertEvent
from collector.sinks.message import Message, annotations_of, labels_of
from collector.sinks.sink import ACCEPTED, Answer, Verdict
from telemetry.otlp import Envelope, KeyValues, Signal, field, fixed64, text, varint
from telemetry.transport import Reply, Transport
from telemetry.transport import Verdict as Reached

ALERT_EVENT: Final = "tierwise.alert"
CHANGE_EVENT: Final = "tierwise.policy.change"
REPORT_EVENT: Final = "tierwise.report"
_EVENTS: Final = {"change": CHANGE_EVENT, "report": REPORT_EVENT}
# Severity numbers of the log data model: INFO, WARN, ERROR, FATAL.
_INFO, _WARN, _ERROR, _FATAL = 9, 13, 17, 21
_SEVERITIES: Final = {
    "critical": _FATAL, "page": _FATAL, "error": _ERROR, "warning": _WARN, "ticket": _WARN,
    "info": _INFO,
}  # fmt: skip
_NAMES: Final = {_INFO: "INFO", _WARN: "WARN", _ERROR: "ERROR", _FATAL: "FATAL"}
_VALUES: Final = KeyValues(6)
_VERDICTS: Final = {
    Reached.ACCEPTED: Verdict.ACCEPTED,
    Reached.RETRY: Verdict.RETRY,
    Reached.REFUSED: Verdict.REFUSED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OtelLogs:
    """Sends to every endpoint; accepted is what all of them accepted.

    An endpoint that took the record before another failed gets it again: whoever counts goes by
    the attribute `tierwise.notice.id`.
    """

    transports: Sequence[Transport]

    async def send(self, message: Message) -> Answer:
        records = [_alert_record(message, alert) for alert in message.alerts]
        if message.kind in _EVENTS:
            records = [_record(message.at_ns, _EVENTS[message.kind], _INFO, _details(message))]
        body = _ENVELOPE.wrap([field(2, record) for record in records])
        for transport in self.transports:
            answer = _answer(await transport.send(Signal.LOGS, body))
            if answer.verdict is not Verdict.ACCEPTED:
                return answer
        return ACCEPTED

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()


_ENVELOPE: Final = Envelope({"service.name": "tierwise-collector"}, scope="tierwise", schema_url="")


def _answer(reply: Reply) -> Answer:
    if reply.verdict is Reached.ACCEPTED and reply.rejected:
        return Answer(verdict=Verdict.REFUSED, message=f"record rejected: {reply.message}")
    return Answer(
        verdict=_VERDICTS[reply.verdict],
        message=reply.message,
        retry_after_seconds=reply.retry_after_seconds,
    )


def _alert_record(message: Message, alert: AlertEvent) -> bytes:
    labels, words = labels_of(alert), annotations_of(alert)
    known = _SEVERITIES.get(labels.get("severity", ""), _ERROR)
    attributes: dict[str, object] = {
        "tierwise.notice.id": message.message_id,
        "tierwise.alert.name": alert.name,
        "tierwise.alert.status": alert.status,
        "tierwise.alert.fingerprint": alert.fingerprint,
        "tierwise.alert.starts_ns": alert.starts_ns,
        **{f"tierwise.alert.label.{key}": value for key, value in labels.items()},
        **{f"tierwise.alert.annotation.{key}": value for key, value in words.items()},
    }
    if alert.role is not None:
        attributes["tierwise.role"] = alert.role
    if alert.ends_ns is not None:
        attributes["tierwise.alert.ends_ns"] = alert.ends_ns
    severity = known if alert.status == "firing" else _INFO
    return _record(alert.at_ns, ALERT_EVENT, severity, attributes)


def _details(message: Message) -> dict[str, object]:
    own: dict[str, object] = {
        "tierwise.notice.id": message.message_id,
        "tierwise.notice.summary": message.summary,
    }
    return own | {f"tierwise.notice.{key}": value for key, value in message.details.items()}


def _record(at_ns: int, event: str, severity: int, attributes: Mapping[str, object]) -> bytes:
    """Return one `LogRecord` in protobuf."""
    return b"".join((
        fixed64(1, at_ns),
        fixed64(11, at_ns),
        b"\x10" + varint(severity),
        field(3, _NAMES[severity].encode()),
        _VALUES.any(attributes),
        field(12, text(event)),
    ))  # fmt: skip
