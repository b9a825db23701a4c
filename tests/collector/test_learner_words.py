"""What the learner says of a role, for every standing, obstacle and block that there is."""

from typing import Any

import pytest

from collector.learner_words import says
from learning.gate import Block
from learning.rolewise import Standing

ENTRY: dict[str, Any] = {
    "floor": 0.9, "standing": "unproven", "blocked_by": [], "demoted": [], "labels": 120.0,
    "labels_without_proof": False, "conversations": None, "cost_usd_now": 0.01, "canaries": {},
    "arms": [
        {"arm": "small/accept", "quality": 0.93, "quality_lower": 0.87, "certified": False,
         "cost_usd": 0.001, "switching_usd": 0.0, "labels": 60.0, "labels_needed": 196},
        {"arm": "frontier/accept", "quality": 0.95, "quality_lower": 0.92, "certified": True,
         "cost_usd": 0.01, "switching_usd": 0.0, "labels": 60.0, "labels_needed": 52},
    ],
}  # fmt: skip


def changed(**small: Any) -> dict[str, Any]:
    first, *others = ENTRY["arms"]
    return ENTRY | {"arms": [first | small, *others]}


@pytest.mark.parametrize("standing", list(Standing))
def test_every_standing_has_words(standing: Standing) -> None:
    assert "hold the floor" in says(ENTRY | {"standing": standing.value})[0]


@pytest.mark.parametrize("block", list(Block))
def test_every_block_has_words(block: Block) -> None:
    assert len(says(ENTRY | {"blocked_by": [block.value]})) == len(says(ENTRY)) + 1


def test_what_the_cheapest_arm_lacks_is_counted() -> None:
    assert says(ENTRY)[-1] == (
        "small/accept, its cheapest arm, is right in 0.930 of steps, at least in 0.870; the floor "
        "is 0.9: about 136 more graded answers that begin at small would show it"
    )
    assert says(changed(labels_needed=None, quality=0.88))[-1].endswith(
        "alone it does not hold that, however many answers are graded"
    )
    assert len(says(changed(certified=True))) == 1


def test_what_is_missing_from_outside_is_said() -> None:
    assert says({"idle": "learn is off"}) == ["nothing to learn: learn is off"]
    assert "nobody grades" in says(ENTRY | {"labels": 0.0})[-1]
    assert any("token" in text for text in says(ENTRY | {"labels_without_proof": True}))
    assert any("small became worse" in text for text in says(ENTRY | {"demoted": ["small"]}))


def test_conversations_are_named_only_where_they_outweigh_a_cheaper_arm() -> None:
    talks = {"continues": 0.9}
    entry = changed(certified=True, switching_usd=0.02) | {"conversations": talks}
    assert says(entry)[-1] == (
        "90% of its steps go on with a conversation: to move them to small/accept would lose $0.02 "
        "a step of what their model has cached, and save $0.009"
    )
    light = changed(certified=True, switching_usd=0.002) | {"conversations": talks}
    assert len(says(light)) == 1


CANARY = {
    "version": "p/mid@2",
    "labels": 120.0,
    "budget": 500,
    "share_aim": 0.08,
    "state": "trying",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "exploration tries it on 8.0% of the steps, until 380 more are spent"),
        (
            {"state": "stopped", "labels": 503.0, "share_aim": 0.005},
            "its trial is over and it is not proven: 0.5% of the steps keep it alive until it is, "
            "another version answers, or [learning].canary_labels is raised",
        ),
        ({"state": "serves"}, "it has come through and serves in the mix aimed at"),
        ({"state": "declared"}, "the declared arm asks it, so its trial ends nothing"),
    ],
)
def test_where_a_canary_stands_is_said_with_its_labels(change: dict[str, Any], words: str) -> None:
    found = says(ENTRY | {"canaries": {"mid": CANARY | change}})
    spent = 503 if "labels" in change else 120
    assert f"mid is new (p/mid@2): {spent} of 500 graded answers are spent on it; {words}" in found
