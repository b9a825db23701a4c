"""Steps decided by a standing policy over a declared one that may change beneath it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from learning.revision import Revision
from learning.standing import Standing
from router.decider import POLICIES_MAX, Decider
from router.policy import Policy
from telemetry.records import Arm, Context, Decision, Dialect, OnFail, Reason
from tests.learning.test_features import SHAPE
from tests.router.declared import ALERTS, LEARNER, WORKER, context, policy

SHARES = {"small/step": 0.3, "mid/step": 0.5, "frontier/accept": 0.2}
CRITIC = """
[roles.critic]
tier = "mid"
range = ["small", "frontier"]
learn = "bounded"
quality_floor = 0.8
"""
ROLES = LEARNER.replace(ALERTS, CRITIC + ALERTS)
DEBATE = LEARNER.replace(ALERTS, "[roles.worker.mode.debate]\nquality_floor = 0.99\n" + ALERTS)


def revision(built: Policy, *cells: str, **shares: float) -> Revision:
    found = {name.replace("_", "/"): share for name, share in shares.items()} or SHARES
    return Revision(
        policy_hash=built.hash,
        parent=None,
        shares=dict.fromkeys(cells or ("worker||",), found),
        evidence={},
    )


def taught(standing: Standing) -> Decider:
    made = Decider()
    made.take(standing)
    return made


def decide(
    made: Decider, built: Policy, asked: Context | None = None, *, id_: str = "d"
) -> Decision:
    return made.decide(built, asked or context(), decision_id=id_, at_ns=7)


def test_without_a_standing_policy_everything_is_declared() -> None:
    decision = decide(Decider(), policy(LEARNER))
    assert (str(decision.arm), decision.propensity) == ("mid/step", 1.0)
    assert (decision.reason, decision.revision) == (Reason.DECLARED, "declared")


def test_arms_are_drawn_as_often_as_the_revision_says_and_named_after_it() -> None:
    """4,000 fixed ids; five standard deviations of the commonest share are 158."""
    built = policy(LEARNER)
    made = revision(built)
    decider = taught(Standing(revision=made))
    found = [decide(decider, built, id_=f"d{number}") for number in range(4_000)]
    counts = Counter(str(decision.arm) for decision in found)
    assert set(counts) == set(SHARES)
    for arm, share in SHARES.items():
        assert abs(counts[arm] - 4_000 * share) <= 158
    for decision in found:
        assert decision.propensity == SHARES[str(decision.arm)]
        assert decision.revision == made.revision_id
    reasons = {(str(decision.arm), decision.reason) for decision in found}
    assert ("mid/step", Reason.LEARNED) in reasons
    assert ("small/step", Reason.EXPLORED) in reasons


@pytest.mark.parametrize("learn", ["off", "observe"])
def test_roles_that_do_not_learn_never_use_shares(learn: str) -> None:
    built = policy(LEARNER.replace('"bounded"', f'"{learn}"'))
    decision = decide(taught(Standing(revision=revision(built))), built)
    assert (decision.revision, decision.propensity) == ("declared", 1.0)


def test_a_revision_that_does_not_know_the_role_did_not_decide() -> None:
    built = policy(LEARNER)
    decision = decide(taught(Standing(revision=revision(built, "critic||"))), built)
    assert (decision.revision, decision.reason) == ("declared", Reason.DECLARED)


def test_a_session_sees_one_revision_and_those_outside_the_rollout_the_previous_one() -> None:
    built = policy(LEARNER)
    new, old = revision(built, small_step=1.0), revision(built, frontier_accept=1.0)
    decider = taught(Standing(revision=new, previous=old, rollout=0.5))
    seen: dict[str, set[str]] = {}
    for number in range(200):
        session = f"s{number % 20}"
        decision = decide(decider, built, replace(context(), session=session), id_=f"d{number}")
        seen.setdefault(session, set()).add(decision.revision)
        assert decision.propensity == 1.0
        assert (
            decision.arm.tier
            == {new.revision_id: "small", old.revision_id: "frontier"}[decision.revision]
        )
    assert all(len(revisions) == 1 for revisions in seen.values())
    assert len(set().union(*seen.values())) == 2


def test_without_a_session_a_plan_stays_together_and_else_each_decision_is_alone() -> None:
    built = policy(LEARNER)
    decider = taught(Standing(revision=revision(built, small_step=1.0), rollout=0.5))
    planned = replace(context(), plan="p1")
    assert len({decide(decider, built, planned, id_=f"d{n}").revision for n in range(50)}) == 1
    assert len({decide(decider, built, id_=f"d{n}").revision for n in range(50)}) == 2


def test_the_steps_of_a_conversation_stay_at_their_arm() -> None:
    built = policy(LEARNER)
    decider = taught(Standing(revision=revision(built)))
    going_on = replace(context(), session="s1", shape=replace(SHAPE, continues=True))
    assert len({decide(decider, built, going_on, id_=f"d{n}").arm for n in range(50)}) == 1
    begins = replace(going_on, shape=SHAPE)
    assert len({decide(decider, built, begins, id_=f"d{n}").arm for n in range(50)}) == 3


# What people fixed


@pytest.mark.parametrize("roles", [LEARNER, WORKER])
def test_a_pin_is_certain_whatever_is_learned(roles: str) -> None:
    built = policy(roles)
    pin = Arm(tier="small", on_fail=OnFail.ACCEPT)
    made = taught(Standing(revision=revision(built), pins={"worker": pin}))
    decision = decide(made, built)
    assert (decision.arm, decision.propensity) == (pin, 1.0)
    assert (decision.reason, decision.revision) == (Reason.PINNED, "declared")


def test_a_pin_that_a_step_is_not_offered_leaves_the_declared_arm_not_the_learned_one() -> None:
    built = policy(LEARNER)
    pins = {"worker": Arm(tier="small", on_fail=OnFail.ACCEPT)}
    made = taught(Standing(revision=revision(built, frontier_accept=1.0), pins=pins))
    asked = context(dialect=Dialect.MESSAGES)  # small speaks chat only
    decision = decide(made, built, asked)
    assert (decision.arm.tier, decision.reason) == ("mid", Reason.DECLARED)
    assert (decision.propensity, decision.revision) == (1.0, "declared")


def test_a_pin_is_taken_for_what_it_does_on_the_ladder() -> None:
    built = policy(LEARNER)
    made = taught(Standing(pins={"worker": Arm(tier="mid", on_fail=OnFail.TOP)}))
    assert str(decide(made, built).arm) == "mid/step"


def test_the_policys_own_pin_comes_before_one_at_run_time() -> None:
    pin = '{ model = "local/tiny", reason = "stays in the EU", owner = "dpo@example.com" }'
    built = policy(f"[roles.worker]\npin = {pin}\n")
    made = taught(Standing(pins={"worker": Arm(tier="frontier", on_fail=OnFail.ACCEPT)}))
    assert decide(made, built).arm.tier == "small"


# When the declared policy changes


class Broken(Standing):
    """One whose revision cannot be told."""

    @property
    def revision(self) -> Revision | None:
        raise RuntimeError("no such thing")


def broken(pins: Mapping[str, Arm]) -> Standing:
    made = object.__new__(Broken)
    object.__setattr__(made, "pins", pins)
    return made


def test_a_fault_of_ours_in_who_serves_leaves_the_declared_arm_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built = policy(ROLES)
    made = taught(broken({}))
    decision = decide(made, built, id_="d-1")
    assert (str(decision.arm), decision.reason) == ("mid/step", Reason.FALLBACK)
    assert (decision.propensity, decision.revision) == (1.0, "declared")
    assert "d-1" in caplog.text
    made.take(Standing(revision=revision(built, mid_step=1.0)))
    assert decide(made, built).reason is not Reason.FALLBACK


def test_a_fault_of_ours_in_who_serves_leaves_what_people_pinned() -> None:
    held = {"worker": Arm(tier="frontier", on_fail=OnFail.ACCEPT)}
    decision = decide(taught(broken(held)), policy(LEARNER))
    assert (decision.arm.tier, decision.reason) == ("frontier", Reason.PINNED)
    pin = '{ model = "local/tiny", reason = "stays in the EU", owner = "dpo@example.com" }'
    decision = decide(taught(broken({})), policy(f"[roles.worker]\npin = {pin}\n"))
    assert (decision.arm.tier, decision.reason) == ("small", Reason.PINNED)


def test_a_policy_that_was_never_seen_makes_all_roles_declared() -> None:
    made = taught(Standing(revision=replace(revision(policy(LEARNER)), policy_hash="unseen")))
    assert decide(made, policy(LEARNER)).revision == "declared"


def test_roles_whose_terms_did_not_change_keep_what_was_learned() -> None:
    before = policy(ROLES)
    both = revision(before, "worker||", "critic||")
    made = taught(Standing(revision=both))
    assert decide(made, before).revision == both.revision_id
    after = policy(ROLES.replace("quality_floor = 0.9", "quality_floor = 0.95"))
    assert after.hash != before.hash
    assert decide(made, after).revision == "declared"
    assert decide(made, after, context("critic")).revision == both.revision_id
    assert decide(made, before).revision == both.revision_id  # a step that began with it


def test_a_tier_that_changed_its_model_changes_the_terms_of_whoever_may_go_there() -> None:
    narrow = ROLES.replace(CRITIC, CRITIC.replace('"small", "frontier"', '"mid", "frontier"'))
    before = policy(narrow)
    both = revision(before, "worker||", "critic||", mid_step=1.0)
    made = taught(Standing(revision=both))
    decide(made, before)
    after = policy(narrow + "[tiers.small.params.chat]\ntemperature = 0\n")
    assert decide(made, after).revision == "declared"
    assert decide(made, after, context("critic")).revision == both.revision_id


def test_a_mode_that_gets_terms_of_its_own_changes_the_roles() -> None:
    before, after = policy(LEARNER), policy(DEBATE)
    known = revision(before, "worker||", "worker|debate|")
    made = taught(Standing(revision=known))
    assert decide(made, before, context(mode="debate")).revision == known.revision_id
    assert decide(made, after, context(mode="debate")).revision == "declared"
    assert decide(made, after).revision == "declared"


def test_a_mode_with_terms_of_its_own_needs_shares_of_its_own() -> None:
    built = policy(DEBATE)
    whole = taught(Standing(revision=revision(built)))
    assert decide(whole, built, context(mode="debate")).revision == "declared"
    assert decide(whole, built, context(mode="single")).revision != "declared"
    own = taught(Standing(revision=revision(built, "worker|debate|")))
    assert decide(own, built, context(mode="debate")).revision != "declared"


def test_of_many_policies_only_the_latest_are_remembered_and_those_in_force() -> None:
    def later(number: int) -> Policy:
        return policy(ROLES.replace("quality_floor = 0.9", f"quality_floor = 0.9{number + 1}"))

    first = policy(ROLES)
    known = revision(first, "critic||")
    made = taught(Standing(revision=known))
    decide(made, first)
    for number in range(POLICIES_MAX + 1):
        assert decide(made, later(number), context("critic")).revision == known.revision_id
    made.take(Standing())
    for number in range(POLICIES_MAX + 1):
        decide(made, later(number), context("critic"))
    made.take(Standing(revision=known))
    assert decide(made, later(0), context("critic")).revision == "declared"
