"""A model that nobody knows yet: a bounded part of the role's steps tries it, until it is proven.

One that comes while the role learns is tried for a bounded number of graded answers besides.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector.learner_state import Carried
from telemetry.terms import TierTerms
from tests.collector.teaching import World, role, role_terms, terms

FLOOR, TOP = 0.9, 0.92
SHARE_MAX = 0.13  # of a role's steps; exploration's 0.12 and what keeps a tier alive
LABELS_MAX = 150  # that a good tier needs


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A role without checks at its floor's edge, served by its top tier; small is new."""
    made = World(
        tmp_path,
        terms(role_terms("good", checked=False, floor=FLOOR), step_max=1.0, dwell_seconds=0.0),
        {("good", "frontier"): TOP},
    )
    yield made
    made.close()


def tried(world: World) -> tuple[float, float, bool]:
    """Let a tick pass: the share of steps that start at small, its labels, is it certified."""
    [report] = world.run(["good"], ticks=1, count=150)
    arm = next(arm for arm in role(report, "good")["arms"] if arm["arm"].startswith("small"))
    return world.start_small("good"), float(arm["labels"]), bool(arm["certified"])


def test_a_good_new_tier_is_tried_on_few_steps_and_taken_once_it_is_proven(world: World) -> None:
    world.truth["good", "small"] = 0.95
    for _ in range(12):
        share, labels, certified = tried(world)
        if certified:
            break
        assert share <= SHARE_MAX
    assert certified
    assert labels <= LABELS_MAX
    assert share > 0.5


def test_a_bad_new_tier_never_gets_more_than_its_share_and_the_floor_holds(world: World) -> None:
    world.truth["good", "small"] = 0.4
    shares, labels = [], 0.0
    for _ in range(8):
        share, labels, certified = tried(world)
        assert not certified
        shares.append(share)
    assert max(shares) <= SHARE_MAX
    assert labels <= LABELS_MAX / 2  # of 1,200 steps
    served = sum(shares) / len(shares)
    assert served * 0.4 + (1 - served) * TOP >= FLOOR - 0.01


def retried(world: World, *, labels: int) -> dict[str, Any]:
    """Let a tick pass under another budget: what the report says of the role."""
    learning = world.terms.learning.model_copy(update={"canary_labels": labels})
    world.terms = replace(world.terms, learning=learning)
    [report] = world.run(["good"], ticks=1, count=150)
    return role(report, "good")


def test_a_version_that_does_not_prove_itself_is_tried_for_its_labels_and_no_longer(
    world: World,
) -> None:
    world.truth["good", "small"] = 0.95
    world.run(["good"], ticks=8)
    assert world.start_small("good") > 0.5
    world.served, world.truth["good", "small"] = {"small": "small-2"}, 0.86
    first = retried(world, labels=10_000)
    spent = first["canaries"]["small"]["labels"]
    assert first["canaries"]["small"]["version"] == "p/small@small-2"
    assert spent >= 40  # four fifths of the tier's last 50 attempts made it the one that stands
    tries = retried(world, labels=10_000)["canaries"]["small"]
    assert (tries["state"], tries["budget"]) == ("trying", 10_000)
    over = retried(world, labels=int(spent))
    assert over["canaries"]["small"]["state"] == "stopped"
    assert world.start_small("good") <= 0.005 + 1e-9  # what keeps it alive
    assert any("its trial is over" in text for text in over["says"])
    world.learner = world.made()  # a restart forgets none of it
    kept = retried(world, labels=int(spent))["canaries"]["small"]
    assert kept["state"] == "stopped"
    assert kept["labels"] <= over["canaries"]["small"]["labels"] + 5  # of 150 steps
    assert retried(world, labels=10_000)["canaries"]["small"]["state"] == "trying"
    assert world.start_small("good") > 0.005


def test_tiers_that_were_there_when_the_role_began_are_no_canaries(world: World) -> None:
    world.truth["good", "small"] = 0.86
    [report] = world.run(["good"], ticks=1)
    assert role(report, "good")["canaries"] == {}


def test_a_tier_that_comes_into_a_roles_range_is_one_and_is_tried_or_not(world: World) -> None:
    world.truth["good", "small"] = 0.4
    world.run(["good"], ticks=1)
    tiers = ("small", "mid", "frontier")
    mid = TierTerms(models=("p/mid",), usd_per_token=(6e-7, 3e-6, 6e-8))
    declared = replace(world.terms.roles[0], tiers=tiers)
    learning = world.terms.learning
    world.terms = replace(
        world.terms, policy_hash="p2", ladder=tiers, tiers={**world.terms.tiers, "mid": mid},
        roles=(declared,),
    )  # fmt: skip
    found = role(world.tick(), "good")
    assert found["canaries"]["mid"]["labels"] == 0.0
    assert found["canaries"]["mid"]["state"] == "trying"
    assert found["canaries"]["mid"]["share_aim"] > 0.01
    assert "small" not in found["canaries"]
    none = learning.model_copy(update={"canary_labels": 0})
    world.terms = replace(world.terms, learning=none)
    found = role(world.tick(), "good")
    assert found["canaries"]["mid"]["state"] == "stopped"
    assert found["canaries"]["mid"]["share_aim"] <= 0.005 + 1e-9


def test_what_is_new_to_a_scope_is_what_comes_after_its_first_tick_by_hand() -> None:
    first = Carried().ranging(["small", "top"])
    assert first.offered == {"small", "top"}
    assert first.canaries == frozenset()
    second = first.ranging(["mid", "top"])
    assert second.offered == {"small", "mid", "top"}
    assert second.canaries == {"mid"}
    assert second.ranging(["small", "mid"]) is second  # one that comes back is not new


def test_a_first_version_is_not_new_and_another_one_is() -> None:
    first = Carried().ranging(["small", "top"]).moved_on({"small": "m@1"})
    assert first.canaries == frozenset()
    assert first.moved_on({"small": "m@1", "top": "t@1"}).canaries == frozenset()
    assert first.moved_on({"small": "m@2", "top": "t@1"}).canaries == {"small"}
