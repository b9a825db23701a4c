"""Steps that wait until other processes give room in a budget."""

import asyncio
import random
from dataclasses import dataclass, field, replace

from router.breaker import FAILURES_TO_OPEN, OPEN_SECONDS_MAX, Breakers
from router.budget import Account, Ledger
from router.exchange import CLIENT_CLOSED
from router.spending import Spending
from telemetry.clock import ManualClock
from tests.harness import until
from tests.inprocess import Bench
from tests.router.test_budget_steps import CHAT, COST, answer, ask, bench_of, budget, post

MODEL = "standin/standin-mid"


@dataclass
class Hesitant:
    """Others who are asked for room and, when let go, give it."""

    away: bool = False
    asked: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Nobody is to be woken."""

    async def lend(self, account: Account, amount: int, *, since: float) -> bool:
        self.asked += 1
        await self.let_go.wait()
        account.ceiling = account.limit
        return True


def waiting() -> tuple[Bench, Hesitant]:
    """Return a gateway that has none of its role's budget, and who has."""
    bench, others = bench_of(budget("role", COST, name="worker"), answer()), Hesitant()
    spending = Spending(ledger=Ledger(shares=2), lender=others)
    bench.gateway = replace(bench.gateway, spending=spending)
    return bench, others


async def test_a_step_that_waits_for_room_does_not_hold_the_probe_of_its_model() -> None:
    bench, others = waiting()
    clock = ManualClock(bench.gateway.clock.now_ns())
    breakers = Breakers(clock=clock, rng=random.Random(1))
    bench.gateway = replace(bench.gateway, breakers=breakers)
    for _ in range(FAILURES_TO_OPEN):
        breakers.failed(breakers.enter(MODEL))
    clock.advance(OPEN_SECONDS_MAX)
    step = asyncio.create_task(post(bench, ask()))
    await until(lambda: others.asked, what="the step that asks for room")
    assert breakers.allows(MODEL)
    others.let_go.set()
    assert (await step).status == 200


async def test_a_caller_that_leaves_while_its_step_waits_for_room_leaves_nothing_held() -> None:
    bench, others = waiting()
    gone = asyncio.Event()
    sent = {"content-type": "application/json"}
    step = asyncio.create_task(bench.post(CHAT, ask(), headers=sent, hung_up=gone))
    await until(lambda: others.asked, what="the step that asks for room")
    gone.set()
    await step
    ((_, outcome),) = bench.kept.pairs
    assert (outcome.status, outcome.attempts) == (CLIENT_CLOSED, ())
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert (account.reserved, account.spent) == (0, 0)
    assert bench.upstream.sent == []
