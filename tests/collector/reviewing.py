"""A policy of three roles, revisions of it, and decisions that were made under it."""

from collections.abc import Sequence
from typing import Any

from collector.latency import bucket
from collector.rows import Batch, DecisionRow
from learning.revision import Revision
from telemetry.records import Arm, OnFail
from telemetry.terms import RoleTerms, Terms, TierTerms

POLICY = "p1"
LADDER = ("small", "mid", "top")
ARMS = ("small/accept", "small/step", "small/top", "mid/accept", "mid/step", "top/accept")


def role(name: str, *, learn: Any = "bounded", floor: float | None = 0.9) -> RoleTerms:
    return RoleTerms(
        role=name, mode=None, tiers=LADDER, declared=Arm(tier="mid", on_fail=OnFail.STEP),
        floor=floor, learn=learn, checked=True, pin=None,
    )  # fmt: skip


def terms(*roles: RoleTerms, policy_hash: str = POLICY) -> Terms:
    return Terms(
        policy_hash=policy_hash,
        ladder=LADDER,
        tiers={tier: TierTerms(models=(f"p/{tier}",), usd_per_token=None) for tier in LADDER},
        roles=roles or (role("worker"), role("planner"), role("clerk", learn="off")),
    )


def revision(small: float, *, parent: str | None = None, cell: str = "worker||") -> Revision:
    shares = {cell: {"small/step": small, "mid/step": 1.0 - small}}
    evidence = {cell: {"labels": 120.0}}
    return Revision(policy_hash=POLICY, parent=parent, shares=shares, evidence=evidence)


def decision(number: int, *, arm: str, propensity: float, **named: Any) -> DecisionRow:
    tier, _, on_fail = arm.partition("/")
    at_ns = named.pop("at_ns")
    fields: dict[str, Any] = {
        "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "parent_id": None,
        "start_ns": at_ns, "end_ns": at_ns + 10**9, "received_ns": at_ns, "name": "route",
        "status": 0, "decision_id": f"d{number}", "role": "worker", "role_source": "header",
        "role_unknown": None, "dialect": "chat", "mode": None, "plan": None, "task": f"t{number}",
        "key_name": None, "tier_start": tier, "on_fail": on_fail, "offered": ",".join(ARMS),
        "propensity": propensity, "reason": "learned", "explore": False, "pinned": False,
        "policy_hash": POLICY, "revision": "declared", "tier": tier, "model": f"p/{tier}",
        "attempts": 1, "escalated_from": None, "cost_usd": None, "quality": None,
        "quality_source": None, "overhead_ms": None, "http_status": 200, "error_type": None,
        "latency_bucket": bucket(10**9), "attributes": None, "cell": "worker||",
    }  # fmt: skip
    return DecisionRow(**(fields | named))


def batch(rows: Sequence[DecisionRow]) -> Batch:
    return Batch(decisions=list(rows))


def evidence(*, at_ns: int, small: tuple[int, float], mid: tuple[int, float]) -> Batch:
    """Decisions half small, half mid, a step of small costing 0.01 and of mid 0.05 USD.

    Each pair is how many, and their mean quality, which ones and zeros make up.
    """
    rows: list[DecisionRow] = []
    for arm, cost, (count, mean) in (("small/step", 0.01, small), ("mid/step", 0.05, mid)):
        for index in range(count):
            passed = int((index + 1) * mean + 1e-9) > int(index * mean + 1e-9)
            row = decision(
                len(rows) + 1,
                arm=arm,
                propensity=0.5,
                at_ns=at_ns + len(rows) * 1_000_000,
                cost_usd=cost,
                quality=1.0 if passed else 0.0,
                quality_source="check:x",
            )
            rows.append(row)
    return batch(rows)
