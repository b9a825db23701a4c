"""Runs a suite: every case on every tier, few at once, within so many dollars."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from evals.answers import read_answer
from evals.checks import run_checks
from evals.suite import Case, Suite
from telemetry.errors import ConfigError
from telemetry.records import Result, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back for one case."""

    content: bytes = b""
    error: str | None = None  # there is no answer
    seconds: float
    cost_usd: float | None  # None: nobody knows
    decision: str | None = None  # the gateway's id for it


class Asker(Protocol):
    """Asks a tier; raises ``ConfigError`` where no other case could be asked either."""

    async def __call__(self, case: Case, tier: str, /) -> Reply: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One case on one tier."""

    case: str
    tier: str
    result: Result | None  # None: there was no answer
    score: float | None
    verdicts: tuple[Verdict, ...]
    crashed: tuple[str, ...]  # checks that broke
    error: str | None
    seconds: float
    cost_usd: float | None
    decision: str | None
    text: str

    @property
    def passed(self) -> bool | None:
        """Whether the answer passed; None when nothing judged it."""
        if self.result is None or self.result is Result.ABSTAIN:
            return None
        return self.result is Result.PASS


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a suite came to, case by case in the file's order."""

    outcomes: tuple[Outcome, ...]
    planned: int
    spent_usd: float
    stopped: str | None  # why not every call was made


@dataclass(slots=True, kw_only=True)
class _Purse:
    """Holds back, for each call, what the dearest one on its tier has cost so far."""

    most: float | None  # None: no limit
    spent: float = 0.0
    held: float = 0.0
    dearest: dict[str, float] = field(default_factory=dict)

    def take(self, tier: str) -> float | None:
        """Return what is held back for a call; None when it does not fit."""
        amount = self.dearest.get(tier, 0.0)
        if self.most is not None and self.spent + self.held + amount > self.most:
            return None
        self.held += amount
        return amount

    def settle(self, tier: str, held: float, cost: float | None) -> None:
        """Replace what was held back by what the call cost."""
        self.held -= held
        self.spent += cost or 0.0
        self.dearest[tier] = max(self.dearest.get(tier, 0.0), cost or 0.0)


async def run_suite(
    suite: Suite,
    ask: Asker,
    *,
    tiers: tuple[str, ...],
    usd_max: float | None,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Run:
    """Return what became of each case on each tier; cases are finished one after the other.

    The first case is asked alone on every tier: it shows what a call costs, and faults of the
    set-up, before anything runs side by side. At most ``usd_max`` is spent, but for calls that
    turn out dearer than any before them on their tier.

    Raises:
        ConfigError: a call's cost is unknown although it is limited, or ``ask`` raised it.
    """
    purse = _Purse(most=usd_max)
    found: dict[tuple[str, str], Outcome] = {}
    stopped: list[str] = []

    async def one(case: Case, tier: str) -> None:
        held = purse.take(tier)
        if held is None:
            stopped.append(f"the next call would pass {usd_max:g} US dollars")
            return
        cost: float | None = None
        try:
            reply = await ask(case, tier)
            cost = reply.cost_usd
            if cost is None and usd_max is not None and reply.error is None:
                raise ConfigError(
                    f"what tier {tier!r} costs is not known, so the spend cannot be limited",
                    hint='declare its price under [prices."provider/model"] of tierwise.toml, '
                    "or run with --uncapped",
                )
        finally:
            purse.settle(tier, held, cost)
        outcome = await _judged(case, tier, reply)
        found[case.id, tier] = outcome
        progress(outcome)

    for tier in tiers:
        await one(suite.cases[0], tier)
    rest = ((case, tier) for case in suite.cases[1:] for tier in tiers)
    await _side_by_side(rest, one, running_max=suite.file.running_max, stopped=stopped)
    ordered = [found.get((case.id, tier)) for case in suite.cases for tier in tiers]
    return Run(
        outcomes=tuple(outcome for outcome in ordered if outcome is not None),
        planned=len(suite.cases) * len(tiers),
        spent_usd=purse.spent,
        stopped=stopped[0] if stopped else None,
    )


async def _side_by_side(
    jobs: Iterator[tuple[Case, str]],
    work: Callable[[Case, str], Awaitable[None]],
    *,
    running_max: int,
    stopped: list[str],
) -> None:
    async def worker() -> None:
        for case, tier in jobs:
            if stopped:
                return
            await work(case, tier)

    tasks = [asyncio.create_task(worker()) for _ in range(running_max)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _judged(case: Case, tier: str, reply: Reply) -> Outcome:
    verdicts: tuple[Verdict, ...] = ()
    crashed: tuple[str, ...] = ()
    result, score, text = None, None, ""
    if reply.error is None:
        answer = read_answer(reply.content, case.step)
        checked = await run_checks(case.checks, answer)
        verdicts, text = checked.verdicts, answer.text
        crashed = tuple(error.check for error in checked.errors)
        result, score = checked.overall.result, checked.overall.score
    return Outcome(
        case=case.id,
        tier=tier,
        result=result,
        score=score,
        verdicts=verdicts,
        crashed=crashed,
        error=reply.error,
        seconds=reply.seconds,
        cost_usd=reply.cost_usd,
        decision=reply.decision,
        text=text,
    )
