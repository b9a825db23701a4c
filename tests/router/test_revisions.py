"""The talk about the standing policy: news at once, nonsense survived, the last good one kept."""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from learning.revision import Revision
from learning.standing import Standing
from router import revisions
from router.decider import Decider
from router.revisions import BYTES_MAX, FILE, PATH, QUICK_SECONDS, REFUSED_SECONDS, Revisions
from telemetry.clock import SystemClock
from telemetry.metrics import Meters
from tests.collector.conftest import running
from tests.harness import until
from tests.inprocess import Script, make_bench

NEWS_SECONDS_MAX = 2.0
TOKEN = "collector-token-5d41"


def standing(share: float) -> Standing:
    shares = {"worker||": {"small/step": share, "frontier/accept": 1.0 - share}}
    return Standing(
        revision=Revision(policy_hash="p", parent=None, shares=shares, evidence={"worker||": {}})
    )


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True)
class Console:
    """A collector's console as far as gateways ask it about the standing policy."""

    url: str = ""
    standing: Standing = field(default_factory=Standing)
    odd: Answer | None = None  # what it answers instead
    asked: list[web.Request] = field(default_factory=list)
    hanging: int = 0  # requests that wait for news
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def tell(self, found: Standing) -> None:
        async with self.changed:
            self.standing = found
            self.changed.notify_all()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.odd is not None:
            return await self.odd(request)
        known, wait = request.headers.get("if-none-match"), float(request.query["wait"])
        self.hanging += 1
        try:
            async with asyncio.timeout(wait), self.changed:
                await self.changed.wait_for(lambda: self.standing.etag != known)
        except TimeoutError:
            pass
        finally:
            self.hanging -= 1
        headers = {"etag": self.standing.etag}
        if self.standing.etag == known:
            return web.Response(status=304, headers=headers)
        return web.Response(
            text=self.standing.text, content_type="application/json", headers=headers
        )


@contextlib.asynccontextmanager
async def console() -> AsyncIterator[Console]:
    made = Console()
    app = web.Application()
    app.router.add_get(PATH, made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def talk(
    url: str, folder: Path, *, clock: SystemClock | None = None, token: str | None = None
) -> AsyncIterator[Revisions]:
    made = Revisions(
        Decider(),
        url=url,
        token=token,
        state_dir=folder,
        clock=clock or SystemClock(),
        rng=random.Random(1),
        meters=Meters(),
    )
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def knows(found: Revisions, wanted: Standing) -> None:
    """Return once ``wanted`` decides; fail when that takes longer than it may."""
    async with asyncio.timeout(NEWS_SECONDS_MAX):
        while found.decider.standing != wanted:
            await asyncio.sleep(0.01)


class Impatient(SystemClock):
    """A clock that notes the pauses and makes them short."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)


async def test_a_change_is_known_within_two_seconds_and_asked_for_by_its_tag(
    tmp_path: Path,
) -> None:
    async with console() as at:
        await at.tell(standing(0.1))
        async with talk(at.url, tmp_path, token=TOKEN) as found:
            await knows(found, standing(0.1))
            for share in (0.2, 0.3, 0.4):
                await until(lambda: at.hanging, what="a request that waits")
                await at.tell(standing(share))
                await knows(found, standing(share))
            tags = [request.headers.get("if-none-match") for request in at.asked]
            assert tags[:3] == [None, standing(0.1).etag, standing(0.2).etag]
            assert {r.headers["authorization"] for r in at.asked} == {f"Bearer {TOKEN}"}
            assert found.error is None
            assert found.state()["revision"] == standing(0.4).revision.revision_id  # type: ignore[union-attr]


async def test_the_real_collector_is_understood(tmp_path: Path) -> None:
    made = standing(0.5).revision
    assert made is not None
    async with (
        running(tmp_path, token=TOKEN) as collector,
        talk(collector.console, tmp_path / "state", token=TOKEN) as found,
    ):
        await until(lambda: found.state()["confirmed_seconds_ago"] is not None, what="an answer")
        collector.revisions.submit(
            made, author="learner", trigger="test", now_ns=1, activate=True, note={}
        )
        async with asyncio.timeout(NEWS_SECONDS_MAX):
            while found.decider.standing.revision != made:
                await asyncio.sleep(0.01)
        assert found.error is None


async def test_a_collector_that_asks_for_another_token_means_the_declared_policy(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, token=TOKEN) as collector,
        talk(collector.console, tmp_path / "state", token="another") as found,
    ):
        await until(lambda: found.error, what="the refusal")
        assert "401" in str(found.error)
        assert found.decider.standing == Standing()


async def test_the_last_good_one_is_kept_for_a_start_while_the_collector_is_away(
    tmp_path: Path,
) -> None:
    async with console() as at:
        await at.tell(standing(0.7))
        async with talk(at.url, tmp_path) as found:
            await until((tmp_path / FILE).exists, what="the file")
            await knows(found, standing(0.7))
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]
    async with talk(at.url, tmp_path) as found:
        assert found.decider.standing == standing(0.7)  # at once, before anybody could be asked
        await until(lambda: found.error, what="the failure")
        assert found.decider.standing == standing(0.7)


BROKEN = {
    "empty": b"",
    "torn": standing(0.5).text.encode()[:-40],
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "impossible": standing(0.5)
    .text.replace('\\"frontier/accept\\":0.5', '\\"a/step\\":9')
    .encode(),
    "another format": b'{"format":99}',
    "huge": b" " * (BYTES_MAX + 1),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_file_means_the_declared_policy_and_is_named_in_the_log(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(BROKEN[name])
    async with console() as at:
        at.odd = hang
        async with talk(at.url, tmp_path) as found:
            assert found.decider.standing == Standing()
            assert f"{FILE} cannot be used, the declared policy decides" in caplog.text
            at.odd = None
    async with console() as at:
        await at.tell(standing(0.2))
        async with talk(at.url, tmp_path) as found:
            await knows(found, standing(0.2))


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody waits any more")


async def huge(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"etag": '"huge"'})
    await reply.prepare(request)
    piece = b" " * 262_144
    with contextlib.suppress(ConnectionError):
        for _ in range(BYTES_MAX // len(piece) + 2):
            await reply.write(piece)
    return reply


async def cut(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"etag": '"cut"', "content-length": "5000"})
    await reply.prepare(request)
    await reply.write(standing(0.9).text.encode()[:100])
    assert request.transport is not None
    request.transport.abort()
    return reply


def fixed(status: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


ODD: dict[str, Answer] = {
    "garbage": fixed(200, "{]"),
    "another document": fixed(200, json.dumps({"tiers": ["small"]})),
    "an impossible one": fixed(200, BROKEN["impossible"].decode(), etag='"x"'),
    "nothing": fixed(200),
    "a page": fixed(200, "<html>" * 1_000),
    "an error": fixed(500, "oops"),
    "busy": fixed(503, "later"),
    "a redirect": fixed(302, location="http://127.0.0.1:9/elsewhere"),
    "an odd status": fixed(204),
    "too much": huge,
    "half": cut,
}


@pytest.mark.parametrize("name", ODD)
async def test_what_makes_no_sense_leaves_the_last_good_one_and_costs_no_step(
    name: str, tmp_path: Path
) -> None:
    async with console() as at:
        await at.tell(standing(0.7))
        clock = Impatient()
        async with talk(at.url, tmp_path, clock=clock) as found:
            await knows(found, standing(0.7))
            await until(lambda: at.hanging, what="a request that waits")
            at.odd = ODD[name]
            await at.tell(standing(0.8))  # wakes the request that hangs
            await knows(found, standing(0.8))
            await until(lambda: found.error, what="the failure")
            asked = len(at.asked)
            await until(lambda: len(at.asked) > asked + 1, what="more attempts")
            assert found.decider.standing == standing(0.8)
            bench = make_bench()
            bench.gateway.decider.take(found.decider.standing)
            bench.upstream.scripts.append(Script(pieces=[b"{}"]))
            body = b'{"model": "tierwise/worker", "messages": []}'
            assert (await bench.post("/v1/chat/completions", body)).status == 200
            at.odd = None
            await at.tell(standing(0.9))
            await knows(found, standing(0.9))
            await until(lambda: found.error is None, what="the error's end")
            assert max(clock.pauses) <= 1.0


async def test_a_collector_that_never_answers_is_given_up_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(revisions, "SLACK_SECONDS", 0.05)
    async with console() as at:
        at.odd = hang
        async with talk(at.url, tmp_path, clock=Impatient()) as found:
            await until(lambda: len(at.asked) >= 3, what="more attempts")
            assert "TimeoutError" in str(found.error)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_means_the_declared_policy_and_is_said_once(
    status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with console() as at:
        await at.tell(standing(0.7))
        clock = Impatient()
        async with talk(at.url, tmp_path, clock=clock) as found:
            await knows(found, standing(0.7))
            await until(lambda: at.hanging, what="a request that waits")
            at.odd = fixed(status)
            await at.tell(standing(0.8))
            await knows(found, Standing())
            asked = len(at.asked)
            await until(lambda: len(at.asked) >= asked + 3, what="more attempts")
            said = [r for r in caplog.records if "refuses" in r.getMessage()]
            assert len(said) == 1
            assert found.state()["revision"] == "declared"
            assert max(clock.pauses) > REFUSED_SECONDS / 2
            at.odd = None
            await knows(found, standing(0.8))
            await until(lambda: found.error is None, what="the error's end")


async def test_a_collector_that_does_not_wait_is_not_asked_all_the_time(tmp_path: Path) -> None:
    async with console() as at:
        await at.tell(standing(0.7))
        clock = Impatient()
        async with talk(at.url, tmp_path, clock=clock) as found:
            await knows(found, standing(0.7))
            await until(lambda: at.hanging, what="a request that waits")
            at.odd = fixed(304)
            await at.tell(standing(0.8))
            await knows(found, standing(0.8))
            clock.pauses.clear()
            await until(lambda: len(clock.pauses) >= 20, what="more attempts")
            pauses = clock.pauses[1:]
            assert min(pauses) >= QUICK_SECONDS / 2
            assert max(pauses) <= QUICK_SECONDS
            assert len(set(pauses)) > 10  # jittered


async def test_a_disk_that_cannot_be_written_changes_nothing_but_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.write_bytes(b"a file stands where the folder should")
    caplog.set_level(logging.WARNING)
    async with console() as at:
        await at.tell(standing(0.1))
        async with talk(at.url, folder) as found:
            for share in (0.1, 0.2, 0.3):
                await at.tell(standing(share))
                await knows(found, standing(share))
            await until(lambda: "cannot be written" in caplog.text, what="the warning")
    assert caplog.text.count("cannot be written") == 1
