"""The reference agent: plan once, execute bounded steps, validate, re-plan; only `openai` needed.

Run it against a gateway whose policy has the roles of ``policy.toml`` beside this file::

    python -m evals.agents.reference http://127.0.0.1:8080/v1
"""

import asyncio
import sys

from openai import AsyncOpenAI

from evals.agents.job import SYSTEM, Ask, Job, Record, Reply, invoices, pursue, reply_of
from evals.workloads.documents import documents

SECONDS_MAX = 60.0


async def run(job: Job, client: AsyncOpenAI) -> Record:
    """Do a job and return what was done; the gateway's errors are raised as the client's."""

    async def ask(one: Ask) -> Reply:
        raw = await client.chat.completions.with_raw_response.create(
            model="tierwise/auto",
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": one.prompt},
            ],
            max_completion_tokens=one.output_tokens_max,
            extra_headers=one.headers,
        )
        return reply_of(raw.parse().choices[0].message.content or "", raw.headers)

    return await pursue(job, ask)


def told(record: Record) -> str:
    """Return a run in a few lines for people."""
    tiers: dict[str, int] = {}
    for _, reply in record.replies:
        tiers[reply.tier or "?"] = tiers.get(reply.tier or "?", 0) + 1
    lines = [f"plan {plan.plan_id}: {' > '.join(plan.order)}" for plan in record.plans]
    lines += [f"{len(record.results)} results, {len(record.unanswered)} without"]
    lines += [f"answered by {tiers}, ${record.cost_usd:.6f}"]
    return "\n".join(lines)


def example(count: int = 4, *, seed: int = 7) -> Job:
    """Return a job over made-up invoices."""
    found = documents(count, seed=seed)
    return invoices(f"invoices-{seed}", {each.document_id: each.text for each in found})


async def main(base_url: str) -> None:
    """Run the example job against the gateway at ``base_url`` and tell what was done."""
    async with AsyncOpenAI(
        base_url=base_url, api_key="any", max_retries=0, timeout=SECONDS_MAX
    ) as client:
        sys.stdout.write(told(await run(example(), client)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
