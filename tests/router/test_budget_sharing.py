"""The worker's side and the collector's side together, over a wire that loses what it likes."""

import asyncio
import json
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collector.budgets import WAKING_SECONDS, Budgets
from router.budget import DAY_NS, Account, Hold, Ledger
from router.lease import Leases
from router.spending import Spending
from telemetry.clock import ManualClock
from telemetry.leases import Answer, Report
from telemetry.metrics import Meters

LIMIT = 1_000
WORKERS = 3
METERS = Meters()
TODAY = 20_000


class Wire:
    """What lies between workers and a ledger that may be killed and started again."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ledger: Budgets | None = None
        self.kept = "{}"
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self.ledger = Budgets(epoch=str(self.starts), now=self._clock.monotonic())
        self.ledger.load(json.loads(self.kept))

    def send(self, body: bytes) -> Answer:
        if self.ledger is None:
            raise ConnectionError("nobody listens")
        report = msgspec.json.decode(body, type=Report)
        answer = self.ledger.report(report, now=self._clock.monotonic(), today=TODAY)
        self.kept = json.dumps(self.ledger.dump())
        return msgspec.json.decode(msgspec.json.encode(answer), type=Answer)


class Worker(Leases):
    """A worker whose calls go over ``Wire``; the next one may be lost, there or back."""

    def __init__(self, wire: Wire, clock: ManualClock, name: str) -> None:
        super().__init__(
            Spending(ledger=Ledger(shares=WORKERS)), url="", token=None, worker=name,
            clock=clock, meters=METERS,
        )  # fmt: skip
        self.wire = wire
        self.loses: str | None = None
        self.holds: list[Hold] = []

    async def _call(self, body: bytes) -> Answer:
        loses, self.loses = self.loses, None
        if loses == "request":
            raise ConnectionError("lost on the way there")
        answer = self.wire.send(body)
        if loses == "answer":
            raise TimeoutError("lost on the way back")
        return answer

    def wait(self, account: Account, amount: int) -> None:
        """Have a step wait for room."""
        self._waiting.setdefault(account.name, []).append(amount)
        self.spending.ledger.changed(account)

    def wake(self) -> None:
        """Let those steps go for which there is room now; the others go on waiting."""
        for name, amounts in list(self._waiting.items()):
            account = self.spending.ledger.find(name)
            assert account is not None
            for amount in list(amounts):
                held = self.spending.ledger.reserve([account], amount)
                if isinstance(held, Hold):
                    self.holds.append(held)
                    amounts.remove(amount)
            if not amounts:
                del self._waiting[name]

    def waiting(self) -> list[int]:
        return [amount for amounts in self._waiting.values() for amount in amounts]

    def account(self, name: str, day: int | None) -> Account:
        return self.spending.ledger.account(name, limit=LIMIT, day=day)

    def used(self, name: str) -> int:
        found = self.spending.ledger.find(name)
        return 0 if found is None else found.used


NAMES = {"day": TODAY, "session": None}
which = st.integers(0, WORKERS - 1)
names = st.sampled_from(sorted(NAMES))


class Sharing(RuleBasedStateMachine):
    """Three workers reserve, settle, talk, leave and start; the collector dies and comes back."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(start_ns=TODAY * DAY_NS)
        self.loop = asyncio.new_event_loop()
        self.wire = Wire(self.clock)
        self.wire.start()
        self.gone = dict.fromkeys(NAMES, 0)
        self.made = 0
        self.workers = [self._new() for _ in range(WORKERS)]
        for worker in self.workers:
            self._tell(worker)
        self.clock.advance(WAKING_SECONDS)

    def teardown(self) -> None:
        self.loop.close()

    def _new(self) -> Worker:
        self.made += 1
        return Worker(self.wire, self.clock, f"worker-{self.made}")

    def _tell(self, worker: Worker, *, leaving: bool = False) -> bool:
        return self.loop.run_until_complete(worker._tell(leaving=leaving))

    @rule(index=which, name=names, amount=st.sampled_from([1, 50, 100, 300]), asks=st.booleans())
    def reserve(self, index: int, name: str, amount: int, asks: bool) -> None:
        """Take all that fits, and ask for more in between."""
        worker = self.workers[index]
        account = worker.account(name, NAMES[name])
        for _ in range(12):
            held = worker.spending.ledger.reserve([account], amount)
            if isinstance(held, Hold):
                worker.holds.append(held)
            elif not asks or not self._tell(worker):
                return

    @rule(index=which, name=names, amount=st.sampled_from([1, 50, 100, 300]))
    def wait(self, index: int, name: str, amount: int) -> None:
        worker = self.workers[index]
        worker.wait(worker.account(name, NAMES[name]), amount)

    @rule(index=which, share=st.sampled_from([0.0, 0.1, 0.5, 1.0, None]))
    def settle(self, index: int, share: float | None) -> None:
        holds = self.workers[index].holds
        if holds:
            hold = holds.pop()
            hold.settle(None if share is None else int(hold.amount * share))

    @rule(index=which, loses=st.sampled_from([None, None, None, "request", "answer"]))
    def talk(self, index: int, loses: str | None) -> None:
        self.workers[index].loses = loses
        self._tell(self.workers[index])
        self.workers[index].wake()

    @rule()
    def all_talk(self) -> None:
        self.clock.advance(0.25)
        for worker in self.workers:
            self._tell(worker)
            worker.wake()

    @precondition(lambda self: self.wire.ledger is not None)
    @rule(index=which)
    def start_a_worker_again(self, index: int) -> None:
        old = self.workers[index]
        while old.holds:
            old.holds.pop().settle(None)
        assert self._tell(old, leaving=True)
        for name in NAMES:
            self.gone[name] += old.used(name)
        self.workers[index] = self._new()
        self._tell(self.workers[index])

    @precondition(lambda self: self.wire.ledger is not None)
    @rule()
    def kill_the_collector(self) -> None:
        self.all_talk()  # it keeps a session in memory only, where workers remember it too
        self.wire.ledger = None

    @precondition(lambda self: self.wire.ledger is None)
    @rule()
    def start_the_collector(self) -> None:
        self.wire.start()
        for _ in range(2):  # once to hear that it is another, once to tell it all
            self.all_talk()
        self.clock.advance(WAKING_SECONDS)
        self.gone["session"] = 0  # only workers that still run remember a session
        for worker in self.workers:
            self._tell(worker)

    @invariant()
    def the_limit_holds_over_all_workers(self) -> None:
        if not hasattr(self, "workers"):
            return
        for name in NAMES:
            used = sum(worker.used(name) for worker in self.workers)
            assert used + self.gone[name] <= LIMIT, name


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    shared=st.lists(
        st.tuples(
            st.lists(st.sampled_from([7, 50, 110]), max_size=8),  # under way
            st.lists(st.sampled_from([7, 50, 110, 300, 900]), max_size=6),  # waiting
        ),
        min_size=WORKERS,
        max_size=WORKERS,
    ),
    seed=st.integers(0, 1_000),
)
def test_no_step_waits_for_room_that_is_there(
    shared: list[tuple[list[int], list[int]]], seed: int
) -> None:
    rng = random.Random(seed)
    clock = ManualClock(start_ns=TODAY * DAY_NS)
    wire = Wire(clock)
    wire.start()
    workers = [Worker(wire, clock, f"worker-{n}") for n in range(WORKERS)]
    with asyncio.Runner() as runner:
        for worker in workers:
            runner.run(worker._tell())
        clock.advance(WAKING_SECONDS)
        for worker, (under_way, waiting) in zip(workers, shared, strict=True):
            account = worker.account("day", TODAY)
            for amount in under_way:
                held = worker.spending.ledger.reserve([account], amount)
                if isinstance(held, Hold):
                    worker.holds.append(held)
            for amount in waiting:
                worker.wait(account, amount)
        for _ in range(40):
            for worker in rng.sample(workers, WORKERS):
                runner.run(worker._tell())
                worker.wake()
            clock.advance(0.05)
    left = LIMIT - sum(worker.used("day") for worker in workers)
    assert left >= 0
    assert all(amount > left for worker in workers for amount in worker.waiting())


def test_workers_that_talk_can_spend_the_whole_limit_wherever_the_work_is() -> None:
    rng = random.Random(5)
    clock = ManualClock(start_ns=TODAY * DAY_NS)
    wire = Wire(clock)
    wire.start()
    workers = [Worker(wire, clock, f"worker-{n}") for n in range(WORKERS)]
    with asyncio.Runner() as runner:
        for worker in workers:
            runner.run(worker._tell())
        clock.advance(WAKING_SECONDS)
        for _ in range(400):
            worker = rng.choices(workers, weights=[20, 2, 1])[0]
            found = worker.account("day", TODAY)
            held = worker.spending.ledger.reserve([found], 10)
            if isinstance(held, Hold):
                held.settle(10)
            for one in workers:
                runner.run(one._tell())
            clock.advance(0.25)
    assert sum(worker.used("day") for worker in workers) == LIMIT
