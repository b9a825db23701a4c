from dataclasses import replace

import numpy as np
import pytest

from learning.arms import Arms
from learning.rolewise import (
    SETTINGS,
    Aim,
    Case,
    Sighting,
    Standing,
    aim,
    place_of,
    reference_means,
    role_arms,
    tallied,
    watched,
)
from learning.tally import STATS, Stat, Tally
from telemetry.records import Arm, OnFail
from tests.learning.observations import Observation, Seen, tally_attempts, tally_labels

TIERS = ("small", "frontier")
TOP = Arm(tier="frontier", on_fail=OnFail.ACCEPT)
ARMS = role_arms(TIERS, declared=TOP, checked=True)
CELLS = ("r||plain", "r||")


def case(*, floor: float = 0.8, declared: Arm = TOP, arms: Arms = ARMS) -> Case:
    tokens = np.array([1_000.0, 100.0, 0.0])
    return Case(
        arms=arms,
        declared=declared,
        floor=floor,
        price={"small": np.array([1e-7, 4e-7, 0]), "frontier": np.array([3e-6, 1.5e-5, 0])},
        typical={"small": tokens, "frontier": tokens},
        since={},
        demoted=frozenset(),
    )


def taught(*, small: float, top: float, count: int, cell: str = CELLS[0], seed: int = 1) -> Tally:
    """Half the steps start small under a check of .8/.1, half go to the top."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        last = Seen(tier="frontier", flagged=False, tokens_in=1_000, tokens_out=100)
        right = bool(rng.random() < (small if number % 2 else top))
        flagged = bool(rng.random() < (0.1 if right else 0.8))
        tries: tuple[Seen, ...] = (last,)
        if number % 2:
            tries = (Seen(tier="small", flagged=flagged, tokens_in=1_000, tokens_out=100),)
            if flagged:
                tries, right = (*tries, last), bool(rng.random() < top)
        rows.append(Observation(cell=cell, attempts=tries, label=float(right)))
    both = tally_attempts(rows, epoch=1) + tally_labels(rows, epoch=1)
    return both.over(cells=CELLS, prefixes=ARMS.prefixes)


NOTHING = Tally(cells=CELLS, prefixes=ARMS.prefixes)


def small_share(found: Aim) -> float:
    return float(found.derived.weights @ found.shares[:, :2].sum(axis=1))


def test_with_no_evidence_the_table_holds_but_for_a_safe_share() -> None:
    found = aim(NOTHING, case())
    assert found.standing is Standing.UNPROVEN
    assert 0.0 < small_share(found) < 0.12
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(2))


@pytest.mark.parametrize("declared", ["small", "mid", "frontier"])
def test_a_learner_that_knows_nothing_is_hardly_dearer_than_the_table(declared: str) -> None:
    table = Arm(tier=declared, on_fail=OnFail.ACCEPT if declared == "frontier" else OnFail.STEP)
    arms = role_arms(("small", "mid", "frontier"), declared=table, checked=True)
    base = case(declared=table, arms=arms)
    mid = np.array([6e-7, 3e-6, 0])
    found = aim(
        Tally(cells=CELLS, prefixes=arms.prefixes),
        replace(base, price={**base.price, "mid": mid},
                typical={**base.typical, "mid": base.typical["small"]}),
    )  # fmt: skip
    assert found.cost(found.shares) <= 1.1 * found.cost(found.declared)


def test_enough_good_evidence_aims_at_the_cheap_chain() -> None:
    found = aim(taught(small=0.9, top=0.92, count=2_000), case())
    assert found.standing is Standing.PROVEN
    assert small_share(found) > 0.9
    quality, lower = found.quality(found.shares)
    assert quality > lower >= 0.8 * (1 - SETTINGS.tolerance) - 1e-3


def test_a_table_that_is_known_to_miss_the_floor_is_left_upwards() -> None:
    table = Arm(tier="small")  # right in .83 of the cases
    found = aim(taught(small=0.3, top=0.95, count=2_000), case(declared=table, floor=0.9))
    assert found.standing is Standing.PROVEN
    assert small_share(found) < 0.5
    assert found.quality(found.shares)[0] > 0.9 > found.quality(found.declared)[0] + 0.03


def test_a_floor_that_nothing_reaches_is_said_and_the_best_is_served() -> None:
    table = Arm(tier="small")
    found = aim(taught(small=0.3, top=0.7, count=2_000), case(declared=table, floor=0.9))
    assert found.standing is Standing.SHORT
    assert found.quality(found.shares)[0] >= found.quality(found.declared)[0] - 0.01


def test_the_aim_depends_on_the_evidence_alone() -> None:
    tally = taught(small=0.85, top=0.92, count=800)
    one, other = aim(tally, case()), aim(tally, case())
    assert (one.shares == other.shares).all()


def test_evidence_before_an_alarm_counts_no_more() -> None:
    tally = taught(small=0.9, top=0.92, count=2_000)
    found = aim(tally, replace(case(), since={"small": 2}, demoted=frozenset({"small"})))
    assert found.standing is not Standing.SHORT
    assert small_share(found) < 0.2


def test_where_the_floor_does_not_bind_nothing_dearer_is_explored() -> None:
    found = aim(taught(small=0.97, top=0.98, count=3_000), case(floor=0.6))
    assert found.standing is Standing.PROVEN
    assert found.shares[:, 2].tolist() == [0.0, 0.0]
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(2))


def test_a_price_change_needs_no_learning() -> None:
    tally, base = taught(small=0.9, top=0.92, count=2_000), case()
    dear = replace(base, price={**base.price, "small": np.array([1e-4, 1e-4, 0])})
    assert small_share(aim(tally, dear)) < 0.1


def test_without_checks_arms_differ_in_where_they_start_and_keep_their_way_up() -> None:
    arms = role_arms(TIERS, declared=Arm(tier="small"), checked=False)
    assert [str(arm) for arm in arms.arms] == ["small/step", "frontier/accept"]
    assert arms.chains == (("small",), ("frontier",))
    assert place_of(Arm(tier="small", on_fail=OnFail.TOP), arms=arms) == 0


def test_a_function_hands_on_what_it_cannot_answer_whatever_its_arm_says() -> None:
    arms = role_arms(("code", "small", "top"), declared=Arm(tier="code"), checked=False)
    assert arms.chains == (("code", "small"), ("small",), ("top",))
    checked = role_arms(("code", "small"), declared=Arm(tier="code"), checked=True)
    assert [str(arm) for arm in checked.arms] == ["code/step", "small/accept"]


def test_detectors_see_fresh_flags_and_new_labels_in_order() -> None:
    known = reference_means(taught(small=0.9, top=0.92, count=2_000), case())
    path = ("small",)
    rows = [
        Sighting(cell=CELLS[0], prefix=path, flagged=False, fresh=True, label=1.0),
        Sighting(cell=CELLS[0], prefix=path, flagged=False, fresh=False, label=0.25),
        Sighting(cell=CELLS[0], prefix=("small", "frontier"), flagged=False, fresh=True, label=1.0),
        Sighting(cell="elsewhere", prefix=path, flagged=True, fresh=True, label=0.0),
    ]
    seen, origins = watched(rows, tier="small", cells=CELLS, known=known)
    assert origins == [0, 0, 1]
    assert seen.values.tolist() == [1.0, 1.0, 0.25]  # unflagged is good; the old flag is no news
    assert (seen.low < seen.high).all()


def test_without_enough_evidence_nothing_is_compared() -> None:
    known = reference_means(taught(small=0.9, top=0.92, count=60), case())
    rows = [Sighting(cell=CELLS[0], prefix=("small",), flagged=True, fresh=True, label=0.0)]
    assert watched(rows, tier="small", cells=CELLS, known=known)[1] == []


def test_sightings_add_up_to_flags_and_labels_by_what_the_checks_said() -> None:
    small, up = ("small",), ("small", "top")
    seen = [
        Sighting(cell="a", prefix=small, flagged=False, fresh=True, label=0.5),
        Sighting(cell="a", prefix=small, flagged=True, fresh=True, label=None),
        Sighting(cell="a", prefix=up, flagged=True, fresh=False, label=1.0),
        Sighting(cell="elsewhere", prefix=small, flagged=False, fresh=True, label=1.0),
        Sighting(cell="a", prefix=("top",), flagged=False, fresh=True, label=1.0),
    ]
    found = tallied(seen, cells=("a",), prefixes=(small, up), epoch=7).epochs[7]
    expected = np.zeros((1, 2, STATS))
    expected[0, 0, [Stat.ATTEMPTS, Stat.FLAGGED]] = 2, 1
    expected[0, 0, Stat.PASSED_W : Stat.PASSED_WQQ + 1] = 1, 1, 0.5, 0.25
    expected[0, 1, Stat.FAILED_W : Stat.FAILED_WQQ + 1] = 1, 1, 1, 1
    assert (found == expected).all()


def test_a_cell_that_nobody_asked_for_yet_is_served_as_the_role_is() -> None:
    observations = [
        Observation(cell=CELLS[0], attempts=(Seen(tier="small", flagged=False),), label=1.0)
        for _ in range(2_000)
    ]
    tally = tally_attempts(observations, epoch=1) + tally_labels(observations, epoch=1)
    found = aim(tally.over(cells=CELLS, prefixes=ARMS.prefixes), case(floor=0.8))
    weights = found.derived.weights
    assert weights[1] < 0.01
    assert found.shares[1] == pytest.approx(found.shares[0])
