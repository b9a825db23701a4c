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
from tests.inprocess import Bench, Script
from tests.router.test_budget_steps import CHAT, COST, answer, ask, bench_of, budget, post

STEPS = 100
LIMIT = 140_000_000_000  # 100 steps of 0.0014 dollars, in picodollars
ROLE = budget("role", STEPS * COST, name="worker")
PATIENCE_SECONDS = 20.0


@contextlib.asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[Running]:
    """Run a collector whose day is today's, and which lends soon after its start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.budgets.WAKING_SECONDS", 0.3)
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


@pytest.mark.parametrize(
    ("busy", "fit"),
    [((200, 0), 50), ((100, 100), 50), ((190, 10), 50), ((120, 80), 51), ((60, 60), 1)],
    ids=["one side", "evenly", "unevenly", "halves of a step", "less than a share each"],
)
async def test_of_callers_who_ask_once_exactly_as_many_are_served_as_fit(
    tmp_path: Path, busy: tuple[int, int], fit: int
) -> None:
    limit = budget("role", fit * COST, name="worker")
    async with (
        collector(tmp_path) as found,
        gateway(found.console, limit) as one,
        gateway(found.console, limit) as two,
    ):
        gate = asyncio.Event()
        for bench in (one, two):
            whole = answer().pieces
            bench.upstream.scripts = [Script(pieces=[gate, *whole]) for _ in range(fit)]
        callers = [
            asyncio.create_task(post(bench, ask()))
            for bench, count in zip((one, two), busy, strict=True)
            for _ in range(count)
        ]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(caller.done() for caller in callers) < sum(busy) - fit:
                await asyncio.sleep(0.01)
        gate.set()
        statuses = [(await caller).status for caller in callers]
        assert (statuses.count(200), statuses.count(402)) == (fit, sum(busy) - fit)
        assert served(one) + served(two) == fit
        accounts = [*one.gateway.spending.ledger.daily.values()]
        accounts += two.gateway.spending.ledger.daily.values()
        assert sum(each.spent for each in accounts) == fit * LIMIT // STEPS
        assert sum(each.reserved for each in accounts) == 0


async def test_what_another_gateway_has_just_settled_is_free_at_once(tmp_path: Path) -> None:
    limit = budget("role", 2 * COST, name="worker")
    async with (
        collector(tmp_path) as found,
        gateway(found.console, limit) as one,
        gateway(found.console, limit) as two,
    ):
        one.upstream.scripts = [answer(100, 10) for _ in range(20)]  # a tenth of its bound each
        two.upstream.scripts = [answer(100, 10) for _ in range(20)]
        # Alone 11 would be served, see test_budget_steps; so many are, whoever asks whom.
        turns = [one, two, two, one, one, one, two, one, two, two, one]
        assert [(await post(bench, ask())).status for bench in turns] == [200] * 11
        assert [(await post(bench, ask())).status for bench in (one, two)] == [402] * 2


async def test_a_task_may_spend_all_of_its_cap_through_one_gateway(tmp_path: Path) -> None:
    cap = budget("task", COST)
    async with (
        collector(tmp_path) as found,
        gateway(found.console, cap) as one,
        gateway(found.console, cap) as two,
    ):
        for bench, session in ((one, "s1"), (two, "s2")):
            assert (await post(bench, ask(), x_tierwise_session=session)).status == 200
            assert (await post(bench, ask(), x_tierwise_session=session)).status == 402


async def test_the_cheapest_tier_is_left_to_budgets_that_are_really_spent(tmp_path: Path) -> None:
    soft = budget("role", 2 * COST, "cheapest", name="worker")
    async with (
        collector(tmp_path) as found,
        gateway(found.console, soft) as one,
        gateway(found.console, soft) as two,
    ):
        replies = [await post(bench, ask()) for bench in (one, one, one, two)]
        assert [reply.headers["x-tierwise-tier"] for reply in replies] == [
            "mid", "mid", "small", "small"
        ]  # fmt: skip


async def test_a_caller_that_leaves_while_it_waits_for_room_holds_nothing(tmp_path: Path) -> None:
    limit = budget("role", COST, name="worker")
    async with (
        collector(tmp_path) as found,
        gateway(found.console, limit) as one,
        gateway(found.console, limit) as two,
    ):
        gate, gone = asyncio.Event(), asyncio.Event()
        one.upstream.scripts = [Script(pieces=[gate, *answer().pieces])]
        first = asyncio.create_task(post(one, ask()))
        await until(lambda: one.upstream.sent, what="the first step")
        asked = two.post(CHAT, ask(), hung_up=gone)
        second = asyncio.create_task(asked)
        await until(lambda: two.gateway.spending.ledger.daily, what="the second step")
        gone.set()
        await second
        (_, outcome) = two.kept.pairs[-1]
        assert (outcome.status, outcome.attempts) == (499, ())
        assert account(two).reserved == 0
        gate.set()
        assert (await first).status == 200


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
