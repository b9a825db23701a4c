"""Many things going wrong at once: total failure, callers that leave, callers that do not read."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections import Counter

import pytest

from router.breaker import RETRY_FLOOR_PER_SECOND
from telemetry.records import Dialect, Outcome
from tests import streams, wire
from tests.faults.answers import whole
from tests.faults.behaviours import BEHAVIOURS, huge_line
from tests.faults.house import CALLER_CANARY, CHECKS, House, ask, house, resident_bytes
from tests.harness import until

MIB = 1_048_576
REQUESTS = 400
HEADERS = {"authorization": f"Bearer {CALLER_CANARY}"}


def both_down(behaviour: str) -> bytes:
    """Return a policy whose every tier misbehaves."""
    return f"""
schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["bad/fault-{behaviour}"]
[tiers.mid]
models = ["good/fault-{behaviour}"]
[roles.held]
tier = "small"
stream = "hold"
{CHECKS}
[roles.default]
tier = "small"
""".encode()


def calls(at: House) -> int:
    return len(at.faults.contacts) + len(at.healthy.contacts)


async def post(at: House, *, stream: bool) -> wire.Reply:
    asked = wire.post(streams.PATHS[Dialect.CHAT], ask("held", stream=stream), headers=HEADERS)
    return await wire.send(at.at.port, asked)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [("status_503", 503), ("close_before_headers", 502), ("error_first_event", 200)],
)
async def test_when_everything_is_down_the_load_grows_by_a_fifth_at_most(
    behaviour: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(behaviour, caplog, written=both_down) as at:
        began = time.monotonic()
        stream = status == 200
        room = asyncio.Semaphore(20)

        async def one() -> wire.Reply:
            async with room:
                return await post(at, stream=stream)

        replies = await asyncio.gather(*(one() for _ in range(REQUESTS)))
        took = time.monotonic() - began
        assert {reply.status for reply in replies} == {status}
        allowed = 1.2 * REQUESTS + 3 + RETRY_FLOOR_PER_SECOND * took
        assert REQUESTS <= calls(at) <= allowed
        outcomes = [outcome for _, outcome in await at.recorded(REQUESTS)]
        assert sum(len(outcome.attempts) for outcome in outcomes) == calls(at)
        await at.check(replies[-1], outcomes)
        # Nobody is kept away for ever: the first step after the recovery is answered.
        for server in (at.faults, at.healthy):
            server.switch(behaviour, to="ok")
        assert (await post(at, stream=False)).body == whole(Dialect.CHAT)


OUTAGE_SECONDS = 120.0 if os.environ.get("TIERWISE_LONG") else 10.0
CALLERS = 8


@pytest.mark.timeout(OUTAGE_SECONDS + 60.0)
async def test_an_outage_that_lasts_costs_providers_a_fifth_more_at_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    behaviour = "status_503"
    async with house(behaviour, caplog, written=both_down) as at:
        ends = time.monotonic() + OUTAGE_SECONDS
        statuses: Counter[int] = Counter()
        attempts, met = 0, 0

        def tally() -> None:
            """Count what was recorded and met, and drop it: memory is looked at afterwards."""
            nonlocal attempts, met
            attempts += sum(len(outcome.attempts) for _, outcome in at.at.kept.pairs)
            met += calls(at)
            for kept in (at.at.kept.pairs, at.at.kept.baggage, at.at.kept.contents):
                kept.clear()
            for server in (at.faults, at.healthy):
                server.contacts.clear()

        async def keeps_asking() -> None:
            while time.monotonic() < ends:
                statuses[(await post(at, stream=False)).status] += 1
                if len(at.at.kept.pairs) > 500:
                    tally()
                await asyncio.sleep(0.01)

        await asyncio.gather(*(keeps_asking() for _ in range(CALLERS)))
        await at.check(None, [])
        tally()
        asked = statuses.total()
        assert statuses == {503: asked}
        assert attempts == met
        assert asked <= met <= 1.2 * asked
        for server in (at.faults, at.healthy):
            server.switch(behaviour, to="ok")
        assert (await post(at, stream=False)).body == whole(Dialect.CHAT)


PHASES = {
    "before headers": "silent",
    "waiting for the first token": "headers_then_silent",
    "mid-stream": "silent_mid_stream",
}


def leave(writer: asyncio.StreamWriter, how: str) -> None:
    """Close a connection with FIN, as clients do, or with RST, as crashes do."""
    if how == "reset":
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("role", ["alone", "held"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_caller_that_leaves_ends_the_providers_work_too(
    phase: str, stream: bool, role: str, *, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(PHASES[phase], caplog, silence=20.0) as at:
        _, writer = await asyncio.open_connection("127.0.0.1", at.at.port)
        body = ask(role, stream=stream)
        writer.write(wire.post(streams.PATHS[Dialect.CHAT], body, headers=HEADERS))
        await until(lambda: at.faults.contacts, what="the call")
        contact = at.faults.contacts[0]
        if phase != "before headers":
            await until(lambda: contact.bytes_sent, what="the beginning of the answer")
        await asyncio.sleep(0.05)
        leave(writer, how)
        await until(contact.gone.is_set, what="the provider's release")
        ((_, outcome),) = await at.recorded(1)
        assert (outcome.status, outcome.error_code) == (499, "client_closed")
        assert [attempt.error_type for attempt in outcome.attempts] == ["client_closed"]
        assert outcome.cost_usd is None
        assert at.contacts() == [PHASES[phase]]
        await at.check(None, [outcome])


async def test_a_caller_that_leaves_after_the_last_byte_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house("ok", caplog) as at:
        for role in ("alone", "held"):
            for stream in (True, False):
                reply, outcome = await at.post(Dialect.CHAT, role, stream=stream)
                assert outcome.status == 200
                assert outcome.cost_usd is not None
                await at.check(reply, [outcome])


async def storm(at: House, callers: int, *, role: str, stream: bool) -> list[Outcome]:
    """Have so many callers ask, and all leave at once when the provider has met them."""
    asked = wire.post(streams.PATHS[Dialect.MESSAGES], ask(role, stream=stream), headers=HEADERS)
    met = len(at.faults.contacts)
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", at.at.port) for _ in range(callers))
    )
    for _, writer in opened:
        writer.write(asked)
    await until(lambda: len(at.faults.contacts) == met + callers, what=f"{callers} calls")
    for number, (_, writer) in enumerate(opened):
        leave(writer, "close" if number % 2 else "reset")
    outcomes = [outcome for _, outcome in await at.recorded(callers)]
    await until(
        lambda: all(contact.gone.is_set() for contact in at.faults.contacts),
        what="the providers' release",
    )
    return outcomes


@pytest.mark.parametrize(
    ("behaviour", "role", "stream"),
    [("silent_mid_stream", "alone", True), ("silent", "held", False)],
)
async def test_a_storm_of_a_thousand_callers_that_leave_leaves_nothing_behind(
    behaviour: str, role: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(behaviour, caplog, silence=60.0) as at:
        at.at.gateway.load.steps_max = 1_000
        for _ in range(2):
            # What a thousand connections at once made the process ask for, it keeps for the next
            # thousand: these must not add to it.
            at.idle_bytes = max(at.idle_bytes, resident_bytes())
            outcomes = await storm(at, 1_000, role=role, stream=stream)
            assert {(outcome.status, outcome.error_code) for outcome in outcomes} == {
                (499, "client_closed")
            }
            assert [len(outcome.attempts) for outcome in outcomes] == [1] * 1_000
            await at.check(None, outcomes)
        # Who stays is served as if nothing had been.
        at.faults.switch(behaviour, to="ok")
        reply, outcome = await at.post(Dialect.CHAT, role, stream=False)
        assert reply.body == whole(Dialect.CHAT)
        await at.check(reply, [outcome])


async def test_a_caller_that_does_not_read_holds_up_its_provider_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house("huge_line", caplog) as at:
        at.faults.behaviours = {**BEHAVIOURS, "huge_line": huge_line(96 * MIB)}
        _, writer = await asyncio.open_connection("127.0.0.1", at.at.port, limit=65_536)
        body = ask("alone", stream=True)
        writer.write(wire.post(streams.PATHS[Dialect.CHAT], body, headers=HEADERS))
        await until(lambda: at.faults.contacts, what="the call")
        contact = at.faults.contacts[0]
        sent = -1
        while contact.bytes_sent != sent:
            sent = contact.bytes_sent
            await asyncio.sleep(0.3)
        assert 0 < sent < 64 * MIB
        other = wire.post(
            streams.PATHS[Dialect.CHAT], ask("default", stream=False), headers=HEADERS
        )
        assert (await wire.send(at.at.port, other)).body == whole(Dialect.CHAT)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await until(contact.gone.is_set, what="the provider's release")
        outcomes = [outcome for _, outcome in await at.recorded(2)]
        assert sorted(outcome.status for outcome in outcomes) == [200, 499]
        await at.check(None, outcomes)


async def test_a_caller_that_takes_nothing_for_too_long_is_hung_up_on_and_still_costs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house("huge_line", caplog, write=0.5) as at:
        at.faults.behaviours = {**BEHAVIOURS, "huge_line": huge_line(96 * MIB)}
        _, writer = await asyncio.open_connection("127.0.0.1", at.at.port, limit=65_536)
        body = ask("alone", stream=True)
        writer.write(wire.post(streams.PATHS[Dialect.CHAT], body, headers=HEADERS))
        await until(lambda: at.faults.contacts, what="the call")
        contact = at.faults.contacts[0]
        await until(contact.gone.is_set, what="the provider's release")
        assert contact.bytes_sent < 64 * MIB
        ((_, outcome),) = await at.recorded(1)
        assert (outcome.status, outcome.error_code) == (499, "client_closed")
        assert [attempt.error_type for attempt in outcome.attempts] == ["client_closed"]
        await at.check(None, [outcome])
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("effects", [True, False])
async def test_an_idle_connection_that_closes_costs_a_second_sending_only_where_it_is_harmless(
    effects: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def written(_: str) -> bytes:
        role = f"[roles.alone]\nside_effects = {str(effects).lower()}\n[roles.default]\n"
        tiers = '[tiers.small]\nmodels = ["bad/fault-ok"]\n'
        return f'schema = 1\nladder = ["small"]\n{tiers}{role}'.encode()

    async with house("ok", caplog, written=written) as at:
        first, _ = await at.post(Dialect.CHAT, "alone", stream=False)
        assert first.body == whole(Dialect.CHAT)
        # The next request on the same connection is read and then left without an answer.
        at.faults.switch("ok", to="close_before_headers")
        second, outcome = await at.post(Dialect.CHAT, "alone", stream=False)
        assert second.status == 502
        assert len(outcome.attempts) == 1
        assert at.contacts() == ["ok"] + ["close_before_headers"] * (1 if effects else 2)
        await at.check(second, [outcome])
