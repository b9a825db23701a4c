"""A tier that nobody knows yet: a bounded part of the role's steps tries it, until it is proven."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
