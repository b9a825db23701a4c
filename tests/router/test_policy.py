"""The compiled policy against hand-built tables, and against random ones."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.learner import Declared
from router.draw import draw
from router.policy import Policy, hash_of
from router.route import nearest
from router.targets import Targets
from telemetry.errors import ConfigError, InvalidRequest, PolicyDenied
from telemetry.records import Arm, Context, Decision, Dialect, OnFail, Reason
from tests.router.declared import (
    ALERTS,
    CONFIG,
    LADDER,
    LEARNER,
    TODAY,
    WORKER,
    config,
    context,
    policy,
    policy_file,
)

CHAT, MESSAGES, RESPONSES = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES
PIN = (
    '{ model = "local/tiny", reason = "EU data stays here", owner = "dpo@example.com", '
    "until = 2026-11-21 }"
)


class Given:
    """A learner with a fixed answer."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = shares
        self.revision = "r7"

    def decides(self, context: Context, arms: Sequence[Arm], declared: Arm) -> bool:
        return True

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        known = {str(arm): arm for arm in arms}
        foreign = Arm(tier="elsewhere")
        return {known.get(name, foreign): share for name, share in self.shares.items()}


class Broken:
    """A learner that fails."""

    revision = "broken"

    def decides(self, context: Context, arms: Sequence[Arm], declared: Arm) -> bool:
        return True

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        raise ZeroDivisionError


def decide(
    built: Policy,
    asked: Context,
    learner: Given | Broken | Declared | None = None,
    *,
    decision_id: str = "d1",
) -> Decision:
    return built.decide(asked, decision_id=decision_id, at_ns=7, learner=learner or Declared())


def fault(roles: str, *, tiers: str = LADDER) -> str:
    with pytest.raises(ConfigError) as caught:
        policy(roles, tiers=tiers)
    return str(caught.value)


# What is decided


def test_a_role_starts_at_its_tier_with_probability_one() -> None:
    built = policy(WORKER)
    decision = decide(built, context())
    assert decision.arm == Arm(tier="mid", on_fail=OnFail.STEP)
    assert (decision.propensity, decision.reason) == (1.0, Reason.DECLARED)
    assert (decision.revision, decision.policy_hash) == ("declared", built.hash)
    assert (decision.decision_id, decision.at_ns) == ("d1", 7)


@pytest.mark.parametrize("learn", ["observe", "propose", "bounded"])
def test_a_role_that_learns_says_what_the_outcome_teaches(learn: str) -> None:
    built = policy(LEARNER.replace('"bounded"', f'"{learn}"'))
    assert built.observed("worker", None, CHAT)
    assert built.observed("worker", "debate", CHAT)  # without rules of its own
    decision = decide(built, context(mode="debate"))
    assert decision.cell == "worker|debate|"  # nobody gave the shape


def test_a_role_that_does_not_learn_teaches_nothing() -> None:
    built = policy(WORKER)
    assert not built.observed("worker", None, CHAT)
    assert decide(built, context()).cell is None
    learner = policy(LEARNER)
    assert decide(learner, context(role_unknown="wroker")).cell is None
    assert not learner.observed("nobody", None, CHAT)


def test_every_arm_that_differs_is_offered_once_in_the_order_of_the_ladder() -> None:
    offered = [str(arm) for arm in decide(policy(WORKER), context()).offered]
    assert offered == [
        "small/accept",
        "small/step",
        "small/top",
        "mid/accept",
        "mid/step",  # one below the top, straight to the top is one step
        "frontier/accept",  # nothing stands above the top
    ]


def test_default_starts_at_the_top_when_the_file_has_no_such_role() -> None:
    decision = decide(policy(), context("default"))
    assert [str(arm) for arm in decision.offered] == ["frontier/accept"]


def test_a_role_without_a_range_may_escalate_to_the_top_and_never_start_lower() -> None:
    route = policy('[roles.worker]\ntier = "mid"\n').route(context())
    assert route.tiers == ("mid", "frontier")
    assert (route.next_up("mid"), route.next_up("frontier")) == ("frontier", None)


def test_a_role_fixed_to_one_tier_has_one_arm_and_no_escalation() -> None:
    built = policy('[roles.worker]\ntier = "mid"\nrange = ["mid", "mid"]\non_fail = "top"\n')
    route = built.route(context())
    assert [str(arm) for arm in route.arms] == ["mid/accept"]
    assert route.next_up("mid") is None
    assert decide(built, context(), Broken()).reason is Reason.DECLARED


@pytest.mark.parametrize(
    ("on_fail", "after"), [("accept", None), ("step", "mid"), ("top", "frontier")]
)
def test_a_failed_check_goes_where_the_role_says(on_fail: str, after: str | None) -> None:
    built = policy(f'[roles.worker]\ntier = "small"\non_fail = "{on_fail}"\n')
    route = built.route(context())
    assert route.after_fail(route.declared, "small") == after
    assert route.after_fail(route.declared, "frontier") is None


def test_models_are_tried_in_the_order_of_the_file_and_only_those_that_speak() -> None:
    built = policy(WORKER)
    assert [t.model for t in built.targets("mid", CHAT)] == ["gpt/mini"]
    assert [t.model for t in built.targets("mid", MESSAGES)] == ["claude/mid"]
    assert [t.model for t in built.route(context()).targets("frontier")] == ["gpt/big"]


def test_parameters_are_those_of_the_tier_and_the_dialect() -> None:
    built = policy(WORKER)
    assert built.route(context()).params("mid") == {"reasoning_effort": "low"}
    assert built.route(context(dialect=MESSAGES)).params("mid") == {}
    assert built.route(context()).params("frontier") == {}


# Dialects


def test_a_tier_that_does_not_speak_the_dialect_gives_way_to_the_next_above() -> None:
    built = policy('[roles.worker]\ntier = "small"\n')
    decision = decide(built, context(dialect=MESSAGES))
    assert (str(decision.arm), decision.reason) == ("mid/step", Reason.DIALECT)


def test_without_one_above_the_nearest_below_in_range_answers() -> None:
    tiers = LADDER.replace('["claude/big", "gpt/big"]', '["claude/big"]')
    built = policy('[roles.worker]\nrange = ["small", "frontier"]\n', tiers=tiers)
    decision = decide(built, context(dialect=RESPONSES))
    assert (str(decision.arm), decision.reason) == ("mid/accept", Reason.DIALECT)


def test_the_nearest_is_above_first_and_close_by_either_way() -> None:
    span = ("a", "b", "c", "d", "e")
    assert nearest("c", span=span, speaking=span) == "c"
    assert nearest("b", span=span, speaking=("a", "d", "e")) == "d"
    assert nearest("e", span=span, speaking=("a", "c")) == "c"


def test_no_tier_in_range_that_speaks_is_refused_with_role_dialect_tiers_and_remedy() -> None:
    built = policy('[roles.worker]\ntier = "small"\nrange = ["small", "small"]\n')
    with pytest.raises(PolicyDenied) as caught:
        built.route(context(dialect=MESSAGES))
    assert caught.value.code == "no_arm_for_dialect"
    assert "'worker'" in str(caught.value)
    assert "small" in str(caught.value)
    assert "messages" in str(caught.value)
    assert "add a model whose provider speaks messages" in str(caught.value)


# Pins


def test_a_pinned_role_has_one_model_no_failover_and_no_escalation() -> None:
    built = policy(f"[roles.worker]\npin = {PIN}\n")
    route = built.route(context())
    assert route.pin is not None
    assert [t.model for t in route.targets("small")] == ["local/tiny"]
    assert (route.tiers, route.next_up("small")) == (("small",), None)
    assert decide(built, context(), Broken()).reason is Reason.PINNED


def test_a_pin_past_its_day_still_holds_and_warns() -> None:
    built = policy(f"[roles.worker]\npin = {PIN}\n")
    assert decide(built, context()).reason is Reason.PINNED
    assert built.warnings(date(2026, 11, 21)) == ()
    (warning,) = built.warnings(date(2026, 11, 22))
    assert "roles.worker.pin" in warning
    assert "still holds" in warning
    assert "dpo@example.com" in warning


def test_a_pinned_model_that_does_not_speak_the_dialect_is_refused_not_replaced() -> None:
    built = policy(f"[roles.worker]\npin = {PIN}\n")
    with pytest.raises(PolicyDenied, match="pinned to local/tiny") as caught:
        built.route(context(dialect=MESSAGES))
    assert caught.value.code == "no_arm_for_dialect"


def test_a_pinned_model_of_several_tiers_runs_as_the_roles_own_else_as_the_lowest() -> None:
    tiers = LADDER.replace('["claude/big", "gpt/big"]', '["gpt/big", "gpt/mini"]')
    tiers = tiers.replace('["local/tiny"]', '["local/tiny", "gpt/mini"]')
    pin = PIN.replace("local/tiny", "gpt/mini")
    for tier, expected in (("", "frontier"), ('tier = "mid"\n', "mid")):
        built = policy(f"[roles.worker]\n{tier}pin = {pin}\n", tiers=tiers)
        assert built.route(context()).tiers == (expected,)
        assert built.tier_of("gpt/mini", preferred="elsewhere") == "small"


def test_a_caller_may_pin_only_where_the_policy_says_so() -> None:
    with pytest.raises(PolicyDenied) as caught:
        policy(WORKER).route(context(caller_pin="gpt/big"))
    assert caught.value.code == "pin_not_allowed"
    allowed = policy(WORKER + "[callers]\npins = true\n")
    decision = decide(allowed, context(caller_pin="gpt/big"), Broken())
    assert (str(decision.arm), decision.reason) == ("frontier/accept", Reason.CALLER_PIN)
    route = allowed.route(decision.context)
    assert [t.model for t in route.targets("frontier")] == ["gpt/big"]


def test_the_role_decides_about_caller_pins_before_the_callers_table() -> None:
    closed = policy(WORKER + "caller_pins = false\n[callers]\npins = true\n")
    with pytest.raises(PolicyDenied):
        closed.route(context(caller_pin="gpt/big"))
    opened = policy(WORKER + "caller_pins = true\n")
    assert opened.route(context(caller_pin="gpt/big")).reason is Reason.CALLER_PIN


def test_the_roles_own_pin_beats_the_callers() -> None:
    built = policy(f"[roles.worker]\npin = {PIN}\n[callers]\npins = true\n")
    route = built.route(context(caller_pin="gpt/big"))
    assert route.pin is not None
    assert (route.pin.model, route.reason) == ("local/tiny", Reason.PINNED)


def test_a_callers_pin_must_speak_the_dialect_and_be_in_the_policy() -> None:
    built = policy(WORKER + "[callers]\npins = true\n")
    with pytest.raises(PolicyDenied, match="does not speak messages"):
        built.route(context(dialect=MESSAGES, caller_pin="gpt/big"))
    with pytest.raises(InvalidRequest) as caught:
        built.route(context(caller_pin="gpt/gone"))
    assert caught.value.code == "unknown_model"


def test_a_model_is_found_by_both_names_unless_two_providers_share_the_bare_one() -> None:
    tiers = LADDER.replace('["local/tiny"]', '["local/tiny", "local/mini"]')
    built = policy(tiers=tiers, configured=_config_with_price("local/mini"))
    assert built.find_model("gpt/big") == "gpt/big"
    assert built.find_model("tiny") == "local/tiny"
    assert built.find_model("mini") is None
    assert built.find_model("gone") is None


def _config_with_price(model: str) -> str:
    return CONFIG + f'"{model}" = {{ input = 1, output = 1 }}\n'


# Modes


def test_a_mode_overrides_key_by_key_and_an_unknown_mode_nothing() -> None:
    built = policy(WORKER + '[roles.worker.mode.debate]\ntier = "small"\n')
    debate = decide(built, context(mode="debate"))
    assert debate.arm.tier == "small"
    assert [arm.tier for arm in debate.offered][-1] == "frontier"  # the role's range stays
    assert decide(built, context(mode="chain")).arm.tier == "mid"
    assert decide(built, context()).arm.tier == "mid"


def test_a_role_that_the_policy_does_not_have_is_served_as_default() -> None:
    assert policy(WORKER).route(context("stranger")).role == "default"


# Learners


def test_a_draw_carries_the_probability_that_the_arm_really_had() -> None:
    built = policy(LEARNER)
    shares = {
        "small/accept": 0.0,
        "small/step": 0.1,
        "small/top": 0.0,
        "mid/accept": 0.0,
        "mid/step": 0.7,
        "frontier/accept": 0.2,
    }
    counts = dict.fromkeys(shares, 0)
    for number in range(20_000):
        decision = decide(built, context(), Given(shares), decision_id=f"{number:016x}")
        counts[str(decision.arm)] += 1
        assert decision.propensity == shares[str(decision.arm)]
        assert decision.revision == "r7"
        likeliest = decision.arm.tier == "mid"
        assert decision.reason is (Reason.LEARNED if likeliest else Reason.EXPLORED)
    # The draw is fixed by the ids, so this cannot waver; 0.01 is three standard errors.
    for name, share in shares.items():
        assert abs(counts[name] / 20_000 - share) < 0.01


def test_the_same_id_draws_the_same_arm() -> None:
    shares = dict.fromkeys(
        ["small/accept", "small/step", "small/top", "mid/accept", "mid/step", "frontier/accept"],
        1 / 6,
    )
    one, other = policy(LEARNER), policy(LEARNER)
    drawn = [decide(one, context(), Given(shares), decision_id=str(i)).arm for i in range(50)]
    again = [decide(other, context(), Given(shares), decision_id=str(i)).arm for i in range(50)]
    assert drawn == again
    assert len(set(drawn)) == 6


@pytest.mark.parametrize(
    "shares",
    [
        {"mid/step": 1.0},
        {"mid/step": 0.5, "elsewhere": 0.5},
        dict.fromkeys(["small/accept", "small/step", "small/top", "mid/accept", "mid/step"], 0.2)
        | {"frontier/accept": math.nan},
        dict.fromkeys(["small/accept", "small/step", "small/top", "mid/accept", "mid/step"], 0.3)
        | {"frontier/accept": -0.5},
        dict.fromkeys(["small/accept", "small/step", "small/top", "mid/accept", "mid/step"], 0.1)
        | {"frontier/accept": 0.1},
        {},
        dict.fromkeys(["small/accept", "small/step", "small/top", "mid/accept", "mid/step"], 0.2)
        | {"frontier/accept": 0.0, "elsewhere": 0.0},
    ],
    ids=["arms missing", "unknown arm", "nan", "negative", "sum below 1", "nothing", "one more"],
)
def test_wrong_probabilities_give_the_declared_arm_and_say_so(shares: dict[str, float]) -> None:
    decision = decide(policy(LEARNER), context(), Given(shares))
    assert (str(decision.arm), decision.propensity) == ("mid/step", 1.0)
    assert (decision.reason, decision.revision) == (Reason.FALLBACK, "declared")


def test_a_learner_that_raises_never_costs_a_step() -> None:
    decision = decide(policy(LEARNER), context(), Broken())
    assert (str(decision.arm), decision.reason) == ("mid/step", Reason.FALLBACK)


@pytest.mark.parametrize("learn", ["off", "observe"])
def test_a_learner_is_not_asked_where_it_may_not_act(learn: str) -> None:
    built = policy(LEARNER.replace('"bounded"', f'"{learn}"'))
    assert decide(built, context(), Broken()).reason is Reason.DECLARED


def test_a_learner_is_not_asked_where_there_is_nothing_to_choose() -> None:
    built = policy(LEARNER.replace('["small", "frontier"]', '["mid", "mid"]'))
    assert decide(built, context(), Broken()).reason is Reason.DECLARED


def test_a_step_under_an_unknown_name_never_learns() -> None:
    built = policy(LEARNER.replace("roles.worker", "roles.default"))
    known, unknown = context("default"), context("default", role_unknown="plannr")
    assert decide(built, known, Broken()).reason is Reason.FALLBACK
    assert decide(built, unknown, Broken()).reason is Reason.DECLARED


def test_the_declared_learner_leaves_the_table_as_it_is() -> None:
    decision = decide(policy(LEARNER), context(), Declared())
    assert (decision.reason, decision.propensity) == (Reason.DECLARED, 1.0)


def test_a_probability_of_one_is_always_drawn() -> None:
    arms = (Arm(tier="a"), Arm(tier="b"), Arm(tier="c"))
    for number in range(200):
        shares = {arms[0]: 0.0, arms[1]: 1.0, arms[2]: 0.0}
        assert draw(shares, arms, name=str(number)) == (arms[1], 1.0)


# The hash


def test_the_hash_is_the_same_for_other_comments_and_another_order() -> None:
    plain = policy_file(LADDER + WORKER + "[callers]\npins = true\n")
    turned = policy_file(
        "# reviewed\n"
        + LADDER.split("[tiers.small]")[0]
        + "[callers]\npins = true # yes\n"
        + '[roles.worker]\nrange = ["small", "frontier"]\ntier = "mid"\n'
        + "[tiers.small]"
        + LADDER.split("[tiers.small]")[1]
    )
    assert hash_of(plain) == hash_of(turned)
    assert len(hash_of(plain)) == 12
    assert int(hash_of(plain), 16) >= 0


def test_the_hash_is_the_same_for_tables_in_another_order() -> None:
    one, other = "[roles.one]\n", '[roles.other]\ntier = "mid"\n'
    assert hash_of(policy_file(LADDER + one + other)) == hash_of(policy_file(LADDER + other + one))


def test_the_hash_changes_with_the_meaning() -> None:
    texts = ["", WORKER, WORKER.replace('"mid"', '"small"'), "[callers]\npins = true\n"]
    hashes = [hash_of(policy_file(LADDER + text)) for text in texts]
    assert len(set(hashes)) == len(texts)
    order = LADDER.replace('["claude/mid", "gpt/mini"]', '["gpt/mini", "claude/mid"]')
    assert hash_of(policy_file(order)) != hashes[0]


# What is refused


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ('[roles.worker]\ntier = "midd"\n', "did you mean 'mid'?"),
        (
            '[roles.worker]\ntier = "mid"\nrange = ["frontier", "small"]\n',
            'write range = ["small", "frontier"]',
        ),
        (
            '[roles.worker]\ntier = "frontier"\nrange = ["small", "mid"]\n',
            "'frontier' is outside the role's range 'small' to 'mid'",
        ),
        (
            WORKER + '[roles.worker.mode.debate]\nrange = ["small", "small"]\n',
            "roles.worker.mode.debate.tier: 'mid' is outside",
        ),
        ('[roles.auto]\ntier = "mid"\n', "give the role another name"),
        ('[[shapes]]\nrole = "workr"\ncode = true\n' + WORKER, "did you mean 'worker'?"),
        (
            "[[shapes]]\nrole = 'default'\ncode = true\n"
            "[[shapes]]\nrole = 'default'\ncode = true\nimages = true\n",
            "shapes.1: rule 0 for 'default' matches all that this one would",
        ),
        (
            "[[shapes]]\nrole = 'default'\ntools = true\ntools_max = 0\n",
            "shapes.0: no request can match",
        ),
        (
            "[roles.worker]\npin = " + PIN.replace("local/tiny", "local/tinny") + "\n",
            "did you mean 'local/tiny'?",
        ),
        (WORKER + 'learn = "observe"\n' + ALERTS, "add quality_floor"),
        (WORKER + "quality_floor = 0\n" + ALERTS, "no mean is below a floor of 0"),
        (
            WORKER + "quality_floor = 0.02\n" + ALERTS + "delay_steps_max = 100\n",
            "at a floor of 0.02 and arl = 2600 it takes 375 failed steps in a row",
        ),
        (WORKER + ALERTS + "[alerts.roles.workr]\narl = 500\n", "did you mean 'worker'?"),
    ],
)
def test_a_name_or_range_that_does_not_fit_is_refused_with_its_remedy(
    roles: str, said: str
) -> None:
    assert said in fault(roles)


@pytest.mark.parametrize(
    ("alerts", "missing"),
    [
        ("", "[alerts.cost] and [alerts.quality]"),
        ("[alerts.cost]\nbudget_usd_per_day = 9\n", "add [alerts.quality]"),
        ("[alerts.quality]\n", "add [alerts.cost]"),
    ],
)
def test_learning_without_both_alerts_is_refused_and_told_why(alerts: str, missing: str) -> None:
    said = fault(WORKER + 'learn = "bounded"\nquality_floor = 0.9\n' + alerts)
    assert missing in said
    assert "a cost alert alone teaches a router to get cheap and dumb" in said
    assert "a quality alert alone, expensive and safe" in said


def test_ladder_and_tiers_must_name_each_other() -> None:
    assert "add [tiers.top]" in fault("", tiers=LADDER.replace('"frontier"]', '"frontier", "top"]'))
    assert "add 'frontier' to ladder" in fault("", tiers=LADDER.replace(', "frontier"]', "]"))
    assert "stands twice" in fault("", tiers=LADDER.replace('"frontier"]', '"frontier", "mid"]'))


def test_models_without_provider_price_or_key_are_refused() -> None:
    unpriced = LADDER.replace("local/tiny", "local/unheard-of")
    assert '[prices."local/unheard-of"]' in fault("", tiers=unpriced)
    assert "no provider is called 'lokal'" in fault("", tiers=LADDER.replace("local/", "lokal/"))
    with pytest.raises(ConfigError, match="CLAUDE_KEY is not set"):
        policy(environment={"GPT_KEY": "k"})


def test_every_fault_is_named_at_once() -> None:
    said = fault('[roles.one]\ntier = "x"\n[roles.two]\ntier = "y"\n')
    assert "roles.one" in said
    assert "roles.two" in said


# Random policies

NAMES = ["t0", "t1", "t2", "t3", "t4"]


@st.composite
def tables(draw_: st.DrawFn) -> tuple[str, str, tuple[str, ...], tuple[str, str], str]:
    """A configuration, a policy with one role, its ladder, range and tier."""
    ladder = NAMES[: draw_(st.integers(1, 5))]
    dialects = {
        tier: draw_(st.sets(st.sampled_from(list(Dialect)), min_size=1, max_size=3))
        for tier in ladder
    }
    low = draw_(st.integers(0, len(ladder) - 1))
    high = draw_(st.integers(low, len(ladder) - 1))
    start = ladder[draw_(st.integers(low, high))]
    on_fail = draw_(st.sampled_from(list(OnFail)))
    configured = "schema = 1\n" + "".join(
        f'[providers.{tier}]\nbase_url = "http://127.0.0.1:9"\n'
        f"dialects = {sorted(str(d) for d in dialects[tier])}\n"
        f'[prices."{tier}/m"]\ninput = 1\noutput = 1\n'
        for tier in ladder
    )
    declared = f"schema = 1\nladder = {ladder}\n" + "".join(
        f'[tiers.{tier}]\nmodels = ["{tier}/m"]\n' for tier in ladder
    )
    declared += (
        f'[roles.worker]\ntier = "{start}"\nrange = ["{ladder[low]}", "{ladder[high]}"]\n'
        f'on_fail = "{on_fail}"\nlearn = "bounded"\nquality_floor = 0.5\n' + ALERTS
    )
    return configured, declared, tuple(ladder), (ladder[low], ladder[high]), start


@settings(max_examples=150, deadline=None)
@given(table=tables(), dialect=st.sampled_from(list(Dialect)), seed=st.integers(0, 2**32))
def test_whatever_is_chosen_is_in_range_and_speaks_the_dialect(
    table: tuple[str, str, tuple[str, ...], tuple[str, str], str], dialect: Dialect, seed: int
) -> None:
    configured, declared, ladder, (low, high), start = table
    targets = Targets(config(configured), {}, today=TODAY)
    built = Policy.build(policy_file(declared), targets, today=TODAY)
    span = ladder[ladder.index(low) : ladder.index(high) + 1]
    speaking = [t for t in span if dialect in targets.target(f"{t}/m").dialects]
    if not speaking:
        with pytest.raises(PolicyDenied):
            built.route(context(dialect=dialect))
        return
    route = built.route(context(dialect=dialect))
    assert list(route.tiers) == speaking
    uniform = Given({str(arm): 1 / len(route.arms) for arm in route.arms})
    for learner in (Declared(), uniform, Broken()):
        decision = decide(built, context(dialect=dialect), learner, decision_id=str(seed))
        assert decision.arm.tier in speaking
        assert all(arm.tier in speaking for arm in decision.offered)
        assert len(set(decision.offered)) == len(decision.offered)
        visited = [decision.arm.tier]
        while (after := route.after_fail(decision.arm, visited[-1])) is not None:
            visited.append(after)
        assert all(a < b for a, b in pairwise([ladder.index(t) for t in visited]))
        assert set(visited) <= set(speaking)
    above = [tier for tier in speaking if ladder.index(tier) >= ladder.index(start)]
    assert route.declared.tier == (above[0] if above else speaking[-1])
    assert (route.reason is Reason.DECLARED) == (start in speaking)
