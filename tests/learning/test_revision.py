from typing import Any

import pytest

from learning.revision import Revised, Revision, parse
from telemetry.records import Arm, Context, Dialect, OnFail, RoleSource

SMALL = Arm(tier="small", on_fail=OnFail.TOP)
MID = Arm(tier="mid", on_fail=OnFail.STEP)
TOP = Arm(tier="frontier", on_fail=OnFail.ACCEPT)


def revision(**shares: float) -> Revision:
    return Revision(
        policy_hash="p1",
        parent=None,
        shares={"worker": {name.replace("_", "/"): share for name, share in shares.items()}},
        evidence={"worker": {"labels": 120.0}},
    )


def context(role: str) -> Context:
    return Context(role=role, role_source=RoleSource.HEADER, dialect=Dialect.CHAT)


def test_a_revision_is_named_by_its_content() -> None:
    first, same, other = revision(small_top=1.0), revision(small_top=1.0), revision(mid_step=1.0)
    assert first.revision_id == same.revision_id != other.revision_id
    assert parse(first.text) == first


def test_shares_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="worker"):
        revision(small_top=0.7)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"format":2}', '{"format":1,"shares":[]}', revision(a_step=1.0).text],
)
def test_broken_revisions_are_refused_with_a_value_error(text: Any) -> None:
    if text.startswith('{"evidence"'):
        text = text.replace("a/step", "a/sideways")
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_offered_arms_get_their_shares() -> None:
    found = Revised(revision(small_top=0.25, frontier_accept=0.75)).probabilities(
        context("worker"), [SMALL, MID, TOP], MID
    )
    assert found == {SMALL: 0.25, MID: 0.0, TOP: 0.75}


def test_an_arm_that_is_not_offered_leaves_its_share_to_the_others() -> None:
    learner = Revised(revision(small_top=0.5, mid_step=0.1, frontier_accept=0.4))
    found = learner.probabilities(context("worker"), [MID, TOP], MID)
    assert found == pytest.approx({MID: 0.2, TOP: 0.8})


def test_an_unknown_role_and_a_foreign_ladder_get_the_declared_arm() -> None:
    learner = Revised(revision(small_top=1.0))
    assert learner.probabilities(context("critic"), [SMALL, MID], MID) == {SMALL: 0.0, MID: 1.0}
    assert learner.probabilities(context("worker"), [MID, TOP], TOP) == {MID: 0.0, TOP: 1.0}
