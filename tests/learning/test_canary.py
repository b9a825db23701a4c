"""How many labels a new model may cost, counted by hand, and what stops when they are spent."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from learning.arms import ladder_arms
from learning.canary import Bools, Canaries, held, labels_used
from learning.programme import Solution
from learning.rolewise import SETTINGS, Standing, aim
from learning.tally import Tally
from telemetry.records import Arm, OnFail
from tests.learning.observations import Observation, Seen, tally_labels
from tests.learning.test_rolewise import CELLS, NOTHING, case, small_share, taught

ARMS = ladder_arms(("small", "mid", "top"))
NAMES = [str(arm) for arm in ARMS.arms]
TOP = ARMS.index_of(Arm(tier="top", on_fail=OnFail.ACCEPT))


def graded(path: str, *, label: float, chance: float = 1.0, cell: str = "a") -> Observation:
    tries = tuple(Seen(tier=tier, flagged=False) for tier in path.split(">"))
    return Observation(cell=cell, attempts=tries, label=label, label_chance=chance)


def stopped(canaries: Canaries | None, **more: Any) -> Bools | None:
    values: dict[str, Any] = {"declared": np.array([TOP]), "before": None, "explored_max": 0.16}
    return held(ARMS, canaries=canaries, **values | more)


def spent(tier: str, used: float, budget: float = 100.0) -> Canaries:
    return Canaries(used={tier: np.array([used])}, budget=budget)


def names(found: Bools | None) -> set[str]:
    assert found is not None
    return {NAMES[arm] for arm in np.flatnonzero(found[0])}


def solved(share: float, *, proven: bool = True) -> Solution:
    """A mix with ``share`` at mid/step and the rest at the top."""
    shares = np.zeros((1, len(NAMES)))
    shares[0, [NAMES.index("mid/step"), TOP]] = share, 1 - share
    return Solution(
        shares=shares, cost=1.0, quality=0.9, margin=0.0, floor=0.9, proven=proven,
        price_of_quality=1.0,
    )  # fmt: skip


def test_every_label_on_a_step_that_asked_the_new_model_counts_once_by_hand() -> None:
    rows = [
        graded("mid", label=1.0), graded("mid", label=0.0, cell="b"),
        graded("small>mid", label=1.0), graded("mid>top", label=1.0),
        graded("small>mid>top", label=0.0), graded("top", label=1.0),
        graded("small>top", label=0.0),
    ]  # fmt: skip
    tally = tally_labels(rows, epoch=1)
    used = labels_used(tally, tiers=["mid", "top"], since={})
    assert tally.cells == ("a", "b")
    assert used["mid"].tolist() == [4.0, 1.0]
    assert used["top"].tolist() == [4.0, 0.0]


def test_a_label_counts_as_one_whatever_its_chance_and_a_task_as_one_in_all() -> None:
    rare = tally_labels([graded("mid", label=1.0, chance=0.1) for _ in range(30)], epoch=1)
    assert labels_used(rare, tiers=["mid"], since={})["mid"].tolist() == pytest.approx([30.0])
    shared = Tally(  # 40 steps of ten tasks: each a quarter of its task's word
        cells=rare.cells, prefixes=rare.prefixes, epochs={1: rare.epochs[1] * 0.0 + 10.0}
    )
    assert labels_used(shared, tiers=["mid"], since={})["mid"].tolist() == [20.0]  # passed, failed


def test_labels_from_before_an_alarm_are_not_counted() -> None:
    tally = tally_labels([graded("mid", label=1.0)], epoch=1)
    tally += tally_labels([graded("mid", label=1.0)] * 2, epoch=5)
    assert labels_used(tally, tiers=["mid"], since={"mid": 2})["mid"].tolist() == [2.0]


def test_what_is_held_is_every_arm_that_walks_a_new_tier_whose_labels_are_spent() -> None:
    assert stopped(None) is None
    assert names(stopped(spent("mid", 99.0))) == set()
    assert names(stopped(spent("mid", 100.0))) == {
        "small/step", "mid/accept", "mid/step"
    }  # fmt: skip
    assert names(stopped(spent("mid", 0.0, budget=0.0))) == {"small/step", "mid/accept", "mid/step"}


def test_what_people_declared_is_not_held() -> None:
    declared = np.array([ARMS.index_of(Arm(tier="mid", on_fail=OnFail.STEP))])
    assert names(stopped(spent("mid", 1e9), declared=declared)) == set()
    assert names(stopped(spent("top", 1e9))) == set()  # small/step ends at the declared top


def test_a_proven_mix_that_holds_more_than_exploration_could_frees_its_tier() -> None:
    assert names(stopped(spent("mid", 1e9), before=solved(0.17))) == set()
    assert "mid/step" in names(stopped(spent("mid", 1e9), before=solved(0.16)))
    assert "mid/step" in names(stopped(spent("mid", 1e9), before=solved(0.9, proven=False)))


def test_a_new_tier_whose_labels_are_spent_keeps_only_its_trickle() -> None:
    """The top tier is declared, small unknown: hope buys it steps until its labels are spent."""
    fresh = replace(case(floor=0.8), canaries={"small": 99.0}, canary_labels=100)
    open_, shut = aim(NOTHING, fresh), aim(NOTHING, replace(fresh, canaries={"small": 100.0}))
    assert open_.stopped == frozenset()
    assert shut.stopped == frozenset({"small"})
    assert small_share(open_) > 2 * SETTINGS.trickle
    # Two chains start at small; the better one keeps it alive.
    assert 0.0 < small_share(shut) <= SETTINGS.trickle + 1e-9
    assert shut.shares.sum(axis=1) == pytest.approx(np.ones(len(CELLS)))


def test_a_new_tier_that_is_proven_serves_however_many_labels_it_had() -> None:
    tally = taught(small=0.9, top=0.92, count=2_000)
    known = aim(tally, case())
    late = aim(tally, replace(case(), canaries={"small": 1_000.0}, canary_labels=100))
    assert late.standing is Standing.PROVEN
    assert late.stopped == frozenset()
    assert small_share(late) == pytest.approx(small_share(known), abs=0.05)


def test_a_tier_that_is_not_new_is_explored_as_ever() -> None:
    tally = taught(small=0.6, top=0.92, count=100)
    plain = aim(tally, case(floor=0.9))
    other = aim(tally, replace(case(floor=0.9), canaries={}, canary_labels=0))
    assert (plain.shares == other.shares).all()
