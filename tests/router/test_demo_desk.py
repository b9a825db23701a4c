"""What the demo writes for its gateway: policy, code functions, and a check over HTTP."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from genai_prices import Usage, calc_price

from evals.codetier import ToolUse
from evals.steps import Step, read_step
from evals.workloads import batch, support
from evals.workloads.documents import documents
from evals.workloads.steps import Said
from evals.workloads.tickets import tickets
from router.demo import desk_rules, files, grounded
from router.settings import load
from telemetry.records import Dialect


def step_saying(text: str) -> Step:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return read_step(body, role="r", dialect=Dialect.CHAT)


class Recorder:
    """Answers nothing and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def ask(self, call: Any) -> Said:
        self.calls.append(call)
        return Said(text="")

    async def close(self) -> None:
        pass


async def asked_of_documents(count: int) -> list[Any]:
    recorder = Recorder()
    async for _ in batch.process(documents(count, seed=3), recorder, plan_id="p"):
        pass
    return recorder.calls


def test_the_files_it_writes_are_ones_the_gateway_loads(tmp_path: Path) -> None:
    paths = files.write(
        tmp_path, local="http://127.0.0.1:1/v1", cloud="http://127.0.0.1:2/v1",
        grounded_url="http://127.0.0.1:3/check",
    )  # fmt: skip
    config, policy = load(*paths)
    assert set(config.providers) == {"local", "cloud"}
    assert config.prices["cloud/standin-mid"].cache_write == 1.25
    assert {name: role.tier for name, role in policy.roles.items()} == {
        **files.STARTS, "default": "mid",
    }  # fmt: skip
    assert policy.ladder == ("code", *files.TIERS)
    assert policy.plans.escalations_max == files.PLAN_ESCALATIONS_MAX
    (budget,) = policy.budgets
    assert (budget.name, budget.usd) == (support.NIGHT_ROLE, files.NIGHT_BUDGET_USD)
    assert (tmp_path / "desk_rules.py").is_file()
    for role in files.CAREFUL:
        assert policy.roles[role].mode[batch.CAREFUL].tier == "mid"


@pytest.mark.parametrize("tier", files.TIERS)
def test_the_demos_prices_are_the_list_prices_it_says_they_are(tier: str) -> None:
    price = files.PRICES[tier]
    million = 1_000_000
    for usage, want in (
        (Usage(input_tokens=million), price.input),
        (Usage(output_tokens=million), price.output),
        (Usage(input_tokens=million, cache_read_tokens=million), price.cache_read),
        (Usage(input_tokens=million, cache_write_tokens=million), price.cache_write),
    ):
        listed = calc_price(usage, model_ref=price.like).total_price
        assert float(listed) == pytest.approx(want)


def test_an_order_is_looked_up_from_the_subject_or_not_at_all() -> None:
    for number, ticket in enumerate(tickets(30, seed=5)):
        found = desk_rules.look_up(step_saying(f"Look up.\n\n<ticket>\n{ticket.text}\n</ticket>"))
        if number % 3 == 2:
            assert found is None
        else:
            want = {"order_id": ticket.order.order_id}
            assert found == ToolUse(name="look_up_order", arguments=want)


@pytest.mark.parametrize(
    ("draft", "violations"),
    [
        ("Order DE-1: refund.", []),
        ("Order DE-1: refund. We GUARANTEE it.", ["guarantee"]),
        ("Order DE-2.", ["DE-1", "refund"]),
    ],
)
def test_a_draft_is_checked_by_looking_for_substrings(draft: str, violations: list[str]) -> None:
    asked = (
        "Check the draft against the policy.\n- the draft must contain 'DE-1'\n"
        f"- the draft must contain 'refund'\n- the draft must not contain '{support.FORBIDDEN}'"
        f"\n\n<draft>\n{draft}\n</draft>"
    )
    found = desk_rules.check_policy(step_saying(asked))
    assert found == {"ok": not violations, "violations": violations}
    assert desk_rules.check_policy(step_saying(draft)) is None


async def test_what_the_desk_normalises_is_right_and_the_rest_is_handed_on() -> None:
    made = documents(9, seed=3)
    answered: dict[tuple[str, bool], set[bool]] = {}
    calls = [call for call in await asked_of_documents(9) if call.role == "normaliser"]
    for call in calls:
        document = next(d for d in made if d.document_id == call.session)
        found = desk_rules.normalise(step_saying(call.user))
        french = document.language == "fr"
        answered.setdefault((call.step, french), set()).add(found is not None)
        assert found in (None, document.truth[call.step])
    known = {"line_items", "file_name", "issue_date", "due_date"}
    assert answered == {
        (step, french): {step in known and not (french and step != "line_items")}
        for step in {call.step for call in calls}
        for french in (False, True)
    }


def candidate(text: str = "", *, calls: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {
        "text": text,
        "tool_calls": [{"name": "t", "arguments": json.dumps(call)} for call in calls],
        "last_user_text": "From: Anja Groß\nOrder DE-482913, 12 pieces",
    }


@pytest.mark.parametrize(
    ("asked", "verdict", "score"),
    [
        (candidate("DE-482913"), "pass", 1.0),
        (candidate(" DE-482913\n"), "pass", 1.0),
        (candidate("DE-482914"), "fail", 0.0),
        (candidate("Anja"), "pass", 1.0),  # a part of a value stands there too
        (candidate("unknown"), "abstain", None),
        (candidate(""), "abstain", None),
        (candidate("{}"), "abstain", None),
        (candidate('{"order": "DE-482913", "name": "Anja Gross", "n": 12}'), "fail", 0.5),
        (candidate("[1"), "fail", 0.0),
        (candidate(calls=({"order_id": "DE-482913"},)), "pass", 1.0),
        (candidate("DE-482913", calls=({"order_id": "DE-1"},)), "fail", 0.0),
    ],
)
def test_an_answer_is_grounded_when_its_values_stand_in_the_text(
    asked: dict[str, Any], verdict: str, score: float | None
) -> None:
    found = grounded.verdict(asked)
    assert (found["verdict"], found.get("score")) == (verdict, score)
    assert "DE-4" not in found["reason"]


async def test_the_check_is_served_as_the_gateway_asks_for_it() -> None:
    async with (
        grounded.serving() as url,
        aiohttp.ClientSession() as session,
        session.post(url, json=candidate("DE-482914")) as answer,
    ):
        assert answer.status == 200
        assert (await answer.json())["verdict"] == "fail"
