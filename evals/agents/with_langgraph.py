"""The same agent as a LangGraph graph: plan, execute, and an edge back to plan.

python -m evals.agents.with_langgraph http://127.0.0.1:8080/v1
"""

import asyncio
import sys
from typing import TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from pydantic import SecretStr

from evals.agents.job import (
    SYSTEM,
    Ask,
    Job,
    Record,
    Reply,
    executing,
    next_step,
    reply_of,
    revise,
    take,
)
from evals.agents.reference import SECONDS_MAX, example, told

HOPS_MAX = 1_000  # of one run through the graph


class State(TypedDict):
    """What the nodes hand on; the record is one object that they share."""

    job: Job
    record: Record
    revise: bool


async def run(job: Job, model: ChatOpenAI) -> Record:
    """Do a job through the graph and return what was done."""

    async def ask(one: Ask) -> Reply:
        answer = await model.ainvoke(
            [("system", SYSTEM), ("user", one.prompt)],
            extra_headers=one.headers,
            max_completion_tokens=one.output_tokens_max,
        )
        return reply_of(str(answer.content), answer.response_metadata["headers"])

    async def plan(state: State) -> dict[str, bool]:
        await revise(job, state["record"], ask)
        return {"revise": False}

    async def execute(state: State) -> dict[str, bool]:
        record = state["record"]
        current = record.plans[-1]
        step = next_step(job, current, record)
        if step is None:
            return {"revise": False}
        reply = await ask(executing(job, current, record, step))
        return {"revise": take(job, current, record, step=step, reply=reply)}

    def following(state: State) -> str:
        if state["revise"]:
            return "plan"
        left = next_step(job, state["record"].plans[-1], state["record"])
        return "execute" if left is not None else END

    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("execute", execute)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "execute")
    graph.add_conditional_edges("execute", following, ["plan", "execute", END])
    ended = await graph.compile().ainvoke(
        State(job=job, record=Record(), revise=False), {"recursion_limit": HOPS_MAX}
    )
    record: Record = ended["record"]
    return record


def model_for(base_url: str) -> ChatOpenAI:
    """Return the model that the graph calls: the gateway's, with its headers kept."""
    return ChatOpenAI(
        model="tierwise/auto",
        base_url=base_url,
        api_key=SecretStr("any"),
        max_retries=0,
        timeout=SECONDS_MAX,
        include_response_headers=True,
    )


if __name__ == "__main__":
    sys.stdout.write(told(asyncio.run(run(example(), model_for(sys.argv[1])))) + "\n")
