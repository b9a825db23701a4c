"""The Plan-and-Execute agents, through their real libraries, against a running gateway."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

import evals.agents
from evals.agents import reference, with_agents_sdk, with_langgraph
from evals.agents.job import (
    CAREFUL,
    EXECUTOR,
    FIELDS,
    MODE,
    PLANNER,
    REVISIONS_MAX,
    Job,
    Plan,
    Record,
    Reply,
    Step,
    executing,
    invoices,
    next_step,
    planned,
    planning,
    take,
    valid_order,
)
from evals.standin.ledger import Entry
from evals.standin.running import Serving, serving
from evals.workloads.documents import documents
from router.demo import grounded
from tests.harness import Running, config_for, cost_by_hand, running

POLICY = Path(evals.agents.__file__).with_name("policy.toml").read_text()
ADDRESS = "http://127.0.0.1:8090/check"
SURE = {name: {"right": 1.0} for name in ("standin-small", "standin-mid", "standin-frontier")}
BAD_SMALL = {**SURE, "standin-small": {"right": {"extract": 0.0}}}
BAD_BOTH = {**BAD_SMALL, "standin-mid": {"right": {"extract": 0.0}}}
ALL_BAD = {**BAD_BOTH, "standin-frontier": {"right": {"extract": 0.0}}}

Play = Callable[[Job, str], Awaitable[Record]]


async def _reference(job: Job, base_url: str) -> Record:
    async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        return await reference.run(job, client)


async def _langgraph(job: Job, base_url: str) -> Record:
    return await with_langgraph.run(job, with_langgraph.model_for(base_url))


async def _agents_sdk(job: Job, base_url: str) -> Record:
    async with with_agents_sdk.desk(base_url) as at:
        return await with_agents_sdk.run(job, at)


PLAYS = {"reference": _reference, "langgraph": _langgraph, "agents-sdk": _agents_sdk}
each_agent = pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)


@contextlib.asynccontextmanager
async def house(skills: dict[str, Any]) -> AsyncIterator[tuple[Serving, Running]]:
    """A gateway with the agents' policy before a stand-in with ``skills``."""
    async with serving() as standin, grounded.serving() as check:
        standin.standin.skills.change(skills)
        policy = POLICY.replace(ADDRESS, check).encode()
        async with running(config_for(standin.port), policy) as gateway:
            yield standin, gateway


def job(count: int) -> tuple[Job, dict[Step, str]]:
    """A job over invoices, and its right results."""
    found = documents(count, seed=7)
    truth = {
        Step(document=each.document_id, operation=one.name): each.truth[one.name]
        for each in found
        for one in FIELDS
    }
    return invoices("job", {each.document_id: each.text for each in found}), truth


def by_model(entries: list[Entry]) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in entries:
        name = entry.model.removeprefix("standin-")
        found[name] = found.get(name, 0) + 1
    return found


def checked(record: Record, standin: Serving) -> list[Entry]:
    """Check that the record's cost is the stand-in's bill, and return its entries."""
    entries = list(standin.standin.ledger.entries)
    assert record.cost_usd == pytest.approx(sum(map(cost_by_hand, entries)), rel=1e-9)
    return entries


@each_agent
async def test_an_agent_plans_once_and_executes_on_the_small_tier(play: Play) -> None:
    async with house(SURE) as (standin, gateway):
        work, truth = job(2)
        record = await play(work, gateway.base_url)
        assert record.results == truth
        assert (record.revisions_count, record.unanswered) == (0, [])
        assert by_model(checked(record, standin)) == {"frontier": 1, "small": 10}
        roles = [decision.context.role for decision, _ in gateway.kept.pairs]
        assert roles == [PLANNER] + [EXECUTOR] * 10
        plans = {(d.context.plan, d.context.mode) for d, _ in gateway.kept.pairs}
        assert plans == {("job", MODE)}


@each_agent
async def test_an_agent_plans_again_when_its_plan_has_spent_its_escalations(play: Play) -> None:
    async with house(BAD_SMALL) as (standin, gateway):
        work, truth = job(2)
        record = await play(work, gateway.base_url)
        assert record.results == truth
        first, second = record.plans[:2]
        assert (first.plan_id, second.plan_id) == ("job", "job.2")
        # Four escalations are the plan's; the fourth reply says so, and what failed is named.
        assert second.careful == set(first.order[:4])
        # 4 small and 4 mid under the first plan. The fifth field fails small once more under the
        # second, is answered by mid, and is named by nobody: one escalation of four. The second
        # document takes four careful steps, and the fifth field small and mid again.
        assert record.revisions_count == 1
        assert by_model(checked(record, standin)) == {
            "small": 4 + 1 + 1,
            "mid": 4 + 1 + 1,
            "frontier": 2 + 4,
        }


@each_agent
async def test_an_agent_does_again_what_the_top_of_the_range_got_wrong(play: Play) -> None:
    async with house(BAD_BOTH) as (standin, gateway):
        work, truth = job(1)
        record = await play(work, gateway.base_url)
        assert record.results == truth  # every one of them from the frontier in the end
        assert record.revisions_count == REVISIONS_MAX
        assert [sorted(plan.careful) for plan in record.plans][:2] == [[], ["invoice_number"]]
        checked(record, standin)


async def test_what_no_tier_gets_right_is_given_up_and_said() -> None:
    async with house(ALL_BAD) as (standin, gateway):
        work, truth = job(1)
        record = await _reference(work, gateway.base_url)
        assert record.results == {}
        assert set(record.unanswered) == set(truth)
        assert record.revisions_count == REVISIONS_MAX
        assert "0 results, 5 without" in reference.told(record)
        assert len(checked(record, standin)) <= (1 + REVISIONS_MAX) + 3 * 5


@each_agent
async def test_a_planner_that_answers_nonsense_is_replaced_by_the_declared_order(
    play: Play,
) -> None:
    skills = {**SURE, "standin-frontier": {"right": {"plan": 0.0}}}
    async with house(skills) as (_, gateway):
        work, truth = job(1)
        record = await play(work, gateway.base_url)
        assert record.results == truth
        assert record.plans[0].order == tuple(work.operations)


def test_a_plan_counts_when_it_holds_every_operation_once_after_its_needs() -> None:
    work, _ = job(1)
    order = ["vat_id", "iban", "phone", "invoice_number", "purchase_order"]
    assert valid_order(work.operations, json.dumps({"steps": order})) == order
    assert valid_order(work.operations, json.dumps({"steps": order[::-1]})) is None
    assert valid_order(work.operations, json.dumps({"steps": order[1:]})) is None
    assert valid_order(work.operations, json.dumps({"steps": [*order, "phone"]})) is None
    assert valid_order(work.operations, "[]") is None
    assert valid_order(work.operations, "steps") is None


def test_a_step_holds_one_document_and_only_the_results_it_needs() -> None:
    work, truth = job(2)
    record = Record(plans=[Plan(plan_id="job", order=tuple(work.operations))])
    record.results = dict(truth)
    step = next(step for step in truth if step.operation == "iban")
    ask = executing(work, record.plans[0], record, step)
    assert work.documents[step.document] in ask.prompt
    assert "vat_id is " in ask.prompt
    assert "phone is " not in ask.prompt
    other = next(text for name, text in work.documents.items() if name != step.document)
    assert other not in ask.prompt
    assert next_step(work, record.plans[0], record) is None


def test_a_result_of_the_wrong_form_is_no_result_though_the_gateway_passed_it() -> None:
    work, truth = job(1)
    plan = planned(work, Record(), Reply(text="nonsense"), plan_id="job")
    record = Record(plans=[plan])
    step = next(iter(truth))
    assert take(work, plan, record, step=step, reply=Reply(text="C9223"))
    assert record.results == {}
    again = planning(work, record)
    assert (again.plan_id, again.mode) == ("job.2", MODE)
    assert "failed under the plan before: invoice_number" in again.prompt
    second = planned(work, record, Reply(text=""), plan_id="job.2")
    record.plans.append(second)
    assert executing(work, second, record, step).mode == CAREFUL
    assert not take(work, second, record, step=step, reply=Reply(text="C9223"))
    assert record.unanswered == [step]
