"""A made-up world whose steps are served by the revision in force and written to a real store."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.desk import Desk, desk_path
from collector.duckdb_store import DuckDBStore
from collector.learner import Guards, Learner
from collector.meters import Meters
from collector.revisions import Revisions
from collector.rows import Batch
from learning.arms import chain as chain_of
from learning.revision import parse_arm
from telemetry.alerting import AlertsConfig, CostAlertConfig, QualityAlertConfig
from telemetry.clock import ManualClock
from telemetry.learnconfig import LearningConfig
from telemetry.records import Arm, OnFail
from telemetry.terms import Armed, Learn, RoleTerms, Terms, TierTerms
from tests.collector.chains import SECOND, Try, chain, word

TIERS = ("small", "frontier")
CAUGHT, FALSE_ALARM = 0.8, 0.1  # of the one check


def role_terms(role: str, *, learn: Learn = "bounded", **more: Any) -> RoleTerms:
    values: dict[str, Any] = {
        "role": role, "mode": None, "tiers": TIERS, "floor": 0.85, "learn": learn, "checked": True,
        "declared": Arm(tier="frontier", on_fail=OnFail.ACCEPT), "pin": None,
    }  # fmt: skip
    return RoleTerms(**values | more)


def terms(*roles: RoleTerms, policy_hash: str = "p1", **learning: Any) -> Terms:
    return Terms(
        policy_hash=policy_hash,
        ladder=TIERS,
        tiers={
            "small": TierTerms(models=("p/small",), usd_per_token=(1e-7, 4e-7, 1e-8)),
            "frontier": TierTerms(models=("p/frontier",), usd_per_token=(3e-6, 15e-6, 3e-7)),
        },
        roles=roles,
        alerts=AlertsConfig(
            cost=CostAlertConfig(budget_usd_per_day=10.0), quality=QualityAlertConfig()
        ),
        learning=LearningConfig(**{"dwell_seconds": 120.0, **learning}),
    )


@dataclass
class World:
    """Ticks a learner over steps whose true quality per (role, tier) is ``truth``."""

    folder: Path
    terms: Terms
    truth: dict[tuple[str, str], float]
    labelled: float = 1.0
    authenticated: bool = True
    armed: Armed = field(default_factory=lambda: Armed(cost=True, quality=True))
    unsafe: frozenset[str] = frozenset()
    served: Mapping[str, str] = field(default_factory=dict)  # tier -> version
    clock: ManualClock = field(default_factory=ManualClock)
    talk: int = 1  # steps of a conversation, all at the tier where it began; 1: no conversations
    cached: int = 0  # input tokens of such a step that its tier has read before
    answer: int = 10  # output tokens of every answer

    def __post_init__(self) -> None:
        self.rng = random.Random(7)
        self.number = 0
        self.path = self.folder / "t.duckdb"
        self.open()

    def open(self) -> None:
        self.store = DuckDBStore(self.path, now_ns=self.clock.now_ns())
        self.desk = Desk(desk_path(self.path))
        self.revisions = Revisions(self.desk, self.clock, terms=lambda: self.terms)
        self.learner = self.made()

    def made(self) -> Learner:
        """A learner as a new process would make it."""
        return Learner(
            desk=self.desk,
            store=self.store,
            revisions=self.revisions,
            terms=lambda: self.terms,
            guards=Guards(armed=lambda role, now: self.armed, unsafe=lambda: self.unsafe),
            meters=Meters(),
        )

    def close(self) -> None:
        self.store.close()
        self.desk.close()

    def shares(self, role: str) -> dict[str, float]:
        """What a plain step of ``role`` is served by now."""
        revision = self.revisions.active().standing.revision
        known = {} if revision is None else revision.shares
        for cell in (f"{role}||plain", f"{role}||"):
            if cell in known:
                return dict(known[cell])
        declared = self.terms.of(role)
        assert declared is not None
        return {str(declared.declared): 1.0}

    def start_small(self, role: str) -> float:
        """The share of a role's steps that start at the small tier."""
        return sum(share for arm, share in self.shares(role).items() if arm.startswith("small"))

    def quality(self, role: str) -> float:
        """The true mean quality of what is served now, checks averaged."""
        small, top = self.truth[role, "small"], self.truth[role, "frontier"]
        flagged = small * FALSE_ALARM + (1 - small) * CAUGHT
        worth = {
            "small/accept": small,
            "small/step": small * (1 - FALSE_ALARM) + flagged * top,
            "frontier/accept": top,
        }
        return sum(share * worth[arm] for arm, share in self.shares(role).items())

    def steps(self, roles: Iterable[str], *, count: int, seconds: float = 60.0) -> None:
        """Let ``count`` steps a role pass within ``seconds``, graded as they come."""
        batches: list[Batch] = []
        for role in roles:
            shares = self.shares(role)
            for place in range(count):
                at = self.clock.now_ns() + int(place * seconds * SECOND / count)
                if place % self.talk == 0:  # those of a conversation draw by one number
                    arm = parse_arm(self.rng.choices(list(shares), list(shares.values()))[0])
                batches += self._step(role, arm, at=at, place=place % self.talk)
        self.clock.advance(seconds)
        self.store.write(batches, now_ns=self.clock.now_ns())
        self.clock.advance(10.0)
        while self.store.roll_up(self.clock.now_ns()):
            pass

    def _step(self, role: str, arm: Arm, *, at: int, place: int) -> list[Batch]:
        self.number += 1
        tokens = (self.cached + 100, self.answer, self.cached if place else 0)
        tries: list[Try] = []
        right = False
        for tier in chain_of(arm, tiers=TIERS):
            right = self.rng.random() < self.truth[role, tier]
            failed = self.rng.random() < (FALSE_ALARM if right else CAUGHT)
            tries.append(
                Try(
                    tier=tier, failed=failed, seconds=0.01, served=self.served.get(tier),
                    tokens=tokens,
                )
            )  # fmt: skip
            if not failed:
                break
        task = f"talk {self.number - place}"
        made = [chain(self.number, tries, start_ns=at, role=role, task=task)]
        if self.rng.random() < self.labelled:
            made.append(
                word(self.number, float(right), at=at, authenticated=self.authenticated,
                     source=f"feedback:{self.number % 7}")
            )  # fmt: skip
        return made

    def tick(self) -> dict[str, Any]:
        self.learner.tick(self.clock.now_ns())
        return self.learner.report

    def run(self, roles: Iterable[str], *, ticks: int, count: int = 150) -> list[dict[str, Any]]:
        roles = list(roles)
        reports = []
        for _ in range(ticks):
            self.steps(roles, count=count)
            reports.append(self.tick())
        return reports


def role(report: dict[str, Any], name: str) -> dict[str, Any]:
    """One role's part of a report."""
    found: dict[str, Any] = next(each for each in report["roles"] if each["role"] == name)
    return found
