"""A collector with something to see on every page."""

from typing import Any, Final

from collector.rows import Batch
from learning.revision import Revision
from telemetry.alerting import AlertsConfig, CostAlertConfig, QualityAlertConfig
from telemetry.learnconfig import LearningConfig
from telemetry.records import Arm, OnFail
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.chains import SECOND, Try, chain, word
from tests.collector.conftest import Running
from tests.collector.otlp import NOW_NS, Trace

POLICY: Final = "p1"
LADDER: Final = ("small", "mid", "frontier")
OFFERED: Final = "small/accept,small/step,mid/step,frontier/accept"
# Roles and models come from anybody's spans.
HOSTILE: Final = "<img src=x onerror=\"document.title='owned'\">"
STEPS: Final = 120


def role(name: str, *, learn: Any) -> RoleTerms:
    return RoleTerms(
        role=name, mode=None, tiers=LADDER, declared=Arm(tier="mid", on_fail=OnFail.STEP),
        floor=0.85, learn=learn, checked=True, pin=None,
    )  # fmt: skip


def terms() -> Terms:
    prices = {
        "small": (1e-7, 4e-7, 1e-8),
        "mid": (1e-6, 5e-6, 1e-7),
        "frontier": (3e-6, 15e-6, 3e-7),
    }
    return Terms(
        policy_hash=POLICY,
        ladder=LADDER,
        tiers={
            tier: TierTerms(models=(f"p/{tier}",), usd_per_token=price)
            for tier, price in prices.items()
        },
        roles=(
            role("worker", learn="propose"),
            role("planner", learn="bounded"),
            role("clerk", learn="off"),
        ),
        alerts=AlertsConfig(
            cost=CostAlertConfig(budget_usd_per_day=10.0), quality=QualityAlertConfig()
        ),
        learning=LearningConfig(tick_seconds=1.0),
    )


def decisions() -> list[Batch]:
    """Steps of two roles: half begin small and a fifth of these go one up; all are graded.

    The worker's mean quality is 0.95 on either arm, the planner's 0.75.
    """
    found = []
    for number in range(1, 2 * STEPS + 1):
        worker = number <= STEPS
        at = NOW_NS - 3_600 * SECOND + number * SECOND
        small = number % 2 == 0
        failed = number % 10 == 0
        tries = [Try(tier="small", failed=failed)] if small else [Try(tier="mid")]
        if small and failed:
            tries.append(Try(tier="mid", tokens=(400, 60, 100)))
        good = number % 20 != 1 if worker else number % 4 != 1
        found.append(
            chain(
                number, tries, start_ns=at, role="worker" if worker else "planner",
                offered=OFFERED, on_fail="step", propensity=0.5, revision="declared",
                policy_hash=POLICY, dialect="chat", role_source="header", http_status=200,
                model=f"p/{tries[-1].tier}", cost_usd=0.001 * len(tries), overhead_ms=1.25,
                quality=1.0 if good else 0.0, quality_source="feedback:ci",
                escalated_from="small" if small and failed else None,
            )
        )  # fmt: skip
        found.append(word(number, 1.0 if good else 0.0, at=at + 3 * SECOND))
    return found


def failures(name: str, count: int) -> Batch:
    """Steps of a role that all got the worst grade."""
    merged = Batch()
    for number in range(1_001, 1_001 + count):
        made = chain(
            number, [Try(tier="mid")], start_ns=NOW_NS + number, role=name, offered=OFFERED,
            on_fail="step", propensity=1.0, revision="declared", policy_hash=POLICY,
            dialect="chat", role_source="header", http_status=200, model="p/mid", cost_usd=0.001,
            quality=0.0, quality_source="feedback:ci",
        )  # fmt: skip
        merged.calls += made.calls
        merged.decisions += made.decisions
    return merged


def hostile() -> bytes:
    """A call whose role and model are markup."""
    trace = Trace(seed=5)
    trace.call({"gen_ai.agent.name": HOSTILE, "gen_ai.response.model": HOSTILE})
    trace.span(
        f"route {HOSTILE}",
        {
            "tierwise.decision.id": "hostile-1", "tierwise.decision.reason": HOSTILE,
            "tierwise.decision.propensity": 1.0, "tierwise.decision.offered": [HOSTILE],
            "tierwise.role": HOSTILE, "tierwise.dialect": "chat", "tierwise.tier": HOSTILE,
            "tierwise.tier.start": HOSTILE, "tierwise.on_fail": "accept",
        },
    )  # fmt: skip
    return trace.body()


def proposal(small: float = 0.8) -> Revision:
    return Revision(
        policy_hash=POLICY,
        parent=None,
        shares={"worker||plain": {"small/step": small, "mid/step": 1.0 - small}},
        evidence={"worker||plain": {"labels": 120.0, "quality_lower": 0.89}},
    )


async def fill(running: Running) -> Revision:
    """Give a collector decisions of two roles, a hostile one and a proposal; return that."""
    merged = Batch()
    for batch in decisions():
        merged.calls += batch.calls
        merged.decisions += batch.decisions
        merged.evaluations += batch.evaluations
    await running.writer.submit(merged)
    status, _, body = await running.post("/v1/traces", hostile())
    assert status == 200, body
    made = proposal()
    running.revisions.submit(
        made, author="learner", trigger="evidence", now_ns=NOW_NS, activate=False,
        note={"cells": ["worker||plain"], "cheaper": ["worker"]},
    )  # fmt: skip
    async with running.session.post(f"{running.console}/api/learning/tick") as answer:
        assert answer.status == 200, await answer.text()
    await running.settled(
        "/api/roles", lambda board: sum(one["decisions"] for one in board["roles"]) == 241
    )
    return made
