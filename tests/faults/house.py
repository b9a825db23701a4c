"""A gateway in front of misbehaving providers, and what must hold of it after every fault."""

import asyncio
import contextlib
import gc
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from router.breaker import Leave
from router.budget import pico
from telemetry.records import Dialect, Outcome
from tests import streams, wire
from tests.faults.behaviours import fault_server
from tests.faults.server import FaultServer
from tests.harness import Running, running, until

PROVIDER_CANARY = "sk-canary-provider-9d2f41c07be8"
CALLER_CANARY = "sk-canary-caller-51ab77e0c3d9f2"
PROMPT_CANARY = "canary-prompt-e7f3905d"
CANARIES = (PROVIDER_CANARY, CALLER_CANARY, PROMPT_CANARY)
ENVIRONMENT = {"FAULT_KEY": PROVIDER_CANARY, "CALLER_KEY": CALLER_CANARY}
HEALTHY = "fault-ok"
CHECKS = 'checks = ["not_empty", "not_truncated"]'
LAG_SECONDS = 2.0
LAG_SECONDS_AFTER = 0.05  # of the promptest of some timers
MEMORY_GROWTH_MAX = 32 * 1_048_576  # bytes, or a tenth of what there was


def config(*, bad_port: int, good_port: int, silence: float, connect: float, write: float) -> bytes:
    """Return a tierwise.toml: a provider `bad`, one `good`, each allowed so much silence."""
    shared = 'dialects = ["chat", "responses", "messages"]\nkey_env = "FAULT_KEY"'
    return f"""
schema = 1
[gateway.timeouts]
connect_seconds = {connect}
first_byte_seconds = {silence}
idle_seconds = {silence}
write_seconds = {write}
[providers.bad]
base_url = "http://127.0.0.1:{bad_port}/ok/v1"
{shared}
[providers.good]
base_url = "http://127.0.0.1:{good_port}/ok/v1"
{shared}
[[keys]]
name = "caller"
key_env = "CALLER_KEY"
""".encode()


def policy(behaviour: str) -> bytes:
    """Return a policy whose first tier is the faulty model and whose second is a healthy one.

    Role `alone` has nobody else to ask, `backed` has, and `held` also checks, and holds streams.
    The budget stops nothing; it is there to see that what is held back is given back.
    """
    models = (f"bad/fault-{behaviour}", f"good/{HEALTHY}")
    return f"""
schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["{models[0]}"]
[tiers.mid]
models = ["{models[1]}"]
[roles.alone]
tier = "small"
range = ["small", "small"]
[roles.backed]
tier = "small"
[roles.held]
tier = "small"
stream = "hold"
{CHECKS}
[roles.default]
tier = "mid"
[[budgets]]
scope = "day"
usd = 1000
""".encode()


def priced(content: bytes, behaviour: str) -> bytes:
    """Return a tierwise.toml that knows what all models cost: 1 and 2 dollars per million."""
    lines = [
        f'[prices."{model}"]\ninput = 1\noutput = 2\n'
        for model in {f"bad/fault-{behaviour}", f"good/fault-{behaviour}", f"good/{HEALTHY}"}
    ]
    head, _, keys = content.decode().partition("[[keys]]")
    return (head + "".join(lines) + "[[keys]]" + keys).encode()


def ask(role: str, *, stream: bool) -> bytes:
    """Return a step's body; a stream's usage is asked for, so that no frame is taken out."""
    turn = {"role": "user", "content": PROMPT_CANARY}
    body = {"model": f"tierwise/{role}", "messages": [turn], "stream": stream}
    return json.dumps({**body, "stream_options": {"include_usage": True}}).encode()


@dataclass(kw_only=True)
class House:
    """A gateway, its faulty provider, and what was idle before anything was asked."""

    at: Running
    faults: FaultServer
    healthy: FaultServer  # of its own, so that no connection is shared with the faulty one
    caplog: pytest.LogCaptureFixture
    behaviour: str
    idle: "set[asyncio.Task[object]]" = field(default_factory=set)
    idle_files: int = 0
    idle_bytes: int = 0
    seen: int = 0
    met: int = 0
    helped: int = 0

    async def post(
        self, dialect: Dialect, role: str, *, stream: bool
    ) -> tuple[wire.Reply, Outcome]:
        """Send one step and return what came back and what was recorded."""
        await self.rest()
        headers = {"authorization": f"Bearer {CALLER_CANARY}"}
        request = wire.post(streams.PATHS[dialect], ask(role, stream=stream), headers=headers)
        reply = await wire.send(self.at.port, request)
        ((_, outcome),) = await self.recorded(1)
        return reply, outcome

    async def recorded(self, count: int) -> list[tuple[object, Outcome]]:
        """Return what was recorded since the last time."""
        kept = self.at.kept.pairs
        await until(lambda: len(kept) >= self.seen + count, what=f"record {self.seen + count}")
        found = [(decision, outcome) for decision, outcome in kept[self.seen :]]
        self.seen = len(kept)
        return list(found)

    def contacts(self) -> list[str]:
        """Return which behaviours were met since the last time."""
        found = [contact.behaviour for contact in self.faults.contacts[self.met :]]
        found += [contact.behaviour for contact in self.healthy.contacts[self.helped :]]
        self.met, self.helped = len(self.faults.contacts), len(self.healthy.contacts)
        return found

    async def rest(self) -> None:
        """Forget what the breakers learnt and fill the retry budget, so that cases are alone."""
        for model in (f"bad/fault-{self.behaviour}", f"good/{HEALTHY}"):
            self.at.gateway.breakers.answered(Leave(model, False))
        for _ in range(25):
            self.at.gateway.retries.request()

    async def check(self, reply: wire.Reply | None, outcomes: list[Outcome]) -> None:
        """Check what must hold after every case, whatever the fault."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await asyncio.sleep(0)
        assert loop.time() - asked < LAG_SECONDS, "the event loop is held up"
        alive = await wire.send(self.at.port, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert alive.status == 200, "the gateway does not live"
        assert self.at.gateway.load.steps == 0
        await until(lambda: not self.busy(), what=f"the end of {self.busy()}")
        for outcome in outcomes:
            costs = [attempt.cost_usd for attempt in outcome.attempts]
            known = [cost for cost in costs if cost is not None]
            assert all(cost >= 0.0 for cost in known)
            whole = sum(known) if len(known) == len(costs) else None
            assert outcome.cost_usd == (pytest.approx(whole) if whole is not None else None)
            if reply is not None and "x-tierwise-cost-usd" in reply.headers:
                assert float(reply.headers["x-tierwise-cost-usd"]) == pytest.approx(whole)
        self.check_ledger()
        said = repr(self.at.kept.pairs) + repr(self.at.kept.baggage) + self.caplog.text
        said += self.at.gateway.meters.render().decode()
        if reply is not None:
            said += repr(reply.headers) + reply.body[:65_536].decode("latin-1")
        for canary in CANARIES:
            assert canary not in said, "a secret got out"

    def check_ledger(self) -> None:
        """Check that budgets hold nothing back any more, and have spent what attempts cost."""
        costs = [a.cost_usd for _, outcome in self.at.kept.pairs for a in outcome.attempts]
        known = sum(pico(cost) for cost in costs if cost is not None)
        for account in self.at.gateway.spending.ledger.daily.values():
            assert account.reserved == 0
            if None in costs:
                assert account.spent > known, "an unknown cost keeps what was held back for it"
            else:
                assert account.spent == known

    def busy(self) -> list[str]:
        """Return the tasks that were not there when nothing was going on."""
        servers = self.faults.tasks | self.healthy.tasks
        left = asyncio.all_tasks() - self.idle - servers
        return [
            repr(task) for task in left if not task.done() and task is not asyncio.current_task()
        ]

    async def settle(self) -> None:
        """Check that the gateway, still running, has given back all that the faults took."""
        for server in (self.faults, self.healthy):
            for task in list(server.tasks):
                task.cancel()
            for connection in list(server.wires):
                connection.close()  # the gateway lets go of what it kept alive
        await until(lambda: open_files() <= self.idle_files, what="the closing of every socket")
        await until(lambda: not self.busy(), what=f"the end of {self.busy()}")
        lags = []
        for _ in range(20):
            asked = asyncio.get_running_loop().time()
            await asyncio.sleep(0.001)
            lags.append(asyncio.get_running_loop().time() - asked - 0.001)
        assert min(lags) < LAG_SECONDS_AFTER, "the event loop stays behind"
        # What the test itself has written down is not the gateway's.
        for kept in (self.at.kept.pairs, self.at.kept.baggage, self.at.kept.contents):
            kept.clear()
        for server in (self.faults, self.healthy):
            server.contacts.clear()
        self.caplog.clear()
        gc.collect()
        grown = resident_bytes() - self.idle_bytes
        assert grown <= max(MEMORY_GROWTH_MAX, self.idle_bytes // 10), f"{grown} bytes more"


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextlib.asynccontextmanager
async def house(
    behaviour: str,
    caplog: pytest.LogCaptureFixture,
    *,
    bad_port: int | None = None,
    silence: float = 5.0,
    write: float = 60.0,
    written: Callable[[str], bytes] = policy,
) -> AsyncIterator[House]:
    """Run a gateway in front of one fault; when it is over, nothing may be left open.

    A provider may be silent for ``silence`` seconds, a caller take nothing for ``write`` seconds.
    """
    async with fault_server() as faults, fault_server() as healthy:
        files = config(
            bad_port=bad_port or faults.port,
            good_port=healthy.port,
            silence=silence,
            connect=5.0 if bad_port is None else 0.5,
            write=write,
        )
        await asyncio.sleep(0)
        opened = open_files()
        async with running(
            priced(files, behaviour), written(behaviour), environment=ENVIRONMENT
        ) as at:
            found = House(at=at, faults=faults, healthy=healthy, caplog=caplog, behaviour=behaviour)
            await wire.send(at.port, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0)
            found.idle = set(asyncio.all_tasks())
            gc.collect()
            found.idle_files, found.idle_bytes = open_files(), resident_bytes()
            yield found
            await found.settle()
        await until(lambda: open_files() <= opened, what="the closing of every file descriptor")
