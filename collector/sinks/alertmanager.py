"""A real Alertmanager: told of all that fires again and again, for it forgets what is not repeated.

It groups, silences and routes by itself. Source: Alertmanager's API v2 and its page for clients.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from collector.alert_events import AlertEvent
from collector.sinks.bodies import link, rfc3339
from collector.sinks.door import Door
from collector.sinks.message import Message, annotations_of, labels_of
from collector.sinks.sink import Answer

RESEND_SECONDS: Final = 60.0
VALID_SECONDS: Final = 4 * RESEND_SECONDS  # a firing alert ends by itself when we fall silent
RESOLVED_SECONDS: Final = 300.0  # how long after its end an alert is still named


@dataclass(frozen=True, kw_only=True, slots=True)
class Alertmanager:
    """POSTs alerts to `/api/v2/alerts` below a base URL."""

    url: str = field(repr=False)
    token: str | None = field(repr=False)
    console_url: str | None
    door: Door

    async def send(self, message: Message) -> Answer:
        return await self.state(message.alerts, now_ns=message.at_ns)

    async def state(self, alerts: Sequence[AlertEvent], *, now_ns: int) -> Answer:
        body = json.dumps([self._plain(alert, now_ns) for alert in alerts]).encode()
        headers = {"content-type": "application/json", "user-agent": "tierwise"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        return await self.door.post(
            f"{self.url.rstrip('/')}/api/v2/alerts", body=body, headers=headers
        )

    def _plain(self, alert: AlertEvent, now_ns: int) -> dict[str, Any]:
        until = now_ns + int(VALID_SECONDS * 1e9)
        plain: dict[str, Any] = {
            "labels": labels_of(alert),
            "annotations": annotations_of(alert),
            "startsAt": rfc3339(alert.starts_ns),
            "endsAt": rfc3339(until if alert.ends_ns is None else alert.ends_ns),
        }
        where = link(self.console_url, alert)
        return plain | ({"generatorURL": where} if where else {})

    async def close(self) -> None:
        """Do nothing: no connection is kept."""
