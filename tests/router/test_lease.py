"""Budgets shared by two gateways through a real collector: exact with it, bounded without."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.budget import Account, Ledger
from router.lease import Leases
from router.spending import Spending
from telemetry.clock import SystemClock
from tests.collector.conftest import Running, running
from tests.collector.program import free_ports, launch
from tests.harness import until
from tests.inprocess import Bench
from tests.router.test_budget_steps import COST, answer, ask, bench_of, budget, post

STEPS = 100
LIMIT = 140_000_000_000  # 100 steps of 0.0014 dollars, in picodollars
ROLE = budget("role", STEPS * COST, name="worker")
PATIENCE_SECONDS = 20.0


@contextlib.asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[Running]:
    """Run a collector whose day is today's."""
    async with running(folder) as found:
        found.clock.advance((SystemClock().now_ns() - found.clock.now_ns()) / 1e9)
        yield found


@contextlib.asynccontextmanager
async def gateway(
    url: str, budgets: str = ROLE, *, shares: int = 2, worker: str = ""
) -> AsyncIterator[Bench]:
    """Run a gateway whose provider always answers, with its talk about budgets."""
    bench = bench_of(budgets, *[answer() for _ in range(2 * STEPS)])
    bench.gateway.load.steps_max = 512
    spending = Spending(ledger=Ledger(shares=shares))
    bench.gateway = replace(bench.gateway, spending=spending)
    leases = Leases(
        spending,
        url=url,
        token=None,
        worker=worker or f"worker-{id(bench)}",
        clock=bench.gateway.clock,
        meters=bench.gateway.meters,
    )
    await leases.start()
    try:
        yield bench
    finally:
        await leases.close()


def account(bench: Bench) -> Account:
    (found,) = bench.gateway.spending.ledger.daily.values()
    return found


def served(bench: Bench) -> int:
    return len(bench.upstream.sent)


async def insist(bench: Bench, *, enough: asyncio.Event) -> None:
    """Send steps, again and again while there is no room, until somebody calls it off."""
    while not enough.is_set():
        if (await post(bench, ask())).status == 402:
            await asyncio.sleep(0.2)


async def all_of_it(*benches: Bench, steps: int = STEPS) -> None:
    """Return when the gateways have served so many steps, and some time after."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(map(served, benches)) < steps:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.6)


@pytest.mark.parametrize("busy", [(200, 0), (100, 100), (190, 10)])
async def test_two_gateways_spend_the_whole_limit_and_nothing_beyond_it(
    tmp_path: Path, busy: tuple[int, int]
) -> None:
    async with (
        collector(tmp_path) as found,
        gateway(found.console) as one,
        gateway(found.console) as two,
    ):
        enough = asyncio.Event()
        callers = [
            asyncio.create_task(insist(bench, enough=enough))
            for bench, count in zip((one, two), busy, strict=True)
            for _ in range(count)
        ]
        await all_of_it(one, two)
        enough.set()
        await asyncio.gather(*callers)
        assert served(one) + served(two) == STEPS
        assert [(await post(bench, ask())).status for bench in (one, two)] == [402, 402]
        await until(lambda: account(one).elsewhere == account(two).spent, what="the last report")
        refused = json.loads((await post(one, ask())).body)["error"]["budget"]
        assert refused["spent"] == pytest.approx(STEPS * COST, rel=1e-12)
        spent = [account(bench).spent for bench in (one, two)]
        assert sum(spent) == LIMIT


async def test_a_session_that_wanders_between_gateways_has_one_budget(tmp_path: Path) -> None:
    cap = budget("task", 10 * COST)
    session = {"x_tierwise_session": "s1"}
    async with (
        collector(tmp_path) as found,
        gateway(found.console, cap) as one,
        gateway(found.console, cap) as two,
    ):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while served(one) + served(two) < 10:
                for bench in (one, two, one):
                    await post(bench, ask(), **session)
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.6)
        for bench in (one, two):
            assert (await post(bench, ask(), **session)).status == 402
            assert (await post(bench, ask(), x_tierwise_session="s2")).status == 200
        assert served(one) + served(two) == 12


async def test_a_gateway_that_starts_again_knows_what_was_spent(tmp_path: Path) -> None:
    async with collector(tmp_path) as found:
        async with gateway(found.console, shares=1, worker="worker-one") as one:
            assert [(await post(one, ask())).status for _ in range(60)] == [200] * 60
        async with gateway(found.console, shares=1, worker="worker-two") as two:
            statuses = [(await post(two, ask())).status for _ in range(41)]
            assert statuses == [200] * 40 + [402]


async def test_without_a_collector_each_gateway_has_its_share() -> None:
    nobody = f"http://127.0.0.1:{free_ports().console}"
    async with gateway(nobody) as one, gateway(nobody) as two:
        for bench in (one, two):
            statuses = [(await post(bench, ask())).status for _ in range(60)]
            assert statuses == [200] * 50 + [402] * 10


async def test_a_collector_that_is_killed_and_comes_back_changes_no_sum(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    url = f"http://127.0.0.1:{ports.console}"
    child = await asyncio.to_thread(launch, store, ports)
    async with gateway(url) as one, gateway(url) as two:
        try:
            enough = asyncio.Event()
            callers = [asyncio.create_task(insist(one, enough=enough)) for _ in range(20)]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while served(one) <= 60:  # more than its share: it was lent some
                    await asyncio.sleep(0.01)
            child.kill()
            await asyncio.to_thread(child.wait)
            enough.set()
            await asyncio.gather(*callers)
            statuses = [(await post(two, ask())).status for _ in range(60)]
            assert 402 in statuses
            assert served(one) + served(two) <= STEPS
            child = await asyncio.to_thread(launch, store, ports)
            enough = asyncio.Event()
            callers = [asyncio.create_task(insist(two, enough=enough)) for _ in range(20)]
            await all_of_it(one, two)
            enough.set()
            await asyncio.gather(*callers)
            assert account(one).spent + account(two).spent == LIMIT
        finally:
            child.terminate()
            await asyncio.to_thread(child.wait)


async def test_a_request_never_waits_for_a_collector_that_does_not_answer() -> None:
    taken: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bench = bench_of(ROLE, *[answer() for _ in range(STEPS)])
    spending = Spending(ledger=Ledger(shares=2))
    bench.gateway = replace(bench.gateway, spending=spending)
    leases = Leases(
        spending, url=f"http://127.0.0.1:{port}", token=None, worker="worker-one",
        clock=bench.gateway.clock, meters=bench.gateway.meters,
    )  # fmt: skip
    starting = asyncio.create_task(leases.start())
    try:
        await until(lambda: taken, what="the first report")
        assert [(await post(bench, ask())).status for _ in range(51)] == [200] * 50 + [402]
        assert not starting.done()
    finally:
        await starting
        await leases.close()
        server.close()
        for writer in taken:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await server.wait_closed()


async def test_the_gauge_shows_how_much_of_todays_budget_is_spent() -> None:
    bench = bench_of(budget("role", 4 * COST) + budget("day", 8 * COST), answer())
    await post(bench, ask())
    leases = Leases(
        bench.gateway.spending, url="http://127.0.0.1:9", token=None, worker="worker-one",
        clock=bench.gateway.clock, meters=bench.gateway.meters,
    )  # fmt: skip
    leases.show()
    shown = {
        scope: bench.gateway.meters.value(
            "tierwise_budget_spent_ratio", {"scope": scope, "name": name}
        )
        for scope, name in (("role", "worker"), ("day", ""))
    }
    assert shown == pytest.approx({"role": 0.25, "day": 0.125})
