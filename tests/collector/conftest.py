"""A real collector on free ports of this machine, in the test's own event loop."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collector.access import Access
from collector.config import CollectorConfig
from collector.decode import Reception
from collector.desk import Desk, desk_path
from collector.duckdb_store import DuckDBStore
from collector.intake import Intake, Rules
from collector.meters import Meters
from collector.normalising import Normaliser, evaluators_of
from collector.pricing import BookPricing
from collector.process import Collector, Wiring, listening
from collector.revisions import Revisions
from collector.store import Store
from collector.writer import Writer
from telemetry.clock import ManualClock, SystemClock
from telemetry.config import PriceConfig
from telemetry.prices import PriceBook
from telemetry.terms import Terms
from tests.collector.otlp import NOW_NS

PRICES = {
    "openai/gpt-4o": PriceConfig(input=2.0, output=8.0, cache_read=1.0),
    "anthropic/claude-x": PriceConfig(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75),
}


def pricing() -> BookPricing:
    return BookPricing(PriceBook(PRICES, at=datetime(2026, 6, 1, tzinfo=UTC)))


@pytest.fixture
def reception() -> Reception:
    return Reception(received_ns=NOW_NS + 10**9, pricing=pricing())


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    yield made
    made.close()


class Clock(ManualClock):
    """Stands still in unix time; durations and sleeping are real."""

    monotonic = SystemClock().monotonic
    sleep = SystemClock().sleep


@dataclass
class Running:
    http: str
    grpc: str
    console: str
    store: Store
    writer: Writer
    intake: Intake
    revisions: Revisions
    meters: Meters
    clock: Clock
    session: aiohttp.ClientSession
    app: Any  # behind the console's port

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Any, bytes]:
        sent = {"content-type": "application/x-protobuf"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(
            self.http + path, data=io.BytesIO(body), headers=sent
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    async def get(self, path: str) -> Any:
        async with self.session.get(self.console + path) as answer:
            return await answer.json()

    async def settled(self, path: str, when: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wanted; roll-ups are made every two seconds."""
        for _ in range(200):
            found = await self.get(path)
            if when(found):
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{path} never settled; last: {found}")


Start = Callable[..., Awaitable[Running]]


@asynccontextmanager
async def running(
    folder: Path,
    *,
    token: str | None = None,
    access: Access | None = None,
    terms: Terms | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    meters, clock = Meters(), Clock(NOW_NS + 10**9)
    config = CollectorConfig(
        otlp_http="127.0.0.1:0", otlp_grpc="127.0.0.1:0", console="127.0.0.1:0",
        store=folder / "c.duckdb", **settings,
    )  # fmt: skip
    writer = Writer(
        lambda: DuckDBStore(config.store, now_ns=clock.now_ns()), meters=meters, clock=clock
    )
    store = writer.start()
    desk = Desk(desk_path(config.store))
    collector = Collector(
        Wiring(
            config=config, store=store, writer=writer, meters=meters, clock=clock,
            access=access or Access(token),
            rules=Rules(
                pricing=pricing(), normaliser=Normaliser(lambda: evaluators_of(terms)),
                authenticated=token is not None,
            ),
            desk=desk, terms=lambda: terms,
        )
    )  # fmt: skip
    sockets = [listening(config.otlp_http), listening(config.console)]
    ports = [each.getsockname()[1] for each in sockets]
    rpc = await collector.start(sockets)
    try:
        async with aiohttp.ClientSession() as session:
            yield Running(
                http=f"http://127.0.0.1:{ports[0]}", grpc=f"127.0.0.1:{rpc}",
                console=f"http://127.0.0.1:{ports[1]}", store=store, writer=writer, meters=meters,
                clock=clock, session=session, intake=collector._intake,
                revisions=collector._control.revisions, app=collector._servers[1].config.app,
            )  # fmt: skip
    finally:
        assert await collector.stop()
        for each in sockets:
            each.close()
        desk.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start collectors that end with the test."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Running:
            return await stack.enter_async_context(running(tmp_path, **settings))

        yield begin
