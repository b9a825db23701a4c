"""PagerDuty's Events API v2: alerts trigger and resolve incidents, changes of policy never page.

A test is a change event too: it proves the routing key and wakes nobody.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from collector.alert_events import AlertEvent
from collector.sinks.bodies import link, rfc3339
from collector.sinks.door import Door
from collector.sinks.message import Message, annotations_of, labels_of
from collector.sinks.sink import ACCEPTED, Answer, Verdict

URL: Final = "https://events.pagerduty.com"
SUMMARY_CHARS_MAX: Final = 1_024
_SEVERITIES: Final = {
    "critical": "critical",
    "page": "critical",
    "error": "error",
    "warning": "warning",
    "ticket": "warning",
    "info": "info",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PagerDuty:
    """Sends events under one routing key."""

    url: str
    routing_key: str = field(repr=False)
    console_url: str | None
    door: Door

    async def send(self, message: Message) -> Answer:
        if message.kind != "alerts":
            return await self._post("/v2/change/enqueue", self._change(message))
        answer = ACCEPTED
        for alert in message.alerts:
            answer = await self._post("/v2/enqueue", self._event(alert))
            if answer.verdict is not Verdict.ACCEPTED:
                return answer
        return answer

    async def _post(self, path: str, event: dict[str, Any]) -> Answer:
        return await self.door.post(
            self.url.rstrip("/") + path,
            body=json.dumps({"routing_key": self.routing_key} | event).encode(),
            headers={"content-type": "application/json", "user-agent": "tierwise"},
        )

    def _event(self, alert: AlertEvent) -> dict[str, Any]:
        if alert.status == "resolved":
            return {"event_action": "resolve", "dedup_key": alert.fingerprint}
        labels, words = labels_of(alert), annotations_of(alert)
        where = link(self.console_url, alert)
        role = "" if alert.role is None else f" ({alert.role})"
        summary = words.get("summary") or words.get("reason", "")
        return {
            "event_action": "trigger",
            "dedup_key": alert.fingerprint,
            "client": "tierwise",
            "payload": {
                "summary": f"{alert.name}{role}: {summary}"[:SUMMARY_CHARS_MAX],
                "source": "tierwise",
                "severity": _SEVERITIES.get(labels.get("severity", ""), "error"),
                "timestamp": rfc3339(alert.starts_ns),
                "component": alert.role or "tierwise",
                "class": alert.name,
                "custom_details": labels | words,
            },
        } | ({"links": [{"href": where, "text": "tierwise"}]} if where else {})

    def _change(self, message: Message) -> dict[str, Any]:
        where = self.console_url
        return {
            "payload": {
                "summary": message.summary[:SUMMARY_CHARS_MAX],
                "source": "tierwise",
                "timestamp": rfc3339(message.at_ns),
                "custom_details": dict(message.details) | {"id": message.message_id},
            },
        } | ({"links": [{"href": where, "text": "tierwise"}]} if where else {})

    async def close(self) -> None:
        """Do nothing: no connection is kept."""
