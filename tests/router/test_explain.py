"""Explanations agree with what the gateway would do, and name what was passed over."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from learning.revision import Revision
from learning.standing import Standing
from router.decider import Decider
from router.explain import Explanation, Question, explain
from router.policy import Policy
from router.served import Served
from telemetry.errors import InvalidRequest
from telemetry.records import Arm, Dialect, OnFail, Reason, RoleSource
from tests.learning.test_features import SHAPE
from tests.router.declared import LADDER, LEARNER, TODAY, WORKER, context, policy

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
    standing: Standing | None = None,
) -> Explanation:
    question = Question(
        dialect=dialect,
        headers=headers or {},
        body=json.dumps(body or {}).encode(),
        key_role=key_role,
    )
    return explain(built, question, standing=standing or Standing(), today=TODAY)


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
        explain(policy(), question, standing=Standing(), today=TODAY)


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


SHARES = {"small/step": 0.625, "mid/step": 0.25, "frontier/accept": 0.125}
WORKS = {"x-tierwise-role": "worker"}


def revision(built: Policy, shares: dict[str, float] = SHARES) -> Revision:
    return Revision(
        policy_hash=built.hash, parent=None, shares={"worker||": shares}, evidence={"worker||": {}}
    )


def test_a_revision_is_shown_with_all_its_arms_and_the_likeliest_is_followed() -> None:
    built = policy(LEARNER)
    made = revision(built)
    found = asked(built, headers=WORKS, standing=Standing(revision=made))
    assert found.served == (Served(revision=made.revision_id, share=1.0, arms=SHARES),)
    assert list(found.served[0].arms) == ["small/step", "mid/step", "frontier/accept"]
    assert found.choice is not None
    assert (found.choice.arm, found.choice.propensity) == ("small/step", 0.625)
    assert (found.choice.reason, found.choice.revision) == (Reason.LEARNED, made.revision_id)
    assert (found.choice.models, found.choice.after_fail) == (("local/tiny",), "mid")
    lost = {candidate.model: candidate.lost for candidate in found.candidates}
    assert lost["local/tiny"] is None
    assert lost["gpt/mini"] == "above the start 'small': reached when checks or models there fail"
    assert not found.outdated


def test_without_a_revision_the_declared_arm_is_the_only_one() -> None:
    found = asked(policy(LEARNER), headers=WORKS)
    assert found.served == (Served(revision="declared", share=1.0, arms={"mid/step": 1.0}),)


@pytest.mark.parametrize("learn", ["off", "observe"])
def test_a_role_that_is_not_served_what_is_learned_stays_declared(learn: str) -> None:
    built = policy(LEARNER.replace('"bounded"', f'"{learn}"'))
    found = asked(built, headers=WORKS, standing=Standing(revision=revision(built)))
    assert [one.revision for one in found.served] == ["declared"]


def test_a_rollout_shows_both_sides_and_a_session_only_its_own() -> None:
    built = policy(LEARNER)
    new, before = revision(built), revision(built, {"frontier/accept": 1.0})
    standing = Standing(revision=new, previous=before, rollout=0.25)
    found = asked(built, headers=WORKS, standing=standing)
    assert [(one.revision, one.share) for one in found.served] == [
        (before.revision_id, 0.75),
        (new.revision_id, 0.25),
    ]
    assert found.choice is not None
    assert (found.choice.arm, found.choice.propensity) == ("frontier/accept", 1.0)
    decider = Decider()
    decider.take(standing)
    seen = set()
    for number in range(20):
        session = f"s{number}"
        headers = WORKS | {"x-tierwise-session": session}
        (one,) = asked(built, headers=headers, standing=standing).served
        told = decider.decide(built, replace(context(), session=session), decision_id="d", at_ns=7)
        assert (one.revision, one.share) == (told.revision, 1.0)
        seen.add(one.revision)
    assert seen == {new.revision_id, before.revision_id}


def test_a_session_that_goes_on_is_shown_the_arm_that_it_draws() -> None:
    built = policy(LEARNER)
    standing = Standing(revision=revision(built))
    decider = Decider()
    decider.take(standing)
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "And now?"},
    ]
    seen = set()
    for number in range(20):
        session = f"s{number}"
        headers = WORKS | {"x-tierwise-session": session}
        found = asked(built, headers=headers, body={"messages": messages}, standing=standing)
        going_on = replace(context(), session=session, shape=replace(SHAPE, continues=True))
        told = decider.decide(built, going_on, decision_id="another", at_ns=7)
        assert found.asker.shape.continues
        assert found.choice is not None
        assert (found.choice.arm, found.choice.propensity) == (str(told.arm), told.propensity)
        assert found.choice.reason is told.reason
        seen.add(found.choice.arm)
    assert len(seen) > 1


def test_a_revision_of_another_policy_is_called_outdated_and_decides_nothing() -> None:
    built = policy(LEARNER)
    other = policy(LEARNER.replace("0.9", "0.8"))
    found = asked(built, headers=WORKS, standing=Standing(revision=revision(other)))
    assert found.outdated
    assert [one.revision for one in found.served] == ["declared"]


def test_an_arm_that_people_hold_is_certain() -> None:
    built = policy(LEARNER)
    held = Arm(tier="frontier", on_fail=OnFail.ACCEPT)
    standing = Standing(revision=revision(built), pins={"worker": held})
    found = asked(built, headers=WORKS, standing=standing)
    assert found.held == "frontier/accept"
    assert found.choice is not None
    assert (found.choice.arm, found.choice.reason) == ("frontier/accept", Reason.PINNED)
