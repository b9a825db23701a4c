"""Explanations agree with what the gateway would do, and name what was passed over."""

import json
from datetime import date
from typing import Any

import pytest

from learning.learner import Declared
from router.explain import Explanation, Question, explain
from router.policy import Policy
from telemetry.errors import InvalidRequest
from telemetry.records import Dialect, Reason, RoleSource
from tests.router.declared import LADDER, TODAY, WORKER, policy

PIN = (
    '[roles.pii]\npin = { model = "local/tiny", reason = "EU data stays here", '
    'owner = "dpo@example.com", until = 2026-11-21 }\n'
)
RULE = '[[shapes]]\nrole = "pii"\nimages = true\n[[shapes]]\nrole = "worker"\ncode = true\n'


def asked(
    built: Policy,
    *,
    headers: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
    dialect: Dialect = Dialect.CHAT,
    key_role: str | None = None,
) -> Explanation:
    question = Question(
        dialect=dialect,
        headers=headers or {},
        body=json.dumps(body or {}).encode(),
        key_role=key_role,
    )
    return explain(built, question, learner=Declared(), today=TODAY)


def test_it_says_who_asked_and_every_source_that_named_a_role() -> None:
    found = asked(
        policy(WORKER + "[roles.planner]\n"),
        headers={"X-Tierwise-Role": "worker", "Baggage": "gen_ai.agent.name=critic"},
        body={"model": "tierwise/planner", "metadata": {"role": "other"}},
        key_role="planner",
    )
    assert (found.asker.role, found.asker.source) == ("worker", RoleSource.HEADER)
    assert found.asker.named == {
        "x-tierwise-role": "worker",
        "model": "planner",
        "metadata.role": "other",
        "baggage gen_ai.agent.name": "critic",
        "client key": "planner",
    }
    assert found.asker.rules == "roles.worker"


def test_it_says_where_the_step_starts_what_it_costs_and_where_it_goes_next() -> None:
    found = asked(policy(WORKER), headers={"x-tierwise-role": "worker"})
    assert found.choice is not None
    assert (found.choice.arm, found.choice.reason) == ("mid/step", Reason.DECLARED)
    assert found.choice.models == ("gpt/mini",)
    assert found.choice.addresses == ("gpt.example:443",)
    assert (found.choice.after_fail, found.choice.propensity) == ("frontier", 1.0)
    assert found.choice.params == {"reasoning_effort": "low"}
    assert found.refused is None
    mini = next(c for c in found.candidates if c.model == "gpt/mini")
    assert mini.usd_per_1k_input == pytest.approx(0.0005)
    assert mini.usd_per_1k_output == pytest.approx(0.002)
    assert mini.price_source == "config"


def test_every_model_of_the_policy_has_a_reason_and_only_the_first_has_none() -> None:
    found = asked(policy(WORKER), headers={"x-tierwise-role": "worker"})
    lost = {candidate.model: candidate.lost for candidate in found.candidates}
    assert lost == {
        "local/tiny": "the arm starts at 'mid', which is above it",
        "claude/mid": "its provider does not speak chat",
        "gpt/mini": None,
        "claude/big": "its provider does not speak chat",
        "gpt/big": "above the start 'mid': reached when checks or models there fail",
    }


def test_a_second_model_of_the_tier_waits_for_the_first_to_be_down() -> None:
    built = policy()
    tiers = built.file.tiers["frontier"].models
    assert tiers == ("claude/big", "gpt/big")
    found = asked(built, dialect=Dialect.MESSAGES)
    lost = {candidate.model: candidate.lost for candidate in found.candidates}
    assert lost["claude/big"] is None
    assert lost["gpt/big"] == "its provider does not speak messages"
    assert lost["claude/mid"] == "its tier is outside roles.default: frontier to frontier"


def test_tiers_above_an_arm_that_accepts_are_out_of_reach() -> None:
    built = policy(WORKER + 'on_fail = "accept"\n')
    found = asked(built, headers={"x-tierwise-role": "worker"})
    lost = {candidate.model: candidate.lost for candidate in found.candidates}
    assert lost["gpt/big"] == "the arm starts at 'mid' and accepts"
    assert found.choice is not None
    assert found.choice.after_fail is None


def test_a_pinned_model_of_two_tiers_wins_in_one() -> None:
    tiers = LADDER.replace('["claude/big", "gpt/big"]', '["gpt/big", "local/tiny"]')
    found = asked(policy(PIN, tiers=tiers), headers={"x-tierwise-role": "pii"})
    winners = [(one.tier, one.model) for one in found.candidates if one.lost is None]
    assert winners == [("frontier", "local/tiny")]


def test_a_shape_rule_is_named_by_its_place() -> None:
    body = {"messages": [{"role": "user", "content": "```x```"}]}
    found = asked(policy(WORKER + PIN + RULE), body=body)
    assert (found.asker.role, found.asker.source) == ("worker", RoleSource.SHAPE)
    assert found.asker.shape_rule == 1
    assert found.asker.shape.code


def test_a_pin_is_shown_with_its_owner_and_that_its_day_is_over() -> None:
    found = asked(policy(PIN), headers={"x-tierwise-role": "pii"})
    assert found.pin is not None
    assert (found.pin.model, found.pin.owner) == ("local/tiny", "dpo@example.com")
    assert (found.pin.until, found.pin.expired) == (date(2026, 11, 21), True)
    assert found.choice is not None
    assert found.choice.reason is Reason.PINNED
    lost = {candidate.model: candidate.lost for candidate in found.candidates}
    assert lost["local/tiny"] is None
    assert lost["gpt/big"] == "the step is pinned to local/tiny"


def test_a_model_named_by_the_caller_pins_only_where_callers_may() -> None:
    body = {"model": "gpt/big", "metadata": {"role": "worker"}}
    allowed = asked(policy(WORKER + "caller_pins = true\n"), body=body)
    assert allowed.choice is not None
    assert (allowed.choice.reason, allowed.choice.models) == (Reason.CALLER_PIN, ("gpt/big",))
    ignored = asked(policy(WORKER), body=body)
    assert ignored.choice is not None
    assert (ignored.choice.reason, ignored.choice.arm) == (Reason.DECLARED, "mid/step")


def test_a_refusal_is_explained_not_raised() -> None:
    built = policy('[roles.worker]\ntier = "small"\nrange = ["small", "small"]\n')
    found = asked(built, headers={"x-tierwise-role": "worker"}, dialect=Dialect.MESSAGES)
    assert found.choice is None
    assert "policy_denied (no_arm_for_dialect)" in (found.refused or "")
    assert all(candidate.lost for candidate in found.candidates)
    unknown = asked(built, body={"model": "gpt/gone"})
    assert "invalid_request (unknown_model)" in (unknown.refused or "")


def test_a_mode_is_named_only_when_the_role_knows_it() -> None:
    built = policy(WORKER + '[roles.worker.mode.debate]\ntier = "small"\n')
    headers = {"x-tierwise-role": "worker", "x-tierwise-mode": "debate"}
    assert asked(built, headers=headers).asker.mode == "debate"
    assert asked(built, headers=headers | {"x-tierwise-mode": "chain"}).asker.mode is None


def test_a_body_that_is_no_object_is_the_askers_fault() -> None:
    question = Question(dialect=Dialect.CHAT, body=b"[]")
    with pytest.raises(InvalidRequest):
        explain(policy(), question, learner=Declared(), today=TODAY)


BUDGETS = """
[[budgets]]
scope = "request"
usd = 0.01
[[budgets]]
scope = "session"
usd = 2
on_exhausted = "cheapest"
[[budgets]]
scope = "role"
name = "worker"
usd = 60
[[budgets]]
scope = "role"
name = "planner"
usd = 6
[[budgets]]
scope = "key"
usd = 7
"""


def test_it_names_the_budgets_that_apply_and_what_the_first_call_holds_back() -> None:
    built = policy(WORKER + "[roles.planner]\n" + BUDGETS)
    body = {"model": "tierwise/worker", "max_tokens": 1_000}
    found = asked(built, body=body, headers={"X-Session-Id": "s-1"})
    # worker starts at claude/mid and gpt/mini; of them gpt/mini speaks chat: 0.5 and 2 dollars per
    # million. No token is shorter than one byte, and the body has so many.
    held = len(json.dumps(body)) * 0.5e-6 + 1_000 * 2e-6
    assert [(note.scope, note.subject, note.usd) for note in found.budgets] == [
        ("request", None, 0.01),
        ("session", "s-1", 2),
        ("role", "worker", 60),
    ]
    assert {round(note.held_usd, 12) for note in found.budgets} == {round(held, 12)}
    assert [note.on_exhausted for note in found.budgets] == ["refuse", "cheapest", "refuse"]
    assert all(note.fits for note in found.budgets)
    large = asked(built, body=body | {"max_tokens": 10_000})
    assert [(note.scope, note.fits) for note in large.budgets] == [
        ("request", False),
        ("role", True),
    ]


def test_a_refused_request_has_no_budgets() -> None:
    built = policy("[roles.worker]\n" + BUDGETS.replace('name = "planner"', 'name = "default"'))
    found = asked(built, headers={"x-tierwise-role": "worker"}, dialect=Dialect.EMBEDDINGS)
    assert found.refused is not None
    assert found.budgets == ()
