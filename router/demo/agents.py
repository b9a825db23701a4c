"""Both agents at work through the gateway, and the batch that is made to go wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evals.workloads import batch, support
from evals.workloads.clients import AnthropicAsker, Asker, OpenAIAsker
from evals.workloads.documents import documents
from evals.workloads.steps import StepResult
from evals.workloads.tickets import tickets
from router.demo.files import NIGHT_BUDGET_USD
from router.demo.ledgers import Sent

SEED = 7
TICKETS = 12
DOCUMENTS = 5
QUEUE_MAX = 64
PLAN = "batch"
BAD_PLAN = "bad-batch"
BAD_DOCUMENTS = 3
BAD_SKILLS: dict[str, Any] = {"standin-small": {"right": {"extract": 0.4}}}
INDUCED = (
    "Induced: from here on standin-small gets 40% of extractions right instead of 92%, and the "
    f"clerk takes on {BAD_DOCUMENTS} more documents."
)
NIGHT_TICKETS = 12  # enough for the budget to run out even if it is renewed in between
NIGHT = (
    f"At night a budget of ${NIGHT_BUDGET_USD:.2f} a day holds for the role {support.NIGHT_ROLE}; "
    "before each call the most that it can cost is held back."
)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the demo itself did between two steps."""

    text: str


Event = StepResult | Note
Events = asyncio.Queue[Event | None]


async def work(
    url: str,
    sent: list[Sent],
    events: Events,
    *,
    worsen: Callable[[dict[str, Any]], None],
) -> None:
    """Run both agents, then a batch on a worse model, then a night; tell ``events`` of each step.

    ``sent`` takes what they sent, without what the spent budget refused; ``worsen`` changes the
    small stand-in's table of skills. None is the last event, whether all went well or not; only
    who is cancelled says nothing more.
    """

    def record(path: str, body: dict[str, Any]) -> None:
        sent.append((path, body))

    openai = OpenAIAsker(f"{url}/v1", recorder=record)
    anthropic = AnthropicAsker(f"{url}/v1", recorder=record)
    cancelled = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_tickets(openai, events))
            group.create_task(_documents(anthropic, events, plan_id=PLAN, count=DOCUMENTS))
        await asyncio.to_thread(worsen, BAD_SKILLS)
        await events.put(Note(INDUCED))
        await _documents(anthropic, events, plan_id=BAD_PLAN, count=BAD_DOCUMENTS, seed=SEED + 1)
        await events.put(Note(NIGHT))
        async for result in support.decide_at_night(tickets(NIGHT_TICKETS, seed=SEED + 1), openai):
            if result.said.error is not None:
                sent.pop()  # what nobody answered is not replayed
            await events.put(result)
    except asyncio.CancelledError:
        cancelled = True
        raise
    finally:
        if not cancelled:
            await events.put(None)
        await openai.close()
        await anthropic.close()


async def _tickets(asker: Asker, events: Events) -> None:
    for ticket in tickets(TICKETS, seed=SEED):
        async for result in support.handle(ticket, asker):
            await events.put(result)


async def _documents(
    asker: Asker,
    events: Events,
    *,
    plan_id: str,
    count: int,
    seed: int = SEED,
) -> None:
    async for result in batch.process(documents(count, seed=seed), asker, plan_id=plan_id):
        await events.put(result)
