"""The same agent with the OpenAI Agents SDK: a planner and an executor, each an ``Agent``.

    python -m evals.agents.with_agents_sdk http://127.0.0.1:8080/v1

The SDK keeps HTTP headers to itself, so a hook on its client notes the last reply's.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import agents
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from evals.agents.job import SYSTEM, Ask, Job, Record, Reply, pursue, reply_of
from evals.agents.reference import SECONDS_MAX, example, told


@dataclass(kw_only=True, slots=True)
class Desk:
    """The client that agents share, and the headers of the last reply it got."""

    model: agents.OpenAIChatCompletionsModel
    headers: dict[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def desk(base_url: str) -> AsyncIterator[Desk]:
    """Yield a desk before the gateway at ``base_url``; its steps are made one after the other."""
    found: list[Desk] = []

    async def note(response: Any) -> None:
        found[0].headers = dict(response.headers)

    async with AsyncOpenAI(
        base_url=base_url,
        api_key="any",
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(event_hooks={"response": [note]}, timeout=SECONDS_MAX),
    ) as client:
        found.append(Desk(model=agents.OpenAIChatCompletionsModel("tierwise/auto", client)))
        yield found[0]


async def run(job: Job, at: Desk) -> Record:
    """Do a job and return what was done."""

    async def ask(one: Ask) -> Reply:
        settings = agents.ModelSettings(extra_headers=one.headers, max_tokens=one.output_tokens_max)
        agent = agents.Agent(
            name=one.role, instructions=SYSTEM, model=at.model, model_settings=settings
        )
        quiet = agents.RunConfig(tracing_disabled=True)  # spans are the gateway's to send
        result = await agents.Runner.run(agent, one.prompt, max_turns=1, run_config=quiet)
        return reply_of(str(result.final_output), at.headers)

    return await pursue(job, ask)


async def main(base_url: str) -> None:
    """Run the example job against the gateway at ``base_url`` and tell what was done."""
    async with desk(base_url) as at:
        sys.stdout.write(told(await run(example(), at)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
