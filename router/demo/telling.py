"""Each step joined with its spans, in the order in which the steps finished."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from evals.workloads.steps import StepResult
from router.demo.agents import Events, Note
from router.demo.store import Chain, Store
from telemetry.clock import Clock

POLL_SECONDS = 0.3
WAITING_MAX = 256
SPANS_SECONDS_MAX = 5.0  # for one step's spans to arrive


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One step and what became of it; ``chain`` is None when its spans never came."""

    result: StepResult
    chain: Chain | None


async def told(events: Events, store: Store, *, clock: Clock) -> AsyncIterator[Told | Note]:
    """Yield what the agents did, up to the end of ``events``, once the store knows it too."""
    waiting: deque[tuple[StepResult | Note, float]] = deque()
    more = True
    while more or waiting:
        await clock.sleep(POLL_SECONDS)
        more = _taken(events, waiting, now=clock.monotonic()) and more
        if not waiting:
            continue
        chains = {chain.decision_id: chain for chain in await store.chains() if chain.complete}
        while waiting:
            event, since = waiting[0]
            if isinstance(event, Note):
                yield event
            else:
                chain = chains.get(event.said.headers.get("decision", ""))
                overdue = clock.monotonic() - since > SPANS_SECONDS_MAX
                if chain is None and event.said.error is None and not overdue:
                    break
                yield Told(result=event, chain=chain)
            waiting.popleft()


def _taken(events: Events, waiting: deque[tuple[StepResult | Note, float]], *, now: float) -> bool:
    """Move what there is to ``waiting``; say whether more may come."""
    while len(waiting) < WAITING_MAX:
        try:
            event = events.get_nowait()
        except asyncio.QueueEmpty:
            return True
        if event is None:
            return False
        waiting.append((event, now))
    return True
