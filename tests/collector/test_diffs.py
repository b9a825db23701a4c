"""Differences of revisions, with sums done by hand, and their way through a file."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.diffs import difference, shares_in
from collector.recent_steps import Step
from collector.refusals import Refusal
from collector.revisionfile import parsed, rendered
from learning.revision import Revision
from tests.collector.reviewing import ARMS, revision, terms
from tests.collector.test_preview import step


def steps(count: int) -> list[Step]:
    """So many steps of each of two arms: small 0.01 USD and 4 of 5 good, mid 0.05 and 9 of 10."""
    found: list[Step] = []
    for index in range(count):
        found.append(step("small/step", quality=float(index % 5 > 0), cost=0.01))
        found.append(step("mid/step", quality=float(index % 10 > 0), cost=0.05))
    return found


def test_declared_against_learned_by_hand() -> None:
    found = difference(None, revision(0.5), terms=terms(), steps=steps(60))
    assert (found.before, found.after) == ("declared", revision(0.5).revision_id)
    cell = found.cells[0]
    mid, small = cell.arms
    assert (mid.arm, mid.before, mid.after) == ("mid/step", 1.0, 0.5)
    assert (mid.steps, mid.graded) == (60, 60)
    assert mid.usd_per_step == pytest.approx(0.05)
    assert (small.arm, small.before, small.after) == ("small/step", 0.0, 0.5)
    assert small.quality == pytest.approx(0.8)
    assert mid.quality == pytest.approx(0.9)
    assert cell.usd_change == pytest.approx(0.5 * 0.01 - 0.5 * 0.05)
    assert cell.quality_change == pytest.approx(0.5 * 0.8 - 0.5 * 0.9)
    # variances of the means: 0.8 * 0.2 / 59 and 0.9 * 0.1 / 59, each times 0.5 squared
    half = 1.959963984540054 * math.sqrt(0.25 * (0.16 + 0.09) / 59)
    assert cell.quality_low == pytest.approx(-0.05 - half)
    assert cell.quality_high == pytest.approx(-0.05 + half)
    assert (cell.graded, cell.inconclusive) == (60, False)


def test_little_evidence_is_inconclusive_and_none_is_unknown() -> None:
    cell = difference(None, revision(0.5), terms=terms(), steps=steps(40)).cells[0]
    assert (cell.graded, cell.inconclusive) == (40, True)
    bare = difference(None, revision(0.5), terms=terms()).cells[0]
    assert (bare.usd_change, bare.quality_change, bare.quality_low) == (None, None, None)
    assert (bare.graded, bare.inconclusive) == (0, True)


def test_equal_revisions_do_not_differ_and_order_only_turns_the_signs() -> None:
    one, other = revision(0.2), revision(0.6, parent="x")
    assert difference(one, one, terms=terms()).cells == ()
    there, back = (difference(*pair, terms=terms(), steps=steps(60)).cells[0]
                   for pair in ((one, other), (other, one)))  # fmt: skip
    assert there.usd_change == pytest.approx(-back.usd_change if back.usd_change else None)
    assert there.quality_low == pytest.approx(-back.quality_high if back.quality_high else None)


def test_a_cell_that_a_revision_does_not_know_has_its_role_s_shares() -> None:
    wide = revision(0.3)
    assert shares_in(wide, "worker||tools", terms()) == {"small/step": 0.3, "mid/step": 0.7}
    assert shares_in(wide, "planner||", terms()) == {"mid/step": 1.0}
    assert shares_in(wide, "planner||", None) == {"declared": 1.0}


SHARES = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4).map(
    lambda raw: dict(zip(ARMS, [share / sum(raw) for share in raw], strict=False))
)


@given(
    shares=st.dictionaries(
        st.sampled_from(["worker||", "worker|chain|tools", "planner||"]), SHARES, max_size=3
    ),
    labels=st.floats(allow_nan=False, allow_infinity=False),
    parent=st.none() | st.just("0123456789abcdef"),
)
def test_an_unchanged_file_is_the_same_revision(
    shares: dict[str, dict[str, float]], labels: float, parent: str | None
) -> None:
    made = Revision(
        policy_hash="p1", parent=parent, shares=shares, evidence={"worker||": {"a label": labels}}
    )
    text = rendered(made, base="declared", known=difference(None, made, terms=terms()))
    found = parsed(text)
    assert (found.revision.revision_id, found.edited) == (made.revision_id, False)
    assert (found.revision, found.base) == (made, "declared")
    assert rendered(found.revision, base="declared") == rendered(made, base="declared")


def test_an_edited_file_follows_on_its_base_without_the_evidence() -> None:
    text = rendered(revision(0.25, parent="old"), base="now")
    found = parsed(text.replace("0.25", "0.5").replace("0.75", "0.5"))
    assert (found.edited, found.base, found.revision.parent) == (True, "now", "now")
    assert found.revision.evidence == {}


def test_a_file_says_what_is_known_of_each_share() -> None:
    made = revision(0.5)
    text = rendered(
        made, base="declared", known=difference(None, made, terms=terms(), steps=steps(60))
    )  # fmt: skip
    line = next(line for line in text.splitlines() if line.startswith('"small/step"'))
    assert line == ('"small/step" = 0.5  # was 0, 60 steps, $0.01 per step, quality 0.800 over 60')


@pytest.mark.parametrize("text", ["", "format = 1", "shares = 3", "\x00", "format = 1\nx = 2"])
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="the revision's file"):
        parsed(text)
