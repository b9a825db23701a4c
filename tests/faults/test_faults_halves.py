"""Callers that close their sending half after the request, and still read: they did not leave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from telemetry.records import Dialect
from tests import streams, wire
from tests.faults.answers import frames, whole
from tests.faults.house import CALLER_CANARY, ask, house
from tests.harness import until

HEADERS = {"authorization": f"Bearer {CALLER_CANARY}"}
ASKED = (("late", True), ("late", False), ("drip", True), ("ok", False))


@contextlib.asynccontextmanager
async def half_closing(
    port: int, dialect: Dialect, role: str, *, stream: bool
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send a step and close the sending half."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(wire.post(streams.PATHS[dialect], ask(role, stream=stream), headers=HEADERS))
    writer.write_eof()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def final(reader: asyncio.StreamReader) -> wire.Reply:
    """Return the reply behind the interim ones."""
    reply = await wire.read_reply(reader)
    while reply.status == 100:
        reply = await wire.read_reply(reader)
    return reply


@pytest.mark.parametrize(("behaviour", "stream"), ASKED)
async def test_a_caller_that_only_closed_its_sending_half_gets_its_whole_answer(
    behaviour: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(behaviour, caplog) as at:
        for dialect in (Dialect.CHAT, Dialect.MESSAGES):
            for role in ("alone", "held"):
                async with half_closing(at.at.port, dialect, role, stream=stream) as (reader, _):
                    reply = await asyncio.wait_for(final(reader), wire.READ_SECONDS)
                    assert await reader.read() == b"", "the connection is closed behind it"
                assert reply.complete
                assert reply.body == (b"".join(frames(dialect)) if stream else whole(dialect))
                ((_, outcome),) = await at.recorded(1)
                assert (outcome.status, outcome.error_code) == (200, None)
                assert outcome.cost_usd is not None
                assert outcome.cost_usd > 0.0
                await at.check(reply, [outcome])


@pytest.mark.parametrize("role", ["alone", "held"])
@pytest.mark.parametrize("behaviour", ["silent", "headers_then_silent"])
async def test_a_half_closed_caller_that_then_leaves_ends_the_providers_work(
    behaviour: str, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(behaviour, caplog, silence=20.0) as at:
        async with half_closing(at.at.port, Dialect.CHAT, role, stream=True):
            await until(lambda: at.faults.contacts, what="the call")
            contact = at.faults.contacts[0]
            await asyncio.sleep(0.3)
            assert not contact.gone.is_set()
        await until(contact.gone.is_set, what="the provider's release")
        ((_, outcome),) = await at.recorded(1)
        assert (outcome.status, outcome.error_code) == (499, "client_closed")
        await at.check(None, [outcome])
