"""Chat and e-mail: whatever address apprise knows, sent by a process of its own.

apprise looks names up, waits and reads as its hundred services do. In a process that is ended when
its time is over, with a network that knows only allowed addresses, that can harm nobody.
"""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from collector.sinks.bodies import words
from collector.sinks.message import Message
from collector.sinks.sink import MESSAGE_CHARS_MAX, TRY_SECONDS, Answer, Verdict

START_SECONDS: Final = 10.0  # for the process to come up on a busy machine, before the try begins
ANSWER_BYTES_MAX: Final = 4_096
# Of the environment: no secrets of others, no proxies.
_PASSED: Final = (
    "PATH", "LANG", "TMPDIR", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip


def apprise_is_there() -> bool:
    """Say whether the optional package is installed."""
    return importlib.util.find_spec("apprise") is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chat:
    """Sends words to one apprise address, which often holds a secret."""

    url: str = field(repr=False)
    allow_private: bool
    console_url: str | None

    async def send(self, message: Message) -> Answer:
        title, body = words(message, console_url=self.console_url)
        asked = {
            "url": self.url,
            "title": title,
            "body": body,
            "allow_private": self.allow_private,
            "seconds": TRY_SECONDS,
        }
        # Not asyncio's own, which would fork and with that disturb gRPC's threads.
        process = await asyncio.to_thread(_begin)
        try:
            said, _ = await asyncio.to_thread(
                process.communicate, json.dumps(asked).encode(), START_SECONDS + TRY_SECONDS
            )
        except subprocess.TimeoutExpired:
            return Answer(verdict=Verdict.RETRY, message=f"no answer within {TRY_SECONDS:g} s")
        finally:
            if process.poll() is None:
                process.kill()
                await asyncio.to_thread(process.communicate)
        return _answer(said[:ANSWER_BYTES_MAX])

    async def close(self) -> None:
        """Do nothing: no process outlives its message."""


def _begin() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "collector.sinks.chatchild"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={key: os.environ[key] for key in _PASSED if key in os.environ},
    )


def _answer(said: bytes) -> Answer:
    try:
        plain: dict[str, Any] = json.loads(said)
        return Answer(
            verdict=Verdict(plain["verdict"]), message=str(plain["message"])[:MESSAGE_CHARS_MAX]
        )
    except (ValueError, KeyError, TypeError):
        # It was ended from outside, most likely for its memory or its time.
        return Answer(verdict=Verdict.RETRY, message="the sending process ended without a word")
