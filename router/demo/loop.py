"""The loop in view: a policy that learns, a model that breaks, alarms, and the way back.

One role, graded answer by answer, declared at the frontier. The learner finds the cheap tier; that
tier silently gets worse and the learner leaves it; it recovers and is found again; at last every
model becomes wordy, and the bill alarms.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import aiohttp

from evals.standin.running import StandinProcess
from evals.workloads import support
from evals.workloads.clients import OpenAIAsker
from evals.workloads.tickets import Ticket, tickets
from router.cli.output import Screen
from router.demo.files import PRICES, TIERS
from router.demo.hook import Hook
from router.demo.house import House, housed
from telemetry.clock import Clock

ROLE: Final = "categoriser"
FLOOR: Final = 0.85
AGENTS: Final = 8
STATED: Final = (
    f"Meanwhile, behind a gateway of its own: the role {ROLE} is declared at the frontier, may "
    f"learn (floor {FLOOR:.0%}), and a back office grades its answers."
)
PAUSE_SECONDS: Final = 0.04  # of an agent between two steps
LOOK_SECONDS: Final = 1.0
RECENT: Final = 100  # steps that a phase is judged by
TICKETS_MAX: Final = 50_000
STANDIN: Final = "standin-small"
GRADER: Final = "back-office"
WORSE: Final[dict[str, Any]] = {STANDIN: {"right": {"classify": 0.1}}}
WELL: Final[dict[str, Any]] = {STANDIN: {"right": {"classify": 0.92}}}
# All of them, as after a change of the prompt: from one alone the learner would turn away in time.
WORDY: Final[dict[str, Any]] = {
    f"standin-{tier}": {"reasoning_tokens": {"classify": 5_000}} for tier in TIERS
}

POLICY: Final = f"""
[roles.{ROLE}]
tier = "frontier"
range = ["small", "frontier"]
quality_floor = {FLOOR}
learn = "bounded"
checks = ["not_truncated"]

[roles.default]
tier = "mid"
range = ["small", "frontier"]

[learning]                # a demo cannot wait: these are minutes in earnest
tick_seconds = 0.5
step_max = 0.5
dwell_seconds = 1

[alerts.cost]
budget_usd_per_day = 1000
horizon_seconds = 1
baseline_tasks = 100
[alerts.quality]
horizon_seconds = 1
feedback_per_hour_max = 1000000
[[alerts.notify]]
kind = "webhook"
url_env = "TIERWISE_DEMO_HOOK"
allow_private = true
group_wait_seconds = 0
group_interval_seconds = 0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """One finished step."""

    tier: str
    right: bool
    cost_usd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """What one part of the story did, over its steps; shares, quality and cost at its end."""

    name: str
    seconds: float
    steps: int
    small_share: float
    quality: float
    usd_per_thousand: float
    reached: bool  # what the phase waits for


@dataclass(slots=True)
class Run:
    """What happens now: the last graded steps and all that was paged."""

    hook: Hook
    steps: int = 0
    recent: deque[Graded] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def small_share(self) -> float:
        return _mean(each.tier == "small" for each in self.recent)

    @property
    def quality(self) -> float:
        return _mean(each.right for each in self.recent)

    @property
    def usd_per_thousand(self) -> float:
        return 1_000 * _mean(each.cost_usd for each in self.recent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the story: what is done first, and what it then waits for, at most so long."""

    name: str
    skills: dict[str, Any] | None
    until: Callable[[Run], bool]
    seconds_max: float


Told = asyncio.Queue[Phase | Hook | None]

PARTS: Final = (
    Part(
        name="learns the small tier", skills=None, until=lambda run: run.small_share >= 0.5,
        seconds_max=60,
    ),
    Part(
        name="small silently gets nine in ten wrong", skills=WORSE,
        until=lambda run: run.small_share <= 0.2 and run.quality >= FLOOR
        and (run.hook.fired("QualityWarn", ROLE) or run.hook.fired("QualityLow", ROLE)),
        seconds_max=60,
    ),
    Part(
        name="small is well again", skills=WELL, until=lambda run: run.small_share >= 0.5,
        seconds_max=90,
    ),
    Part(
        name="every model thinks aloud", skills=WORDY,
        until=lambda run: run.hook.fired("CostHigh", ROLE), seconds_max=45,
    ),
)  # fmt: skip


async def play(told: Told, clock: Clock, *, seed: int) -> None:
    """Run the whole story and put its phases, then the hook, and None should it break off."""
    ended: Hook | None = None
    try:
        async for one in story(clock, seed=seed):
            if isinstance(one, Hook):
                ended = one
            else:
                await told.put(one)
    finally:
        told.put_nowait(ended)


async def story(clock: Clock, *, seed: int) -> AsyncIterator[Phase | Hook]:
    """Run the loop and yield each phase when it is over, and at last all that was paged."""
    policy, prices = _texts()
    house = housed(policy, prices, provider="local", hook_env="TIERWISE_DEMO_HOOK", seed=seed)
    async with house as here:
        run = Run(here.hook)
        async with _agents(run, here, work=iter(tickets(TICKETS_MAX, seed=seed))):
            for part in PARTS:
                yield await _play(part, run, here.standin, clock)
        yield here.hook


async def _play(part: Part, run: Run, standin: StandinProcess, clock: Clock) -> Phase:
    if part.skills is not None:
        await asyncio.to_thread(standin.change_skills, part.skills)
    run.recent.clear()
    steps, began = run.steps, clock.monotonic()
    reached = False
    while not reached and clock.monotonic() - began < part.seconds_max:
        await clock.sleep(LOOK_SECONDS)
        reached = len(run.recent) == RECENT and part.until(run)
    return Phase(
        name=part.name,
        seconds=clock.monotonic() - began,
        steps=run.steps - steps,
        small_share=run.small_share,
        quality=run.quality,
        usd_per_thousand=run.usd_per_thousand,
        reached=reached,
    )


@contextlib.asynccontextmanager
async def _agents(run: Run, house: House, *, work: Iterator[Ticket]) -> AsyncIterator[None]:
    """Keep agents at work; what any of them stumbles over ends the block."""
    at = house.service
    asker = OpenAIAsker(f"{at.gateway}/v1")
    async with aiohttp.ClientSession(base_url=at.console, headers=house.bearer) as console:
        try:
            async with asyncio.TaskGroup() as group:
                agents = [
                    group.create_task(_agent(run, asker, console, work)) for _ in range(AGENTS)
                ]
                yield
                for agent in agents:
                    agent.cancel()
        finally:
            await asker.close()


async def _agent(
    run: Run, asker: OpenAIAsker, console: aiohttp.ClientSession, work: Iterator[Ticket]
) -> None:
    """Categorise ticket after ticket; the back office later says whether each was right."""
    for ticket in work:
        said = await asker.ask(replace(support.categorise(ticket), output_tokens_max=8_192))
        if said.error is None:
            right = said.text.strip() == ticket.category
            word = {
                "decision": said.headers["decision"], "name": "right", "score": float(right),
                "source": GRADER,
            }  # fmt: skip
            async with console.post("/v1/feedback", json=word) as answer:
                answer.raise_for_status()
            cost = float(said.headers.get("cost-usd", "nan"))
            run.recent.append(Graded(tier=said.headers["tier"], right=right, cost_usd=cost))
            run.steps += 1
        await asyncio.sleep(PAUSE_SECONDS)


def _texts() -> tuple[str, list[str]]:
    """Return policy.toml and the lines of prices."""
    prices: list[str] = []
    table = ["schema = 1", f"ladder = {json.dumps(list(TIERS))}"]
    for tier in TIERS:
        price, model = PRICES[tier], f"local/standin-{tier}"
        prices += [f'[prices."{model}"]', f"input = {price.input}", f"output = {price.output}"]
        table += [f"[tiers.{tier}]", f'models = ["{model}"]']
    return "\n".join(table) + "\n" + POLICY, prices


def _mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else float("nan")


async def tell(screen: Screen, told: Told) -> bool:
    """Show the phases as they come, then who was paged; say whether all came as it should."""
    screen.say(f"\n{STATED}\n", style="bold yellow")
    holds = True
    while isinstance(one := await told.get(), Phase):
        holds = holds and one.reached
        screen.say(line(one), style=None if one.reached else "bold red")
        screen.result({"event": "phase", **asdict(one)})
    if one is None:
        return False
    both = one.fired("QualityLow", ROLE) and one.fired("CostHigh", ROLE)
    pages = [page for page in one.pages if page.role == ROLE]
    for page in pages:
        screen.say(f"  paged: {page.status:<8} {page.name}: {page.summary}", style="yellow")
    screen.result({"event": "paged", "both": both, "pages": [asdict(page) for page in pages]})
    return holds and both


def line(phase: Phase) -> str:
    """Return one phase in words."""
    return (
        f"{phase.name:<42} {phase.steps:>5} steps in {phase.seconds:>4.0f} s; at its end "
        f"{phase.small_share:>4.0%} small, {phase.quality:>4.0%} right, "
        f"${phase.usd_per_thousand:.3f} a thousand"
    )
