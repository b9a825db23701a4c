"""The order in which a step's models are asked, against tables made by hand."""

import pytest

from router import ladder
from router.ladder import Candidate
from router.route import Route
from telemetry.records import Arm, Cause, Dialect, OnFail
from tests.router.declared import context, policy

ROLES = """
[roles.low]
tier = "small"
range = ["small", "frontier"]
"""
Step = tuple[str, str, Cause]
START, FAILOVER, ESCALATION = Cause.START, Cause.FAILOVER, Cause.ESCALATION


def route(dialect: Dialect = Dialect.CHAT) -> Route:
    """small: local/tiny; mid: gpt/mini in chat, claude/mid in messages; frontier alike."""
    tiers = """
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["local/tiny"]
[tiers.mid]
models = ["claude/mid", "gpt/mini", "local/tiny"]
[tiers.frontier]
models = ["claude/big", "gpt/big"]
"""
    return policy(ROLES, tiers=tiers).route(context("low", dialect))


def short(candidate: Candidate) -> Step:
    return (candidate.tier, candidate.target.model, candidate.cause)


def when_down(tier: str, on_fail: OnFail, dialect: Dialect = Dialect.CHAT) -> list[Step]:
    way, arm = route(dialect), Arm(tier=tier, on_fail=on_fail)
    found: Candidate | None = ladder.first(way, arm)
    steps: list[Step] = []
    while found is not None:
        steps.append(short(found))
        found = ladder.after_down(way, arm, found)
    return steps


def when_flagged(tier: str, on_fail: OnFail) -> list[Step]:
    way, arm = route(), Arm(tier=tier, on_fail=on_fail)
    found: Candidate | None = ladder.first(way, arm)
    steps: list[Step] = []
    while found is not None:
        steps.append(short(found))
        found = ladder.after_flag(way, arm, found)
    return steps


@pytest.mark.parametrize(
    ("tier", "on_fail", "wanted"),
    [
        (
            "small",
            OnFail.STEP,
            [
                ("small", "local/tiny", START),
                ("mid", "gpt/mini", ESCALATION),
                ("mid", "local/tiny", FAILOVER),
                ("frontier", "gpt/big", ESCALATION),
            ],
        ),
        (
            "small",
            OnFail.TOP,
            [("small", "local/tiny", START), ("frontier", "gpt/big", ESCALATION)],
        ),
        (
            "small",
            OnFail.ACCEPT,
            [
                ("small", "local/tiny", START),
                ("mid", "gpt/mini", ESCALATION),
                ("mid", "local/tiny", FAILOVER),
                ("frontier", "gpt/big", ESCALATION),
            ],
        ),
        (
            "mid",
            OnFail.ACCEPT,
            [
                ("mid", "gpt/mini", START),
                ("mid", "local/tiny", FAILOVER),
                ("frontier", "gpt/big", ESCALATION),
            ],
        ),
        ("frontier", OnFail.STEP, [("frontier", "gpt/big", START)]),
    ],
)
def test_a_tiers_models_are_asked_in_turn_and_then_the_arm_decides(
    tier: str, on_fail: OnFail, wanted: list[Step]
) -> None:
    assert when_down(tier, on_fail) == wanted


@pytest.mark.parametrize(
    ("tier", "on_fail", "wanted"),
    [
        (
            "small",
            OnFail.STEP,
            [
                ("small", "local/tiny", START),
                ("mid", "gpt/mini", ESCALATION),
                ("frontier", "gpt/big", ESCALATION),
            ],
        ),
        (
            "small",
            OnFail.TOP,
            [("small", "local/tiny", START), ("frontier", "gpt/big", ESCALATION)],
        ),
        ("mid", OnFail.ACCEPT, [("mid", "gpt/mini", START)]),
        ("frontier", OnFail.ACCEPT, [("frontier", "gpt/big", START)]),
    ],
)
def test_a_failed_check_leaves_its_tier_at_once(
    tier: str, on_fail: OnFail, wanted: list[Step]
) -> None:
    assert when_flagged(tier, on_fail) == wanted


def test_only_models_that_speak_the_dialect_are_asked() -> None:
    assert when_down("mid", OnFail.STEP, Dialect.MESSAGES) == [
        ("mid", "claude/mid", START),
        ("frontier", "claude/big", ESCALATION),
    ]
