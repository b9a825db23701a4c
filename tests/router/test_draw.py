"""Which number draws an arm: a decision's own, or its conversation's."""

from collections import Counter
from dataclasses import replace

import pytest

from router.draw import draw, drawn_by
from telemetry.records import Arm
from tests.learning.test_features import SHAPE
from tests.router.declared import context

LOW, HIGH = Arm(tier="low"), Arm(tier="high")
FIRST = replace(context(), session="s1", shape=SHAPE)
LATER = replace(FIRST, shape=replace(SHAPE, continues=True))


def arm_of(share: float, name: str) -> Arm:
    return draw({LOW: share, HIGH: 1.0 - share}, (LOW, HIGH), name=name)[0]


def test_steps_that_go_on_with_a_conversation_draw_by_one_number_per_session_and_role() -> None:
    assert drawn_by(LATER, "d1") == drawn_by(LATER, "d2")
    assert drawn_by(LATER, "d1") != drawn_by(replace(LATER, session="s2"), "d1")
    assert drawn_by(LATER, "d1") != drawn_by(replace(LATER, role="critic"), "d1")


@pytest.mark.parametrize("asked", [FIRST, replace(LATER, session=None), replace(LATER, shape=None)])
def test_other_steps_draw_by_their_own(asked: object) -> None:
    assert asked != LATER
    assert drawn_by(asked, "d1") == "d1"  # type: ignore[arg-type]


def test_a_conversation_stays_until_the_share_crosses_its_number_and_few_do() -> None:
    """From 0.3 to 0.4 a tenth of the conversations moves, all of them one way: 5 sd are 75."""
    names = [drawn_by(replace(LATER, session=f"s{number}"), "") for number in range(2_000)]
    moved = Counter((arm_of(0.3, name), arm_of(0.4, name)) for name in names)
    assert moved[LOW, HIGH] == 0
    assert abs(moved[HIGH, LOW] - 200) <= 75


def test_over_sessions_arms_are_drawn_as_often_as_they_say() -> None:
    """10,000 conversations at 0.2: five standard deviations are 200."""
    names = [drawn_by(replace(LATER, session=f"s{number}"), "") for number in range(10_000)]
    assert abs(sum(arm_of(0.2, name) is LOW for name in names) - 2_000) <= 200
