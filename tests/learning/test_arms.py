import pytest

from learning.arms import chain, distinct_arms, ladder_arms
from telemetry.records import Arm, OnFail

LADDER = ("small", "mid", "frontier")


def test_a_chain_follows_what_a_failed_check_does() -> None:
    def walk(on_fail: OnFail) -> tuple[str, ...]:
        return chain(Arm(tier="small", on_fail=on_fail), tiers=LADDER)

    assert walk(OnFail.ACCEPT) == ("small",)
    assert walk(OnFail.STEP) == ("small", "mid", "frontier")
    assert walk(OnFail.TOP) == ("small", "frontier")


def test_arms_that_walk_the_same_tiers_are_one_arm() -> None:
    arms = ladder_arms(LADDER)
    assert [str(arm) for arm in arms.arms] == [
        "small/accept",
        "small/step",
        "small/top",
        "mid/accept",
        "mid/step",
        "frontier/accept",
    ]
    assert arms.index_of(Arm(tier="mid", on_fail=OnFail.TOP)) == 4
    assert arms.index_of(Arm(tier="frontier", on_fail=OnFail.STEP)) == 5


def test_prefixes_are_every_beginning_of_a_chain_short_ones_first() -> None:
    assert ladder_arms(LADDER).prefixes == (
        ("small",),
        ("mid",),
        ("frontier",),
        ("small", "frontier"),
        ("small", "mid"),
        ("mid", "frontier"),
        ("small", "mid", "frontier"),
    )


def test_an_arm_outside_the_offer_is_a_key_error() -> None:
    arms = distinct_arms([Arm(tier="small", on_fail=OnFail.ACCEPT)], tiers=LADDER)
    with pytest.raises(KeyError, match="small/step"):
        arms.index_of(Arm(tier="small", on_fail=OnFail.STEP))
