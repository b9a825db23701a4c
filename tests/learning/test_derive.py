import numpy as np
import pytest

from learning.arms import ladder_arms
from learning.compose import Layout
from learning.derive import Derived, Settings, Situation, derive, role_mix
from learning.tally import Tally, merged
from tests.learning.observations import Observation, Seen, tally_attempts, tally_labels

TIERS = ("small", "frontier")
LAYOUT = Layout(arms=ladder_arms(TIERS))
TOKEN = np.array([0.0, 1.0, 0.0])
SETTINGS = Settings()


def situation(*, floor: float = 0.8, frontier_price: float = 1.0, roles: int = 1) -> Situation:
    return Situation(
        floor=floor,
        role_floors=None,
        declared=np.full(roles, 2),
        allowed=np.ones((roles, 3), dtype=bool),
        price={"small": TOKEN * 0.01, "frontier": TOKEN * frontier_price},
        typical={"small": TOKEN * 100, "frontier": TOKEN * 100},
        since={},
    )


def evidence(rng: np.random.Generator, *, count: int, small_right: float, epoch: int = 1) -> Tally:
    """Half the requests start small with a check of .8/.1, half go to the top, right with .9."""
    rows = []
    for number in range(count):
        right = rng.random() < small_right
        flagged = bool(rng.random() < (0.1 if right else 0.8))
        top = Seen(tier="frontier", flagged=False, tokens_out=100)
        if number % 2:
            rows.append(Observation(cell="r", attempts=(top,), label=float(rng.random() < 0.9)))
        elif flagged:
            small = Seen(tier="small", flagged=True, tokens_out=100)
            rows.append(
                Observation(cell="r", attempts=(small, top), label=float(rng.random() < 0.85))
            )
        else:
            small = Seen(tier="small", flagged=False, tokens_out=100)
            rows.append(Observation(cell="r", attempts=(small,), label=float(right)))
    both = tally_attempts(rows, epoch=epoch) + tally_labels(rows, epoch=epoch)
    return both.over(cells=("r",), prefixes=LAYOUT.arms.prefixes)


def settled(tally: Tally, case: Situation, *, ticks: int = 25) -> Derived:
    found: Derived | None = None
    for tick in range(ticks):
        found = derive(
            LAYOUT,
            tally=tally,
            situation=case,
            previous=found,
            settings=SETTINGS,
            rng=np.random.default_rng(tick),
        )
    assert found is not None
    return found


EMPTY = Tally(cells=("r",), prefixes=LAYOUT.arms.prefixes)


def test_before_anything_is_seen_nothing_cheap_is_served_but_a_safe_share() -> None:
    found = settled(EMPTY, situation())
    assert not found.solution.proven
    assert found.shares[0, 2] > 0.5
    assert found.shares[0, 1] > 0.1  # the chain that escalates comes first
    assert found.shares[0, 0] < 0.05


def test_enough_good_evidence_moves_the_role_to_the_cheap_chain() -> None:
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.8)
    found = settled(tally, situation())
    assert found.solution.proven
    assert found.shares[0, :2].sum() > 0.9
    assert found.shares[0, 1] > 0.3  # accepting alone is right in .8, right on the floor


def test_the_same_share_of_successes_on_little_evidence_does_not() -> None:
    tally = evidence(np.random.default_rng(0), count=40, small_right=0.8)
    assert settled(tally, situation(floor=0.86)).shares[0, 1] < 0.5


def test_bad_evidence_keeps_the_top_tier() -> None:
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.2)
    found = settled(tally, situation(floor=0.88))
    assert found.shares[0, 2] > 0.8


def test_a_price_change_needs_no_learning() -> None:
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.8)
    cheap_top = settled(tally, situation(frontier_price=0.001))
    assert cheap_top.shares[0, 2] > 0.9


def test_an_alarm_forgets_the_model_and_falls_up() -> None:
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.8)
    case = situation()
    before = settled(tally, case)
    alarmed = Situation(
        floor=case.floor,
        role_floors=None,
        declared=case.declared,
        allowed=case.allowed,
        price=case.price,
        typical=case.typical,
        since={"small": 2},
        demoted=frozenset({"small"}),
    )
    after = derive(
        LAYOUT,
        tally=tally,
        situation=alarmed,
        previous=before,
        settings=SETTINGS,
        rng=np.random.default_rng(0),
    )
    assert before.shares[0, 2] < 0.1
    assert after.shares[0, 2] > 0.8  # at once, not damped


def test_the_same_evidence_in_two_replicas_derives_the_same() -> None:
    parts = [
        evidence(np.random.default_rng(seed), count=500, small_right=0.8, epoch=1 + seed % 2)
        for seed in range(4)
    ]
    one = settled(merged(parts), situation(), ticks=3)
    other = settled(merged(reversed(parts)), situation(), ticks=3)
    assert one.shares == pytest.approx(other.shares, abs=1e-9)


def test_a_forbidden_arm_is_never_served() -> None:
    case = situation()
    allowed = case.allowed.copy()
    allowed[0, 1] = False
    forbidden = Situation(
        floor=case.floor,
        role_floors=None,
        declared=case.declared,
        allowed=allowed,
        price=case.price,
        typical=case.typical,
        since={},
    )
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.8)
    assert settled(tally, forbidden).shares[0, 1] == pytest.approx(0.0, abs=1e-9)


def test_a_steady_role_mix_is_remembered_and_a_moved_one_followed() -> None:
    def asked(role: str, *, epoch: int, count: int) -> Tally:
        seen = Observation(cell=role, attempts=(Seen(tier="small", flagged=False),))
        return tally_attempts([seen] * count, epoch=epoch).over(
            cells=("a", "b"), prefixes=(("small",),)
        )

    steady = merged(
        asked(role, epoch=epoch, count=100) for epoch in range(20) for role in ("a", "b")
    )
    assert role_mix(steady, settings=SETTINGS) == pytest.approx([0.5, 0.5], abs=0.01)
    moved = steady + merged(asked("b", epoch=30 + epoch, count=200) for epoch in range(10))
    assert role_mix(moved, settings=SETTINGS)[1] > 0.9


def test_a_mix_that_is_known_to_miss_the_floor_gives_way_to_an_untried_top_tier() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(4_000):  # every request starts small, which is wrong too often; no check helps
        small = Seen(tier="small", flagged=False, tokens_out=100)
        rows.append(Observation(cell="r", attempts=(small,), label=float(rng.random() < 0.7)))
    tally = tally_attempts(rows, epoch=1) + tally_labels(rows, epoch=1)
    found = settled(tally.over(cells=("r",), prefixes=LAYOUT.arms.prefixes), situation())
    assert found.shares[0, 2] > 0.9


def test_a_mix_that_only_looks_short_of_the_floor_gives_way_too_once_enough_was_asked() -> None:
    rows = []
    for number in range(400):  # three in four right: short by 2.3 deviations, not by 2.5
        small = Seen(tier="small", flagged=False, tokens_out=100)
        rows.append(Observation(cell="r", attempts=(small,), label=float(number % 4 > 0)))
    tally = tally_attempts(rows, epoch=1) + tally_labels(rows, epoch=1)
    found = settled(tally.over(cells=("r",), prefixes=LAYOUT.arms.prefixes), situation())
    assert not found.solution.proven
    assert found.shares[0, 2] > 0.9
