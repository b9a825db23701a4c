"""A webhook: Alertmanager's v4 body under the signature of Standard Webhooks."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Final

from collector.sinks.bodies import webhook_body
from collector.sinks.door import Door
from collector.sinks.message import Message
from collector.sinks.sink import Answer
from telemetry.clock import Clock
from telemetry.errors import ConfigError

SECRET_PREFIX: Final = "whsec_"


def signature(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the `webhook-signature` header.

    Source: the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`, in base64.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def secret_of(text: str, *, source: str) -> bytes:
    """Return the bytes of a signing secret, written as `whsec_` and base64.

    Raises:
        ConfigError: naming ``source`` but never the text.
    """
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise ConfigError(
            f"{source} is not a signing secret",
            hint=f"write {SECRET_PREFIX} and the base64 of 24 to 64 random bytes",
        )
    return secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """POSTs to one URL; without a secret nothing is signed."""

    name: str
    url: str = field(repr=False)  # its path may be the secret
    secret: bytes | None = field(repr=False)
    console_url: str | None
    door: Door
    clock: Clock

    async def send(self, message: Message) -> Answer:
        body = json.dumps(
            webhook_body(message, receiver=self.name, console_url=self.console_url)
        ).encode()
        timestamp = self.clock.now_ns() // 1_000_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "tierwise",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(timestamp),
        }
        if self.secret is not None:
            headers["webhook-signature"] = signature(
                self.secret, message_id=message.message_id, timestamp=timestamp, body=body
            )
        return await self.door.post(self.url, body=body, headers=headers)

    async def close(self) -> None:
        """Do nothing: no connection is kept."""
