"""The two modes at work: a gateway and a collector of their own, critics, and who grades them."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp

from evals.examples.example import PROVIDER
from evals.examples.modes import (
    POLICY,
    PRICES,
    SKILLS,
    UNSEEN,
    Ask,
    Book,
    Run,
    asks,
    debate,
)
from evals.examples.prices import price_tables
from evals.workloads.tickets import tickets
from router.demo.house import House, housed
from telemetry.clock import Clock
from telemetry.errors import TierwiseError

CRITICS: Final = 8
PAUSE_SECONDS: Final = 0.02  # of a critic between two steps
LOOK_SECONDS: Final = 0.5
UNSEEN_STEPS: Final = 40
HOOK_ENV: Final = "TIERWISE_EXAMPLE_HOOK"
AGAIN: Final = "run it again; `tierwise doctor` looks for what is wrong with this machine"
TIMEOUT: Final = aiohttp.ClientTimeout(total=60.0)


class ModesFailed(TierwiseError):
    """A step of the example got no answer, or a grade was refused."""


async def played(clock: Clock, *, role: str, seed: int, seconds_max: float) -> Run:
    """Let critics work until each mode's tier is found, at most so long.

    Raises:
        ModesFailed: a step or a grade was refused (in a group: several are under way).
        ServiceFailed: gateway and collector did not start.
    """
    policy = await asyncio.to_thread(POLICY.read_text, "utf-8")
    prices = price_tables(PROVIDER, PRICES)
    house = housed(policy, prices, provider=PROVIDER, hook_env=HOOK_ENV, seed=seed)
    async with house as here, aiohttp.ClientSession(timeout=TIMEOUT) as session:
        await asyncio.to_thread(here.standin.change_skills, SKILLS)
        desk = _Desk(here, session)
        book = Book(role)
        began = clock.monotonic()
        async with _at_work(desk, book, asks(role, seed=seed)):
            while not all(one.best for one in book.found()):
                if clock.monotonic() - began > seconds_max:
                    break
                await clock.sleep(LOOK_SECONDS)
        return Run(
            role=role,
            found=book.found(),
            unseen=await desk.unseen(role, seed=seed),
            seconds=clock.monotonic() - began,
        )


class _Desk:
    """Where critics ask, and where somebody grades their answers."""

    def __init__(self, house: House, session: aiohttp.ClientSession) -> None:
        self._service = house.service
        self._session = session
        self._bearer = house.bearer

    async def step(self, ask: Ask) -> tuple[str, str, str]:
        """Return the answer's text, the tier that gave it and the decision's id."""
        headers = {
            "x-tierwise-role": ask.role,
            "x-tierwise-mode": ask.mode,
            "x-tierwise-session": ask.session,
        }
        body = {"model": "tierwise/auto", "messages": [{"role": "user", "content": ask.prompt}]}
        url = f"{self._service.gateway}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=headers) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise ModesFailed(
                    f"a step was answered with {answer.status}: {content[:400]!r}", hint=AGAIN
                )
            text = json.loads(content)["choices"][0]["message"]["content"] or ""
            own = answer.headers
            return text, own["x-tierwise-tier"], own["x-tierwise-decision"]

    async def grade(self, decision: str, *, right: bool) -> None:
        """Say whether an answer was right, as whoever uses it would."""
        word = {"decision": decision, "name": "right", "score": float(right), "source": "desk"}
        url = f"{self._service.console}/v1/feedback"
        async with self._session.post(url, json=word, headers=self._bearer) as answer:
            if answer.status >= 300:
                raise ModesFailed(f"a grade was answered with {answer.status}", hint=AGAIN)

    async def unseen(self, role: str, *, seed: int) -> float:
        """Return the share of steps in a mode that nobody worked in before that start small."""
        tiers = Counter[str]()
        for ticket in tickets(UNSEEN_STEPS, seed=seed + 1):
            _, tier, _ = await self.step(debate(ticket, role, mode=UNSEEN))
            tiers[tier] += 1
        return tiers["small"] / UNSEEN_STEPS


@contextlib.asynccontextmanager
async def _at_work(desk: _Desk, book: Book, work: Iterator[Ask]) -> AsyncIterator[None]:
    """Keep critics at work; what any of them stumbles over ends the block."""
    async with asyncio.TaskGroup() as group:
        critics = [group.create_task(_critic(desk, book, work)) for _ in range(CRITICS)]
        yield
        for critic in critics:
            critic.cancel()


async def _critic(desk: _Desk, book: Book, work: Iterator[Ask]) -> None:
    for ask in work:
        text, tier, decision = await desk.step(ask)
        right = ask.is_right(text)
        await desk.grade(decision, right=right)
        book.take(ask, tier=tier, right=right)
        await asyncio.sleep(PAUSE_SECONDS)
