"""A running gateway for tests: the real application on port 0, and a record of what it recorded."""

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

import uvicorn
import uvloop

from evals.standin.ledger import Entry
from evals.standin.running import Serving, serving
from router.app import Health, create_app
from router.breaker import Breakers, RetryBudget
from router.decider import Decider
from router.feedback import FeedbackDesk
from router.gateway import Gateway, Load
from router.patience import patient
from router.reload import build
from router.request import Limits
from router.sessions import Memory
from router.upstream import AiohttpUpstream, Upstream
from telemetry.clock import SystemClock
from telemetry.metrics import Meters
from telemetry.records import Decision, Outcome
from telemetry.spans import Content

TODAY = date(2026, 11, 20)
WAIT_SECONDS = 10.0

# US dollars per million tokens: input, output, cached read, cache write.
PRICES = {
    "standin-small": (0.1, 0.4, 0.01, 0.125),
    "standin-mid": (1.0, 4.0, 0.1, 1.25),
    "standin-frontier": (5.0, 25.0, 0.5, 6.25),
    "standin-embedding": (0.02, 0.0, 0.02, 0.02),
}

POLICY = b"""
schema = 1
ladder = ["small", "mid", "frontier"]

[tiers.small]
models = ["standin/standin-small", "embedder/standin-embedding"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]

[roles.planner]
tier = "frontier"
[roles.worker]
tier = "mid"
[roles.extractor]
tier = "small"
on_fail = "accept"
[roles.chatter]
tier = "mid"
range = ["mid", "frontier"]
[roles.default]
tier = "small"
"""


def config_for(
    port: int,
    *,
    dialects: tuple[str, ...] = ("chat", "responses", "messages"),
    extra: str = "",
    provider: str = "",
) -> bytes:
    """Return a tierwise.toml whose providers listen on ``port`` and have the tests' prices.

    ``provider`` goes into the table of the provider that speaks ``dialects``, ``extra`` to the
    end of the file. A second provider there makes embeddings.
    """
    spoken = ", ".join(f'"{dialect}"' for dialect in dialects)
    address = f'base_url = "http://127.0.0.1:{port}/v1"'
    lines = ["schema = 1", "[providers.standin]", address, f"dialects = [{spoken}]", provider]
    lines += ["[providers.embedder]", address, 'dialects = ["embeddings"]']
    for model, (plain, out, read, write) in PRICES.items():
        lines += [f'[prices."{named(model)}"]', f"input = {plain}", f"output = {out}"]
        lines += [f"cache_read = {read}", f"cache_write = {write}"]
    return "\n".join([*lines, extra]).encode()


def named(model: str) -> str:
    """Return a stand-in's model as the policy names it."""
    return f"{'embedder' if 'embedding' in model else 'standin'}/{model}"


Pair = tuple[Decision, Outcome]


class Kept:
    """A recorder that keeps each decision with its outcome; may be read from another thread."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.baggage: list[Mapping[str, str]] = []
        self.contents: list[Content | None] = []
        self.rejected: list[str] = []  # codes of steps that were refused before their decision
        self._changed = threading.Condition()

    def record(
        self,
        decision: Decision,
        outcome: Outcome,
        *,
        baggage: Mapping[str, str] = MappingProxyType({}),
        content: Content | None = None,
    ) -> None:
        with self._changed:
            self.pairs.append((decision, outcome))
            self.baggage.append(baggage)
            self.contents.append(content)
            self._changed.notify_all()

    def wait(self, count: int, *, since: int = 0) -> list[Pair]:
        """Return the pairs after the first ``since`` once there are ``count`` of them."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: len(self.pairs) >= since + count, timeout=WAIT_SECONDS
            )
            assert arrived, f"{len(self.pairs) - since} of {count} outcomes were recorded"
            return self.pairs[since:]


class KeepingMeters(Meters):
    """The real metrics, which also tell ``Kept`` of each rejection."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self._kept = kept

    def rejected(self, code: str) -> None:
        super().rejected(code)
        self._kept.rejected.append(code)


async def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait until ``condition`` holds; fail saying ``what`` did not happen."""
    ends = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < ends, f"{what} did not happen within {WAIT_SECONDS:g} s"
        await asyncio.sleep(0.005)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A gateway that listens."""

    gateway: Gateway
    kept: Kept
    port: int

    @property
    def origin(self) -> str:
        """What an Anthropic client takes as base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base URL."""
        return f"{self.origin}/v1"


def make_gateway(
    config: bytes,
    policy: bytes,
    *,
    upstream: Upstream,
    kept: Kept,
    environment: Mapping[str, str] | None = None,
    answer_bytes_max: int = 16_777_216,
    limits: Limits | None = None,
    content_bytes_max: int | None = None,
    directory: Path | None = None,
    feedback: FeedbackDesk | None = None,
) -> Gateway:
    """Return the parts that serve steps, wired as a gateway process wires them."""
    loaded = build(config, policy, environment=environment or {}, today=TODAY, directory=directory)
    clock, rng = SystemClock(), random.Random(7)
    return Gateway(
        loaded=lambda: loaded,
        decider=Decider(),
        upstream=upstream,
        recorder=kept,
        meters=KeepingMeters(kept),
        clock=clock,
        rng=rng,
        limits=limits or Limits(body_bytes=1_048_576, body_seconds=5.0),
        load=Load(steps_max=64),
        breakers=Breakers(clock=clock, rng=rng),
        retries=RetryBudget(clock=clock),
        memory=Memory(clock=clock),
        answer_bytes_max=answer_bytes_max,
        content_bytes_max=content_bytes_max,
        feedback=feedback,
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which are the test runner's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(
    config: bytes,
    policy: bytes = POLICY,
    *,
    environment: Mapping[str, str] | None = None,
    answer_bytes_max: int = 16_777_216,
    limits: Limits | None = None,
    content_bytes_max: int | None = None,
    directory: Path | None = None,
    feedback: FeedbackDesk | None = None,
) -> AsyncIterator[Running]:
    """Serve a gateway from the running event loop."""
    kept = Kept()
    loaded = build(config, policy, environment=environment or {}, today=TODAY, directory=directory)
    upstream = AiohttpUpstream(loaded.config.gateway)
    gateway = make_gateway(
        config,
        policy,
        upstream=upstream,
        kept=kept,
        environment=environment,
        answer_bytes_max=answer_bytes_max,
        limits=limits,
        content_bytes_max=content_bytes_max,
        directory=directory,
        feedback=feedback,
    )
    app = create_app(
        gateway,
        Health(
            version="0",
            worker="test",
            metrics=gateway.meters.render,
            reload_error=lambda: None,
            warnings=lambda: (),
        ),
    )
    server = _Server(
        uvicorn.Config(
            app,
            http=patient(
                head_seconds=WAIT_SECONDS,
                write_seconds=loaded.config.gateway.timeouts.write_seconds,
                connections_max=4_096,
            ),
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serve = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started or serve.done(), what="the gateway's start")
        try:
            yield Running(gateway=gateway, kept=kept, port=listening.getsockname()[1])
        finally:
            server.should_exit = True
            await serve
            await upstream.close()
            if feedback is not None:
                await feedback.close()


@dataclass(kw_only=True)
class House:
    """A gateway and a stand-in that share one event loop in a thread of their own."""

    gateway: Running
    standin: Serving
    since: int = 0
    billed_since: int = 0

    def mark(self) -> None:
        """Forget what was recorded and billed until now."""
        self.since = len(self.gateway.kept.pairs)
        self.billed_since = len(self.standin.standin.ledger.entries)

    def recorded(self, count: int = 1) -> list[Pair]:
        """Return the ``count`` steps recorded since the mark; more or fewer is a failure."""
        found = self.gateway.kept.wait(count, since=self.since)
        assert len(found) == count, f"{len(found)} outcomes instead of {count}"
        return found

    def billed(self) -> list[Entry]:
        """Return what the stand-in billed since the mark."""
        return list(self.standin.standin.ledger.entries)[self.billed_since :]


@contextlib.contextmanager
def house(
    policy: bytes = POLICY,
    *,
    provider: str = "",
    extra: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Run a gateway and its stand-in in a thread for as long as the block lasts.

    ``provider`` and ``extra`` are those of ``config_for``.
    """
    ready: list[House] = []
    failed: list[BaseException] = []
    started, stop = threading.Event(), threading.Event()

    async def main() -> None:
        async with serving() as standin:
            config = config_for(standin.port, provider=provider, extra=extra)
            async with running(config, policy, environment=environment) as gateway:
                ready.append(House(gateway=gateway, standin=standin))
                started.set()
                await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, name="house", daemon=True)
    thread.start()
    started.wait(WAIT_SECONDS)
    if failed:
        raise failed[0]
    try:
        yield ready[0]
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)


def cost_by_hand(entry: Entry) -> float:
    """Return what one entry of the stand-in's ledger costs at the tests' prices, in US dollars."""
    plain, out, read, write = PRICES[entry.model]
    fresh = entry.input - entry.cache_read - entry.cache_write
    total = fresh * plain + entry.cache_read * read + entry.cache_write * write
    return (total + entry.output * out) / 1e6
