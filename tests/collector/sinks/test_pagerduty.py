"""What PagerDuty is sent keeps the rules that its Events API v2 publishes.

Sources: "Send an Alert Event", "Send a Change Event" and "Events API v2 Overview" of PagerDuty's
developer documentation. The service itself was never called.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pytest

from collector.sinks.door import Door
from collector.sinks.message import Message, trial
from collector.sinks.pagerduty import PagerDuty
from collector.sinks.sink import Verdict
from telemetry.clock import SystemClock
from tests.collector.sinks.posting import NOW_NS, alert
from tests.collector.sinks.receiver import Receiver, answering, receiving

KEY: Final = "0123456789abcdef0123456789abcdef"
BYTES_MAX: Final = 512 * 1024
ALERT_FIELDS: Final = {
    "routing_key", "event_action", "dedup_key", "payload", "images", "links", "client",
    "client_url",
}  # fmt: skip
PAYLOAD_FIELDS: Final = {
    "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
}  # fmt: skip
CHANGE_FIELDS: Final = {"routing_key", "payload", "links"}
CHANGE_PAYLOAD_FIELDS: Final = {"summary", "source", "timestamp", "custom_details"}


def faults(path: str, body: bytes) -> list[str]:
    """Return what breaks a published rule; nothing when all is well."""
    event: dict[str, Any] = json.loads(body)
    found = [] if len(body) <= BYTES_MAX else ["over 512 KB"]
    if len(event["routing_key"]) != 32:
        found.append("routing_key is not 32 characters")
    change = path == "/v2/change/enqueue"
    found += sorted(set(event) - (CHANGE_FIELDS if change else ALERT_FIELDS))
    if not change:
        if event["event_action"] not in ("trigger", "acknowledge", "resolve"):
            found.append("event_action")
        if not 0 < len(event["dedup_key"]) <= 255:
            found.append("dedup_key")
        if event["event_action"] != "trigger":
            return found
    found += payload_faults(event["payload"], change=change)
    for link in event.get("links", []):
        if set(link) - {"href", "text"} or not isinstance(link["href"], str):
            found.append("links")
    return found


def payload_faults(payload: dict[str, Any], *, change: bool) -> list[str]:
    found = sorted(set(payload) - (CHANGE_PAYLOAD_FIELDS if change else PAYLOAD_FIELDS))
    if not 0 < len(payload["summary"]) <= 1_024:
        found.append("summary")
    if not payload["source"]:
        found.append("source")
    if not change and payload["severity"] not in ("critical", "error", "warning", "info"):
        found.append("severity")
    if datetime.fromisoformat(payload["timestamp"]).tzinfo is None:
        found.append("timestamp")
    if not isinstance(payload.get("custom_details", {}), dict):
        found.append("custom_details")
    for name in ("component", "group", "class"):
        if not isinstance(payload.get(name, ""), str):
            found.append(name)
    return found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        made.behave = answering(202)
        yield made


def sink(receiver: Receiver, *, console_url: str | None = "https://t.example.com") -> PagerDuty:
    door = Door(allow_private=True, clock=SystemClock())
    return PagerDuty(url=receiver.url, routing_key=KEY, console_url=console_url, door=door)


def alerts_of(*alerts: Any) -> Message:
    return Message(message_id="tw_1", kind="alerts", at_ns=NOW_NS, summary="", alerts=alerts)


# No alert of ours has more than nine words; in JSON each of these letters takes six bytes.
WORDY = replace(
    alert(), annotations={f"word{number}": "é" * 5_000 for number in range(12)} | {"summary": ""}
)
MESSAGES: Final = {
    "begins": alerts_of(alert()),
    "over all roles": alerts_of(alert("CostHigh", None)),
    "a ticket": alerts_of(alert("TaskCap", severity="ticket")),
    "of unknown severity": alerts_of(alert("TaskCap", severity="none")),
    "wordy": alerts_of(WORDY),
    "a long name": alerts_of(alert("A" * 3_000, "r" * 3_000)),
    "ends": alerts_of(alert(status="resolved")),
    "a change": Message(
        message_id="tw_2", kind="change", at_ns=NOW_NS, summary="Revision r is in force" * 100,
        details={"author": "kim", "reason": "a trial"},
    ),
    "a test": trial("tw_3", at_ns=NOW_NS, sink="pagerduty"),
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("console_url", ["https://t.example.com", None])
async def test_every_body_keeps_the_published_rules(
    message: Message, console_url: str | None, receiver: Receiver
) -> None:
    answer = await sink(receiver, console_url=console_url).send(message)
    assert answer.verdict is Verdict.ACCEPTED
    (sent,) = receiver.received
    assert faults(sent.path, sent.body) == []
    assert sent.headers["content-type"] == "application/json"
    paths = {"alerts": "/v2/enqueue"}
    assert sent.path == paths.get(message.kind, "/v2/change/enqueue")


async def test_what_it_finds_wrong_is_in_the_answer_in_its_words(receiver: Receiver) -> None:
    async def refusing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = b'{"status": "invalid event", "errors": ["Length of \'routing_key\' is incorrect"]}'
        writer.write(b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))

    receiver.behave = refusing
    answer = await sink(receiver).send(MESSAGES["begins"])
    assert answer.verdict is Verdict.REFUSED
    assert "routing_key" in answer.message
