"""E-mail through apprise's own library, to a server that speaks SMTP on this machine."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Any

import pytest

from collector.sinks.message import Message
from collector.sinks.opening import Surroundings, open_sink
from collector.sinks.sink import Answer, Verdict
from telemetry.alerting import NotifyConfig
from telemetry.clock import SystemClock
from telemetry.config import TelemetryConfig
from tests.collector.sinks.posting import NOW_NS, alert

WORDS = {
    "summary": "quality is under the floor", "evidence": "e-value 3,000", "examples": "d1, d2",
    "question": "Did the model change?",
}  # fmt: skip
MESSAGE = Message(
    message_id="tw_1", kind="alerts", at_ns=NOW_NS, summary="QualityLow",
    reason="FirstNotification", group_labels={"alertname": "QualityLow"},
    alerts=(replace(alert(), annotations=WORDS),),
)  # fmt: skip


@dataclass
class Post:
    """A post office: the envelopes and letters that it took, and how it answers RCPT."""

    port: int = 0
    envelopes: list[tuple[str, str]] = field(default_factory=list)
    letters: list[EmailMessage] = field(default_factory=list)
    rcpt: bytes = b"250 ok"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = ""
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode("ascii").rstrip("\r\n"):
            word = line.upper().partition(" ")[0]
            answer = b"250 ok"
            if word == "MAIL":
                sender = line.partition(":")[2].partition(" ")[0]
            elif word == "RCPT":
                answer = self.rcpt
                self.envelopes.append((sender, line.partition(":")[2]))
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                letter = email.message_from_bytes(raw[:-3], policy=email.policy.default)
                self.letters.append(letter)
            writer.write(answer + b"\r\n")
            if word == "QUIT":
                break
        writer.close()


@asynccontextmanager
async def posting() -> AsyncIterator[Post]:
    post = Post()
    server = await asyncio.start_server(post.serve, "127.0.0.1", 0)
    post.port = server.sockets[0].getsockname()[1]
    async with server:
        yield post


async def sent(port: int, **more: Any) -> Answer:
    address = (
        f"mailto://127.0.0.1:{port}?mode=insecure&from=tierwise@example.com&to=oncall@example.com"
    )
    config = NotifyConfig.model_validate(
        {"kind": "chat", "url_env": "URL", "allow_private": True} | more
    )
    environment = {"URL": address}
    around = Surroundings(environment=environment, clock=SystemClock(), telemetry=TelemetryConfig())
    made = open_sink("mail", config, around)
    try:
        return await made.send(MESSAGE)
    finally:
        await made.close()


async def test_a_letter_says_what_fires_to_whom_it_was_addressed() -> None:
    async with posting() as post:
        answer = await sent(post.port, console_url="https://t.example.com")
    assert (answer.verdict, answer.message) == (Verdict.ACCEPTED, "")
    assert post.envelopes == [("<tierwise@example.com>", "<oncall@example.com>")]
    (letter,) = post.letters
    assert letter["subject"] == "tierwise: alertname=QualityLow 1 firing"
    body = letter.get_body(("plain", "html"))
    assert body is not None
    text = body.get_content()
    assert "FIRING QualityLow (worker): quality is under the floor" in text
    for name in ("evidence", "examples", "question"):
        assert f"{name}: {WORDS[name]}" in text
    assert "https://t.example.com" in text
    assert "why now: FirstNotification" in text


@pytest.mark.parametrize("said", [b"451 try again later", b"550 no such person"])
async def test_a_letter_that_is_not_taken_is_sent_again(said: bytes) -> None:
    async with posting() as post:
        post.rcpt = said
        answer = await sent(post.port)
    # apprise says only that it failed, not whether for good; a day of tries is the end of it.
    assert answer.verdict is Verdict.RETRY
    assert post.letters == []


async def test_a_post_office_at_home_is_refused_unless_that_is_allowed() -> None:
    async with posting() as post:
        answer = await sent(post.port, allow_private=False)
    assert answer.verdict is Verdict.REFUSED
    assert "private" in answer.message
    assert post.envelopes == []
