from dataclasses import replace

import numpy as np
import pytest

from learning.arms import ladder_arms
from learning.switching import Conversations, lost_usd, switching
from tests.learning.test_derive import evidence, settled, situation

CHAINS = ladder_arms(("small", "frontier")).chains  # small, small then frontier, frontier
PRICE = {"small": np.array([1e-6, 4e-6, 1e-7]), "frontier": np.array([3e-6, 15e-6, 5e-7])}


def talk(
    *, continues: float, left: float, warm: float, stands: dict[str, float] | None = None
) -> Conversations:
    known = {"frontier": 1.0} if stands is None else stands
    return Conversations(
        continues=np.array([continues]),
        left=np.array([left]),
        stands={tier: np.array([share]) for tier, share in known.items()},
        warm={tier: np.array([warm]) for tier in known},
    )


def test_a_change_loses_the_cached_tokens_at_the_price_difference() -> None:
    assert lost_usd(20_000, PRICE["frontier"]) == pytest.approx(0.05)  # 20,000 x 2.5e-6
    assert lost_usd(20_000, PRICE["small"]) == pytest.approx(0.018)
    assert lost_usd(20_000, np.array([1e-6, 4e-6, 2e-6])) == 0.0  # cached is dearer: no loss
    assert lost_usd(0, PRICE["frontier"]) == 0.0


def test_arms_of_the_tier_where_conversations_stand_lose_nothing_by_hand() -> None:
    found = switching(talk(continues=0.8, warm=20_000, left=4.0), chains=CHAINS, price=PRICE)
    # .8 of the steps go on x 0.018 lost by changing to small / 4 steps
    assert found[0].tolist() == pytest.approx([0.0036, 0.0036, 0.0])


def test_each_arm_is_charged_for_conversations_that_stand_elsewhere() -> None:
    stands = {"small": 0.75, "frontier": 0.25}
    found = switching(
        talk(continues=0.5, warm=10_000, left=1.0, stands=stands), chains=CHAINS, price=PRICE
    )
    # small: .5 x .25 x 0.009; frontier: .5 x .75 x 0.025
    assert found[0].tolist() == pytest.approx([0.001125, 0.001125, 0.009375])


def test_steps_without_conversations_cost_no_more() -> None:
    none = switching(talk(continues=0.0, warm=20_000, left=1.0), chains=CHAINS, price=PRICE)
    assert (none == 0.0).all()


@pytest.mark.parametrize(
    ("continues", "warm", "left"), [(1.1, 1.0, 1.0), (0.5, -1.0, 1.0), (0.5, 1.0, 0.5)]
)
def test_impossible_conversations_are_refused(continues: float, warm: float, left: float) -> None:
    with pytest.raises(AssertionError):
        talk(continues=continues, warm=warm, left=left)


def test_a_role_stays_where_its_cache_is_worth_more_than_the_move() -> None:
    """Conversations stand at frontier; small saves at most 99 USD a step."""
    tally = evidence(np.random.default_rng(0), count=6_000, small_right=0.88)
    case = situation()
    price = {  # as before, and an input price that only a cold cache pays
        "small": case.price["small"] + np.array([1e-3, 0.0, 0.0]),
        "frontier": case.price["frontier"] + np.array([1e-3, 0.0, 0.0]),
    }
    case = replace(case, price=price)
    loose = settled(tally, case)
    light = settled(tally, replace(case, conversations=talk(continues=0.9, warm=1e4, left=10.0)))
    heavy = settled(tally, replace(case, conversations=talk(continues=0.9, warm=1e6, left=5.0)))
    followed = talk(continues=0.9, warm=1e6, left=5.0, stands={"small": 1.0})
    assert loose.shares[0, 2] < 0.15
    assert light.shares[0, 2] < 0.15
    assert heavy.shares[0, 2] > 0.9  # 0.9 x 1e6 x 1e-3 / 5 = 180 USD a step against 99 saved
    assert settled(tally, replace(case, conversations=followed)).shares[0, 2] < 0.15
