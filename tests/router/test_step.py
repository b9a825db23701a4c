"""Callers that hang up, and steps that are served, refused or broken: each ends exactly once."""

import asyncio
import contextlib
import json
import logging
from dataclasses import replace

import pytest

from router.gateway import Load
from telemetry.errors import UpstreamError
from telemetry.records import RoleSource
from tests import streams, wire
from tests.harness import POLICY, Running, config_for, running, until
from tests.inprocess import EVENTS, JSON, Bench, Delivered, Script, make_bench

CHAT = "/v1/chat/completions"
ANSWER = b'{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1}}'


def ask(*, stream: bool = False, model: str = "tierwise/planner") -> bytes:
    return json.dumps({"model": model, "stream": stream, "messages": []}).encode()


class Silence:
    """A provider that stops at one phase of its answer and waits there for ever."""

    def __init__(self, phase: str, *, stream: bool) -> None:
        self.phase = phase
        self.reached = asyncio.Event()
        self._stream = stream

    async def __call__(self, got: wire.Got, writer: asyncio.StreamWriter) -> None:
        sent = streams.chat()
        head = wire.STREAM_HEAD
        first, rest = wire.chunk(sent[:600]), wire.chunk(sent[600:]) + b"0\r\n\r\n"
        if not self._stream:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            head += b"content-length: %d\r\n\r\n" % len(ANSWER)
            first, rest = ANSWER[:20], ANSWER[20:]
        for phase, piece in (("headers", head), ("first token", first), ("middle", rest)):
            if self.phase == phase:
                self.reached.set()
                await asyncio.Event().wait()
            writer.write(piece)
            await writer.drain()
        self.reached.set()


async def hang_up(at: Running, silence: Silence, *, stream: bool, wait_for: bytes) -> None:
    """Ask, read until ``wait_for`` is here and the provider is silent, then leave at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(wire.post(CHAT, ask(stream=stream)))
    await asyncio.wait_for(silence.reached.wait(), wire.READ_SECONDS)
    if wait_for:
        await asyncio.wait_for(reader.readuntil(wait_for), wire.READ_SECONDS)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["headers", "first token", "middle"])
async def test_a_hang_up_reaches_the_provider_and_is_recorded_once(
    phase: str, stream: bool
) -> None:
    silence = Silence(phase, stream=stream)
    async with wire.provider(silence) as upstream, running(config_for(upstream.port)) as at:
        before = asyncio.all_tasks()
        wait_for = streams.chat()[500:600] if stream and phase == "middle" else b""
        await hang_up(at, silence, stream=stream, wait_for=wait_for)
        await until(lambda: upstream.hangups == 1, what="the provider's hang-up")
        await until(lambda: at.kept.pairs, what="the outcome")
        await until(lambda: no_more_tasks(before), what="the end of every task")
        assert len(at.kept.pairs) == 1
        _, outcome = at.kept.pairs[0]
        assert outcome.status == 499
        assert outcome.error_code == "client_closed"
        assert [attempt.error_type for attempt in outcome.attempts] == ["client_closed"]
        assert outcome.cost_usd is None  # the provider may have billed, nobody knows what
        assert at.gateway.load.steps == 0
        assert len(upstream.got) == 1


def no_more_tasks(before: set["asyncio.Task[object]"]) -> bool:
    """Say whether no task is left that was not there before, but for the provider's own."""
    left = (repr(task) for task in asyncio.all_tasks() - before if not task.done())
    return all("provider.<locals>.connected" in task for task in left)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_after_the_last_byte_changes_nothing(stream: bool) -> None:
    silence = Silence("none", stream=stream)
    async with wire.provider(silence) as upstream, running(config_for(upstream.port)) as at:
        before = asyncio.all_tasks()
        wait_for = b"[DONE]\n\n" if stream else ANSWER[-20:]
        await hang_up(at, silence, stream=stream, wait_for=wait_for)
        await until(lambda: at.kept.pairs, what="the outcome")
        await until(lambda: no_more_tasks(before), what="the end of every task")
        ((_, outcome),) = at.kept.pairs
        assert outcome.status == 200
        assert outcome.error_code is None
        assert outcome.cost_usd is not None
        assert at.gateway.load.steps == 0


async def test_a_caller_that_leaves_before_its_body_is_whole_is_only_counted() -> None:
    async with (
        wire.provider(wire.whole(b"{}")) as upstream,
        running(config_for(upstream.port)) as at,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(wire.post(CHAT, ask(), headers={"content-length": "9999"}))
        await writer.drain()
        await until(lambda: at.gateway.load.steps == 1, what="the step's begin")
        writer.transport.abort()
        await until(lambda: at.kept.rejected, what="the rejection")
        await until(lambda: at.gateway.load.steps == 0, what="the step's end")
        assert at.kept.rejected == ["client_closed"]
        assert at.kept.pairs == []
        assert upstream.got == []


async def test_hang_ups_in_a_crowd_leave_nothing_behind() -> None:
    silence = Silence("middle", stream=True)
    async with wire.provider(silence) as upstream, running(config_for(upstream.port)) as at:
        before = asyncio.all_tasks()
        await asyncio.gather(
            *(hang_up(at, silence, stream=True, wait_for=b"chatcmpl") for _ in range(30))
        )
        await until(lambda: len(at.kept.pairs) == 30, what="every outcome")
        await until(lambda: no_more_tasks(before), what="the end of every task")
        await until(lambda: upstream.hangups == 30, what="every hang-up at the provider")
        assert {outcome.status for _, outcome in at.kept.pairs} == {499}
        assert len({decision.decision_id for decision, _ in at.kept.pairs}) == 30
        assert at.gateway.load.steps == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_at_any_moment_is_recorded_once(stream: bool) -> None:
    """Leave after each number of turns of the event loop, so that every await is hit."""
    bench = make_bench()
    pieces = [streams.chat()[:600], streams.chat()[600:]] if stream else [ANSWER]
    statuses = set()
    for turns in range(40):
        bench.upstream.scripts = [Script(pieces=pieces, headers=(EVENTS if stream else JSON,))]
        gone = asyncio.Event()
        step = asyncio.create_task(bench.post(CHAT, ask(stream=stream), hung_up=gone))
        for _ in range(turns):
            await asyncio.sleep(0)
        gone.set()
        await asyncio.wait_for(step, 5)
        assert len(bench.kept.pairs) == turns + 1
        statuses.add(bench.kept.pairs[-1][1].status)
        assert bench.gateway.load.steps == 0
    assert 200 in statuses
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_server_is_not_held_up() -> None:
    bench = make_bench()
    bench.upstream.scripts.append(asyncio.Event())
    step = asyncio.create_task(bench.post(CHAT, ask()))
    await until(lambda: bench.upstream.sent, what="the call")
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    ((_, outcome),) = bench.kept.pairs
    assert outcome.error_code == "client_closed"
    assert bench.gateway.load.steps == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError])
async def test_a_step_that_fails_while_its_last_bytes_go_out_is_recorded_once(
    fault: type[BaseException], stream: bool
) -> None:
    bench = make_bench()
    pieces = [streams.chat()] if stream else [ANSWER]
    bench.upstream.scripts.append(Script(pieces=pieces, headers=(EVENTS if stream else JSON,)))

    def break_at_the_end(delivered: Delivered) -> None:
        if delivered.ended:
            raise fault

    with contextlib.suppress(asyncio.CancelledError):
        await bench.post(CHAT, ask(stream=stream), on_piece=break_at_the_end)
    ((_, outcome),) = bench.kept.pairs
    assert outcome.cost_usd is not None
    assert bench.gateway.load.steps == 0


async def test_a_fault_of_our_own_costs_one_step_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = make_bench()
    bench.upstream.scripts.append(RuntimeError("boom sk-secret"))
    with caplog.at_level(logging.ERROR):
        delivered = await bench.post(CHAT, ask())
    assert delivered.status == 500
    error = json.loads(delivered.body)["error"]
    assert (error["type"], error["code"]) == ("internal", "internal")
    assert "sk-secret" not in delivered.body.decode()
    assert delivered.headers["x-tierwise-decision"] in error["message"]
    ((decision, outcome),) = bench.kept.pairs
    assert (outcome.status, outcome.error_code) == (500, "internal")
    assert decision.decision_id in caplog.text
    assert bench.gateway.load.steps == 0


async def test_a_gateway_that_is_full_or_draining_says_when_to_come_back() -> None:
    bench = make_bench()
    for load, code in (
        (Load(steps_max=0), "too_many_steps"),
        (Load(steps_max=9, draining=True), "draining"),
    ):
        full = Bench(
            gateway=replace(bench.gateway, load=load), upstream=bench.upstream, kept=bench.kept
        )
        delivered = await full.post(CHAT, ask())
        assert delivered.status == 503
        assert delivered.headers["retry-after"] == "1"
        assert json.loads(delivered.body)["error"]["code"] == code
    assert bench.upstream.sent == []
    assert bench.kept.pairs == []


async def test_an_answer_that_breaks_off_while_it_is_relayed_unread_does_not_end_well() -> None:
    bench = make_bench(answer_bytes_max=100)
    broken = UpstreamError("upstream_broken", "it broke off", hint="try again")
    pieces: list[bytes | UpstreamError] = [b"x" * 200, b"y" * 200, broken]
    bench.upstream.scripts.append(Script(pieces=pieces, headers=(JSON,)))
    delivered = await bench.post(CHAT, ask())
    assert delivered.body == b"x" * 200 + b"y" * 200
    assert not delivered.ended
    ((_, outcome),) = bench.kept.pairs
    assert outcome.error_code == "upstream_broken"
    assert outcome.attempts[-1].error_type == "upstream_error"


SOURCES = [
    ({"x-tierwise-role": "worker"}, "tierwise/planner", {}, "worker", RoleSource.HEADER),
    ({}, "tierwise/planner", {"role": "worker"}, "planner", RoleSource.ALIAS),
    ({}, "claude-tierwise-planner", {}, "planner", RoleSource.ALIAS),
    ({}, "tierwise/auto", {"role": "worker"}, "worker", RoleSource.METADATA),
    (
        {"baggage": "a=b,gen_ai.agent.name=planner"},
        "tierwise/auto",
        {},
        "planner",
        RoleSource.BAGGAGE,
    ),
    ({}, "tierwise/auto", {"role": 7}, "default", RoleSource.DEFAULT),
    ({}, "standin-mid", {}, "default", RoleSource.DEFAULT),
]


@pytest.mark.parametrize(("headers", "model", "metadata", "role", "source"), SOURCES)
async def test_a_role_is_read_from_the_first_source_that_names_one(
    headers: dict[str, str],
    model: str,
    metadata: dict[str, object],
    role: str,
    source: RoleSource,
) -> None:
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[ANSWER]))
    body = json.dumps({"model": model, "metadata": metadata, "messages": []}).encode()
    delivered: Delivered = await bench.post(CHAT, body, headers=headers)
    ((decision, _),) = bench.kept.pairs
    assert (decision.context.role, decision.context.role_source) == (role, source)
    assert delivered.headers["x-tierwise-role"] == role


@pytest.mark.parametrize(
    ("headers", "metadata", "session"),
    [
        ({"x-tierwise-session": "a", "x-session-id": "b"}, {}, "a"),
        ({"x-session-id": "b", "x-conversation-id": "c"}, {}, "b"),
        ({"x-conversation-id": "c"}, {"session_id": "d"}, "c"),
        ({"x-claude-code-session-id": "e"}, {}, "e"),
        ({"session-id": "f"}, {}, "f"),
        ({}, {"session_id": "d"}, "d"),
        ({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, {}, "ab" * 16),
        ({}, {}, None),
    ],
)
async def test_a_session_is_read_from_the_first_that_names_one(
    headers: dict[str, str], metadata: dict[str, object], session: str | None
) -> None:
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[ANSWER]))
    body = json.dumps({"model": "tierwise/auto", "metadata": metadata}).encode()
    await bench.post(CHAT, body, headers=headers)
    assert bench.kept.pairs[0][0].context.session == session


LEARNS = """
[roles.worker]
tier = "mid"
range = ["small", "frontier"]
learn = "observe"
quality_floor = 0.9
[alerts.cost]
budget_usd_per_day = 120
[alerts.quality]
sample = 1.0
"""


async def test_a_step_of_a_role_that_learns_names_its_cell() -> None:
    bench = make_bench(POLICY.replace(b'[roles.worker]\ntier = "mid"\n', LEARNS.encode()))
    bodies = [
        {"model": "tierwise/worker", "messages": [{"role": "user", "content": "```x```"}]},
        {"model": "tierwise/worker", "messages": [], "tools": [{"type": "function"}]},
        {"model": "tierwise/planner", "messages": []},
    ]
    for body in bodies:
        bench.upstream.scripts.append(Script(pieces=[ANSWER]))
        assert (await bench.post(CHAT, json.dumps(body).encode())).status == 200
    cells = [decision.cell for decision, _ in bench.kept.pairs]
    assert cells == ["worker||code", "worker||tools", None]
    assert bench.kept.pairs[2][0].context.shape is None  # nobody looks, nobody reads
