"""The agents against stand-ins: what the workload judges right is right, whoever is asked."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evals.standin.running import Serving, serving
from evals.workloads import batch, clients, support
from evals.workloads.clients import AnthropicAsker, MissingClient, OpenAIAsker
from evals.workloads.documents import documents
from evals.workloads.steps import Call, Said, StepResult
from evals.workloads.tickets import ACTIONS, CATEGORIES, LANGUAGES, tickets

MODELS = ("standin-small", "standin-mid", "standin-frontier")


@pytest.fixture
async def standin() -> AsyncIterator[Serving]:
    async with serving() as served:
        yield served


async def support_results(served: Serving, model: str, count: int) -> list[StepResult]:
    asker = OpenAIAsker(served.base_url, model=model)
    try:
        return [r for t in tickets(count, seed=4) async for r in support.handle(t, asker)]
    finally:
        await asker.close()


async def batch_results(served: Serving, model: str, count: int) -> list[StepResult]:
    asker = AnthropicAsker(served.base_url, model=model)
    try:
        return [r async for r in batch.process(documents(count, seed=4), asker, plan_id="p")]
    finally:
        await asker.close()


def test_tickets_and_documents_come_from_the_seed_alone() -> None:
    assert tickets(30, seed=1) == tickets(30, seed=1) != tickets(30, seed=2)
    assert documents(30, seed=1) == documents(30, seed=1) != documents(30, seed=2)
    many = tickets(25, seed=1)
    pairs = {(ticket.language, ticket.category) for ticket in many}
    assert pairs == {(language, category) for language in LANGUAGES for category in CATEGORIES}
    assert {ticket.action for ticket in tickets(100, seed=1)} == set(ACTIONS)


def test_each_document_has_one_truth_for_each_of_twenty_steps() -> None:
    assert len(batch.STEPS) == 20
    for document in documents(12, seed=9):
        assert set(document.truth) == set(batch.STEPS)


@pytest.mark.parametrize("model", MODELS)
async def test_both_judges_agree_on_every_step_of_both_agents(standin: Serving, model: str) -> None:
    """The workload knows the truth from its generator, the stand-in reads it from the text."""
    results = await support_results(standin, model, 25)
    results += await batch_results(standin, model, 12)
    believed = [entry.right for entry in standin.standin.ledger.entries]
    assert [result.right for result in results] == believed
    assert len(results) == 25 * 9 + 1 + 12 * 20


async def test_a_perfect_model_is_judged_perfect_and_a_hopeless_one_hopeless(
    standin: Serving,
) -> None:
    standin.standin.skills.change({"standin-mid": {"right": 1}, "standin-small": {"right": 0}})
    for model, share in (("standin-mid", 1.0), ("standin-small", 0.0)):
        results = await support_results(standin, model, 5) + await batch_results(standin, model, 3)
        assert sum(bool(r.right) for r in results) / len(results) == share


async def test_steps_name_role_session_mode_and_plan(standin: Serving) -> None:
    roles = [r.role for r in await support_results(standin, "standin-mid", 1)]
    assert tuple(roles) == support.ROLES
    results = await batch_results(standin, "standin-mid", 1)
    assert {r.role for r in results} == set(batch.ROLES)
    assert results[0].step == "plan"


async def test_an_error_of_the_other_side_is_a_wrong_step_and_not_an_exception(
    standin: Serving,
) -> None:
    results = await support_results(standin, "standin-status-503", 1)
    results += await batch_results(standin, "standin-status-529", 1)
    assert {r.right for r in results} == {False}
    assert "InternalServerError" in str(results[0].said.error)
    assert "Overloaded" in str(results[-1].said.error)


async def test_at_night_the_desk_decides_until_it_gets_no_answer(standin: Serving) -> None:
    asker = OpenAIAsker(standin.base_url, model="standin-frontier")
    three = tickets(3, seed=4)
    results = [r async for r in support.decide_at_night(three, asker)]
    await asker.close()
    assert [r.role for r in results] == [support.NIGHT_ROLE] * 3
    assert [r.right for r in results] == [entry.right for entry in standin.standin.ledger.entries]
    refusing = OpenAIAsker(standin.base_url, model="standin-status-402")
    results = [r async for r in support.decide_at_night(three, refusing)]
    await refusing.close()
    assert [r.right for r in results] == [False]


async def test_what_was_sent_is_recorded_for_a_replay(standin: Serving) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    asker = OpenAIAsker(
        standin.base_url, model="standin-mid", recorder=lambda path, body: sent.append((path, body))
    )
    async for _ in support.handle(tickets(1, seed=1)[0], asker):
        pass
    await asker.close()
    assert [path for path, _ in sent].count("responses") == 5
    assert [path for path, _ in sent].count("chat/completions") == 4
    assert all(body["model"] == "standin-mid" for _, body in sent)


def test_a_plan_is_valid_in_any_order_that_keeps_the_needs() -> None:
    declared = list(batch.STEPS)
    assert batch.valid_plan(json.dumps({"steps": declared})) == declared
    swapped = [*declared[:2], declared[3], declared[2], *declared[4:]]
    assert batch.valid_plan(json.dumps({"steps": swapped})) == swapped
    for wrong in (declared[::-1], declared[1:], [*declared, "kind"], "kind", None, [1]):
        assert batch.valid_plan(json.dumps({"steps": wrong})) is None
    assert batch.valid_plan("no JSON") is None


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingClient, match=r"pip install 'tierwise\[demo\]'"):
        clients.OpenAIAsker("http://127.0.0.1:1/v1")


class Clerk:
    """Answers every step of some documents rightly, and asks for a new plan when told to."""

    def __init__(self, *, moved: dict[int, str], replan_at: set[int]) -> None:
        self.calls: list[Call] = []
        self._moved = moved  # number of the call: the tier that it was escalated from
        self._replan_at = replan_at

    async def ask(self, call: Call) -> Said:
        self.calls.append(call)
        number = len(self.calls)
        headers = {"escalated-from": self._moved[number]} if number in self._moved else {}
        if number in self._replan_at:
            headers["replan"] = "true"
        if call.role == "planner":
            names = [line[2:].split(" ")[0] for line in call.user.splitlines() if line[:2] == "- "]
            order: list[str] = []
            while len(order) < len(names):
                order += [
                    next(n for n in names if n not in order and set(batch.STEPS[n][1]) <= {*order})
                ]
            return Said(text=json.dumps({"steps": order}), headers=headers)
        found = next(d for d in documents(2, seed=4) if d.document_id == call.session)
        return Said(text=found.truth[call.step], headers=headers)

    async def close(self) -> None:
        pass


async def test_a_spent_plan_is_planned_again_and_the_second_plan_is_followed() -> None:
    # The first call plans; the sixth, the purchase order, spends what the plan may escalate.
    declared = list(batch.STEPS)
    clerk = Clerk(moved={4: "small", 6: "small", 5: "code"}, replan_at={6})
    results = [r async for r in batch.process(documents(2, seed=4), clerk, plan_id="p")]
    assert all(result.right for result in results)
    troubled = {declared[2], declared[4]}  # a function that abstained is no trouble
    before, replan, after = clerk.calls[:6], clerk.calls[6], clerk.calls[7:]
    assert {call.plan for call in before} == {"p"}
    assert before[0].step == "plan"
    assert {call.mode for call in before} == {batch.MODE}
    assert (replan.role, replan.step, replan.plan) == ("planner", "replan", "p.2")
    assert all(name in replan.user.split("<operations>")[0] for name in troubled)
    assert {call.plan for call in after} == {"p.2"}
    assert sorted(c.step for c in before[1:] + after[:15]) == sorted(declared)
    second = [call.step for call in after[15:]]
    assert sorted(second) == sorted(declared)
    assert second != declared
    assert [c.step for c in after[:15]] == [n for n in second if n not in declared[:5]]
    assert {c.step for c in after if c.mode == batch.CAREFUL} == troubled


async def test_an_agent_does_not_plan_for_ever() -> None:
    clerk = Clerk(moved={4: "small"}, replan_at=set(range(1_000)))
    results = [r async for r in batch.process(documents(2, seed=4), clerk, plan_id="p")]
    assert sum(result.role == "planner" for result in results) == 1 + batch.REVISIONS_MAX
    assert sum(result.role != "planner" for result in results) == 2 * len(batch.STEPS)


async def test_without_trouble_there_is_nothing_to_plan_anew() -> None:
    clerk = Clerk(moved={4: "code"}, replan_at={4, 5})
    results = [r async for r in batch.process(documents(1, seed=4), clerk, plan_id="p")]
    assert sum(result.role == "planner" for result in results) == 1


async def test_an_agent_that_is_cancelled_as_its_answer_arrives_ends_all_the_same() -> None:
    answer: asyncio.Future[Said] = asyncio.get_running_loop().create_future()

    async def asking() -> Said:
        return await answer

    asked = asyncio.create_task(clients._caught(asking(), ValueError))
    for _ in range(3):
        await asyncio.sleep(0)
    answer.set_result(Said(text="too late"))
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
