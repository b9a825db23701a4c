"""A policy of two roles, revisions of it, and a person who decides about them over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collector.latency import bucket
from collector.rows import Batch, DecisionRow
from learning.revision import Revision
from telemetry.records import Arm, OnFail
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.conftest import Running

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


@dataclass
class Panel:
    """A person before the console; ``key`` is their secret."""

    running: Running
    key: str | None = None

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self.running.session.get(
            self.running.console + path, params=query, headers=self._headers()
        ) as answer:
            return answer.status, await answer.json()

    async def etag(self) -> str:
        _, found = await self.get("/api/policy/revisions")
        return str(found["etag"])

    async def post(
        self, path: str, body: Any = None, *, base: str | None = "", **headers: str
    ) -> tuple[int, Any]:
        """Ask for a change; on the present base unless one is named, with none for None."""
        sent = self._headers() | {name.replace("_", "-"): text for name, text in headers.items()}
        if base is not None:
            sent["if-match"] = base or await self.etag()
        async with self.running.session.post(
            self.running.console + "/api/policy/" + path, json=body or {}, headers=sent
        ) as answer:
            found = await answer.json()
            if answer.headers.get("idempotency-replayed"):
                found["replayed"] = True
            return answer.status, found

    def _headers(self) -> dict[str, str]:
        return {} if self.key is None else {"authorization": f"Bearer {self.key}"}
