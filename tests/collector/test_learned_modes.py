"""A role in two modes whose best tiers differ: the learner finds both, a third mode falls back."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from learning.features import cell
from learning.revision import Revised
from telemetry.records import Arm, Context, Dialect, OnFail, RoleSource
from telemetry.terms import RoleTerms
from tests.collector.chains import SECOND, Try, chain, word
from tests.collector.teaching import World, role, role_terms, terms

SMALL = Arm(tier="small", on_fail=OnFail.ACCEPT)
TOP = Arm(tier="frontier", on_fail=OnFail.ACCEPT)
FLOOR = 0.9
# Mean quality by mode and tier: in a debate the critic picks a side, which small does as well; in
# reflection it must find its own mistakes, which small does not.
TRUTH = {
    ("debate", "small"): 0.97, ("debate", "frontier"): 0.97,
    ("reflection", "small"): 0.4, ("reflection", "frontier"): 0.97,
    ("chain", "small"): 0.9, ("chain", "frontier"): 0.97,
}  # fmt: skip


class Modes(World):
    """Serves a critic's steps mode by mode, by the revision in force as a gateway looks it up."""

    def context(self, mode: str) -> Context:
        return Context(
            role="critic", role_source=RoleSource.HEADER, dialect=Dialect.CHAT, mode=mode
        )

    def mix(self, mode: str) -> Mapping[Arm, float]:
        """What a step in ``mode`` is served by now."""
        revision = self.revisions.active().standing.revision
        if revision is None:
            return {TOP: 1.0}
        own = [(each.role, each.mode) for each in self.terms.roles if each.mode is not None]
        return Revised(revision, own=own).probabilities(self.context(mode), [SMALL, TOP], TOP)

    def small(self, mode: str) -> float:
        """The share of a mode's steps that start small."""
        return sum(share for arm, share in self.mix(mode).items() if arm.tier == "small")

    def serve(self, counts: Mapping[str, int], *, seconds: float = 60.0) -> None:
        """Let so many steps of each mode pass, graded as they come."""
        batches = []
        for mode, count in counts.items():
            mix = self.mix(mode)
            for place in range(count):
                self.number += 1
                at = self.clock.now_ns() + int(place * seconds * SECOND / count)
                arm = self.rng.choices(list(mix), list(mix.values()))[0]
                right = self.rng.random() < TRUTH[mode, arm.tier]
                batches += [
                    chain(
                        self.number, [Try(tier=arm.tier, seconds=0.01)], start_ns=at,
                        role="critic", cell=cell(self.context(mode)),
                    ),
                    word(self.number, float(right), at=at, source=f"feedback:{self.number % 7}"),
                ]  # fmt: skip
        self.clock.advance(seconds)
        self.store.write(batches, now_ns=self.clock.now_ns())
        self.clock.advance(10.0)
        while self.store.roll_up(self.clock.now_ns()):
            pass


def critic(**more: Any) -> RoleTerms:
    return role_terms("critic", floor=FLOOR, checked=False, **more)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Modes] = []

    def world(*roles: RoleTerms) -> Modes:
        quick: dict[str, Any] = {"step_max": 1.0, "dwell_seconds": 0.0}
        made.append(Modes(tmp_path, terms(*roles, **quick), {}))
        made[-1].rng = random.Random(7)
        return made[-1]

    yield world
    for each in made:
        each.close()


def test_the_learner_finds_another_best_tier_in_each_mode_and_a_third_falls_back(
    make: Any,
) -> None:
    world = make(critic())
    report: dict[str, Any] = {}
    for _ in range(4):
        world.serve({"debate": 150, "reflection": 150})
        report = world.tick()
    assert world.small("debate") > 0.85
    # One floor for the role: what debates have to spare, reflection may spend, and no more.
    assert world.small("reflection") < 0.35
    learned = role(report, "critic")
    assert {"critic|debate|", "critic|reflection|"} <= set(learned["cells"])
    assert learned["quality"] >= FLOOR
    assert learned["cost_usd_aim"] < 0.8 * learned["cost_usd_declared"]

    # Nobody has seen a critic in a chain: the role's own cell serves it.
    revision = world.revisions.active().standing.revision
    assert revision is not None
    assert "critic|chain|" not in revision.shares
    fallback = {str(arm): share for arm, share in world.mix("chain").items() if share}
    kept = {arm: share for arm, share in revision.shares["critic||"].items() if share}
    assert fallback == pytest.approx(kept)
    # Once it has been seen often enough, it has a cell of its own.
    world.serve({"debate": 50, "reflection": 50, "chain": 100})
    assert "critic|chain|" in role(world.tick(), "critic")["cells"]


def test_a_mode_with_terms_of_its_own_keeps_its_own_floor_and_lends_nothing(make: Any) -> None:
    world = make(critic(), critic(mode="reflection"))
    for _ in range(4):
        world.serve({"debate": 150, "reflection": 150})
        world.tick()
    assert world.small("debate") > 0.85
    # Its floor is its own: the good answers of debates cannot pay for bad ones here.
    assert world.small("reflection") < 0.1
    assert world.small("chain") > 0.5  # the role's own cells know debates only
