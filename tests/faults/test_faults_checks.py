"""Checks that hang, crash or always fail: a step is answered all the same, and its cost counted."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

import pytest

from telemetry.records import Dialect, Result
from tests import streams, wire
from tests.faults.answers import frames, whole
from tests.faults.house import CALLER_CANARY, House, ask, house
from tests.harness import until

DIALECTS = (Dialect.CHAT, Dialect.MESSAGES)
ROLES = """
schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["bad/fault-ok"]
[tiers.mid]
models = ["good/fault-ok"]
[roles.held]
tier = "small"
stream = "hold"
checks = [CHECK]
[roles.pass]
tier = "small"
checks = [CHECK]
[roles.strict]
tier = "small"
stream = "hold"
unpassed = "refuse"
checks = [CHECK]
[roles.default]
tier = "small"
"""
FAILS = """import sys; sys.stdin.read(); print('{"verdict": "fail", "score": 0.2}')"""
RAISES = "raise SystemExit(3)"
NONSENSE = "import sys; sys.stdin.read(); print('perhaps')"


def command(program: str) -> str:
    return json.dumps([sys.executable, "-S", "-E", "-c", program])


def with_check(check: str) -> bytes:
    return ROLES.replace("CHECK", check).encode()


class Judge:
    """An HTTP check that says pass once it is let go, and counts whom it kept waiting."""

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = asyncio.Event()

    async def __call__(self, got: wire.Got, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await self.let_go.wait()
        body = b'{"verdict": "pass"}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)


@contextlib.asynccontextmanager
async def judged(
    caplog: pytest.LogCaptureFixture, *, seconds: float
) -> AsyncIterator[tuple[House, Judge]]:
    judge = Judge()
    async with wire.provider(judge) as server:
        check = f'{{ check = "http", url = "http://127.0.0.1:{server.port}", seconds = {seconds} }}'
        async with house("ok", caplog, written=lambda _: with_check(check)) as at:
            yield at, judge
            await at.at.gateway.loaded().policy.close()


def exact(dialect: Dialect, *, stream: bool) -> bytes:
    return b"".join(frames(dialect)) if stream else whole(dialect)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "check",
    [
        f'{{ check = "command", argv = {command(RAISES)} }}',
        f'{{ check = "command", argv = {command(NONSENSE)} }}',
        '{ check = "command", argv = ["/nowhere/to/be/found"] }',
        '{ check = "http", url = "http://127.0.0.1:9", seconds = 0.5 }',
    ],
    ids=["exits with an error", "talks nonsense", "is not there", "cannot be reached"],
)
async def test_a_check_that_breaks_has_no_opinion_and_is_counted(
    check: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with house("ok", caplog, written=lambda _: with_check(check)) as at:
        for dialect in DIALECTS:
            reply, outcome = await at.post(dialect, "held", stream=stream)
            assert reply.body == exact(dialect, stream=stream)
            assert "x-tierwise-check" not in reply.headers
            assert outcome.quality is None
            assert len(outcome.attempts) == 1
            await at.check(reply, [outcome])
        await at.at.gateway.loaded().policy.close()
        assert "tierwise_check_errors_total" in at.at.gateway.meters.render().decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_check_that_always_fails_climbs_once_and_delivers_or_refuses(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check = f'{{ check = "command", argv = {command(FAILS)} }}'
    async with house("ok", caplog, written=lambda _: with_check(check)) as at:
        for dialect in DIALECTS:
            reply, outcome = await at.post(dialect, "held", stream=stream)
            assert reply.body == exact(dialect, stream=stream)
            assert reply.headers["x-tierwise-check"] == "fail"
            assert reply.headers["x-tierwise-replan"] == "true"
            assert [attempt.tier for attempt in outcome.attempts] == ["small", "mid"]
            assert (outcome.quality, outcome.quality_source) == (0.2, "command")
            await at.check(reply, [outcome])
            refused, outcome = await at.post(dialect, "strict", stream=stream)
            assert refused.status == 422
            assert json.loads(refused.body)["error"]["code"] == "check_failed"
            assert len(outcome.attempts) == 2
            await at.check(refused, [outcome])
        assert len(at.contacts()) == 8


async def test_a_check_that_hangs_costs_its_deadline_and_not_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with judged(caplog, seconds=0.2) as (at, judge):
        for stream in (True, False):
            reply, outcome = await at.post(Dialect.CHAT, "strict", stream=stream)
            assert reply.body == exact(Dialect.CHAT, stream=stream)
            assert outcome.attempts[0].verdicts == ()
        assert judge.asked == 2


async def test_a_check_that_keeps_hanging_is_switched_off_and_then_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with judged(caplog, seconds=0.05) as (at, judge):
        for _ in range(20):
            await at.post(Dialect.CHAT, "strict", stream=False)
        assert judge.asked == 13  # one more than a quarter of fifty
        _, outcome = await at.post(Dialect.CHAT, "strict", stream=False)
        assert [said.result for said in outcome.attempts[0].verdicts] == [Result.ABSTAIN]
        assert "is disabled" in caplog.text
        assert at.at.gateway.meters.value("tierwise_check_disabled", {"check": "http"}) == 1
        ready = await wire.send(at.at.port, b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert ready.status == 200, "a check is no reason to send nobody here"
        (warning,) = json.loads(ready.body)["warnings"]
        assert "check 'http' is disabled" in warning
        assert warning.startswith("roles.")
        # What a reload brings is asked anew.
        at.at.gateway.meters.know(roles=(), tiers=(), models=())
        assert at.at.gateway.meters.value("tierwise_check_disabled", {"check": "http"}) == 0


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_relayed_stream_ends_before_its_check_does(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    async with judged(caplog, seconds=20.0) as (at, judge):
        headers = {"authorization": f"Bearer {CALLER_CANARY}"}
        request = wire.post(streams.PATHS[dialect], ask("pass", stream=True), headers=headers)
        reply = await wire.send(at.at.port, request)  # and the caller hangs up
        assert reply.complete
        assert reply.body == exact(dialect, stream=True)
        await until(lambda: judge.asked == 1, what="the check")
        assert at.at.kept.pairs == []
        judge.let_go.set()
        ((_, outcome),) = await at.recorded(1)
        assert (outcome.status, outcome.quality) == (200, 1.0)
        assert outcome.cost_usd is not None


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_leaves_while_its_answer_is_checked_still_costs(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with judged(caplog, seconds=20.0) as (at, judge):
        _, writer = await asyncio.open_connection("127.0.0.1", at.at.port)
        headers = {"authorization": f"Bearer {CALLER_CANARY}"}
        asked = ask("held", stream=stream)
        writer.write(wire.post(streams.PATHS[Dialect.CHAT], asked, headers=headers))
        await until(lambda: judge.asked == 1, what="the check")
        writer.transport.abort()
        ((_, outcome),) = await at.recorded(1)
        assert outcome.status == 499
        assert outcome.cost_usd is not None
        assert outcome.cost_usd > 0.0
        assert len(outcome.attempts) == 1
        await at.check(None, [outcome])
