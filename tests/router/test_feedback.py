"""Feedback through the gateway's port: kept by a real console, or refused with a clear word."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.feedback import CALLS_MAX, FEEDBACK_BYTES_MAX, FEEDBACK_PATH, FeedbackDesk
from tests import wire
from tests.collector import conftest as collector
from tests.harness import Running, config_for, running
from tests.router.door import ENVIRONMENT, KEY, KEYS

TOKEN = "tw-collector-canary-0c9d8e7f"
GOOD = {"decision": "d-1", "name": "helpful", "score": 0.75}


@asynccontextmanager
async def gateway(
    console: str | None, *, token: str | None = None, keys: bool = False
) -> AsyncIterator[Running]:
    desk = None if console is None else FeedbackDesk(console=console, token=token)
    config = config_for(1, extra=KEYS if keys else "")
    async with running(config, environment=ENVIRONMENT, feedback=desk) as found:
        yield found


async def say(at: Running, body: Any, **headers: str) -> tuple[wire.Reply, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await wire.send(at.port, wire.post(FEEDBACK_PATH, content, headers=named))
    assert TOKEN not in str(reply)
    assert reply.headers["x-tierwise-decision"]
    assert reply.headers["traceparent"].startswith("00-")
    return reply, json.loads(reply.body)


def kept(console: collector.Running) -> list[dict[str, Any]]:
    return console.store.read(
        "SELECT name, score, authenticated FROM evaluations ORDER BY name", {}
    )


async def test_feedback_reaches_the_console_and_its_repetition_changes_nothing(
    tmp_path: Path,
) -> None:
    async with collector.running(tmp_path) as console, gateway(console.console) as at:
        reply, said = await say(at, GOOD)
        assert (reply.status, said["status"]) == (202, "accepted")
        reply, said = await say(at, GOOD)
        assert (reply.status, said["status"]) == (200, "duplicate")
        assert kept(console) == [{"name": "helpful", "score": 0.75, "authenticated": False}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**GOOD, "score": 7}, 422, "invalid_field"),
        ({**GOOD, "response_id": "r-1"}, 422, "invalid_field"),
        ({**GOOD, "colour": "blue"}, 422, "invalid_field"),
        (b"no json", 422, "invalid_field"),
    ],
)
@pytest.mark.parametrize("anthropic", [True, False])
async def test_what_the_console_refuses_is_said_in_the_callers_envelope(
    tmp_path: Path, body: Any, status: int, code: str, anthropic: bool
) -> None:
    headers = {"anthropic-version": "2023-06-01"} if anthropic else {}
    async with collector.running(tmp_path) as console, gateway(console.console) as at:
        reply, said = await say(at, body, **headers)
        assert reply.status == status
        assert said["error"]["code"] == code
        assert said["error"]["message"]
        if anthropic:
            assert said["type"] == "error"
            assert said["request_id"] == reply.headers["x-tierwise-decision"]
        else:
            assert said["error"]["param"] is None
        assert kept(console) == []


async def test_only_a_caller_with_a_key_speaks_with_the_collectors_token(tmp_path: Path) -> None:
    async with collector.running(tmp_path, token=TOKEN) as console:
        async with gateway(console.console, token=TOKEN, keys=True) as at:
            for key in ("", "Bearer wrong"):
                reply, said = await say(at, GOOD, authorization=key)
                assert reply.status == 401
                assert said["error"]["type"] == "unauthorized"
            reply, _ = await say(at, GOOD, authorization=f"Bearer {KEY}")
            assert reply.status == 202
        async with gateway(console.console, token=TOKEN) as at:
            # Without client keys anybody may call, and the caller's own header stays here.
            reply, _ = await say(at, {**GOOD, "name": "rude"}, authorization="Bearer anything")
            assert reply.status == 202
        assert [(row["name"], row["authenticated"]) for row in kept(console)] == [
            ("helpful", True),
            ("rude", False),
        ]


async def test_a_console_that_is_away_or_strange_gives_a_clear_503() -> None:
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async def distrusting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    consoles: list[str | None] = [None, "http://127.0.0.1:1"]
    servers = [await asyncio.start_server(each, "127.0.0.1", 0) for each in (strange, distrusting)]
    consoles += [f"http://127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in servers]
    for console in consoles:
        async with gateway(console, token=TOKEN) as at:
            reply, said = await say(at, GOOD)
            assert reply.status == 503
            assert (said["error"]["type"], said["error"]["code"]) == (
                "overloaded",
                "collector_away",
            )
    for each in servers:
        each.close()
        await each.wait_closed()


async def test_a_body_over_the_limit_is_refused_here() -> None:
    async with gateway("http://127.0.0.1:1") as at:
        reply, said = await say(at, b"x" * (FEEDBACK_BYTES_MAX + 1))
        assert (reply.status, said["error"]["code"]) == (413, "body_too_large")


async def test_a_console_that_stays_silent_holds_a_bounded_number_of_calls() -> None:
    let_go = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with gateway(f"http://127.0.0.1:{port}") as at:
        asked = [asyncio.create_task(say(at, GOOD)) for _ in range(CALLS_MAX + 1)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        (first,) = done
        assert first.result()[0].headers["retry-after"] == "1"
        let_go.set()
        server.close()
        assert {reply.status for reply, _ in await asyncio.gather(*asked)} == {503}
    await server.wait_closed()
