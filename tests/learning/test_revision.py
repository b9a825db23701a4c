from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.revision import (
    CELLS_MAX,
    OFFERS_MAX,
    UNSERVED_MAX,
    Revised,
    Revision,
    fitted,
    parse,
)
from router.route import arms_over
from telemetry.records import Arm, Context, Dialect, OnFail, RoleSource
from tests.learning.test_features import SHAPE

SMALL = Arm(tier="small", on_fail=OnFail.TOP)
MID = Arm(tier="mid", on_fail=OnFail.STEP)
TOP = Arm(tier="frontier", on_fail=OnFail.ACCEPT)
ALL = [SMALL, MID, TOP]


def revision(**shares: float) -> Revision:
    return Revision(
        policy_hash="p1",
        parent=None,
        shares={"worker||": {name.replace("_", "/"): share for name, share in shares.items()}},
        evidence={"worker||": {"labels": 120.0}},
    )


def cells(**arm_of: str) -> Revision:
    """A revision that is certain of one arm in each cell; `__` stands for `|`."""
    shares = {name.replace("__", "|"): {arm.replace("_", "/"): 1.0} for name, arm in arm_of.items()}
    return Revision(policy_hash="p1", parent=None, shares=shares, evidence={})


def context(role: str = "worker", *, mode: str | None = None, tools: int | None = None) -> Context:
    return Context(
        role=role,
        role_source=RoleSource.HEADER,
        dialect=Dialect.CHAT,
        mode=mode,
        shape=None if tools is None else replace(SHAPE, tools_count=tools),
    )


def certain(learner: Revised, asked: Context, declared: Arm = MID) -> Arm:
    shares = learner.probabilities(asked, ALL, declared)
    (arm,) = (arm for arm, share in shares.items() if share == 1.0)
    return arm


def test_a_revision_is_named_by_its_content() -> None:
    first, same, other = revision(small_top=1.0), revision(small_top=1.0), revision(mid_step=1.0)
    assert first.revision_id == same.revision_id != other.revision_id
    assert parse(first.text) == first


def test_shares_that_are_no_probabilities_are_refused() -> None:
    for shares in ({"small_top": 0.7}, {"small_top": 1.5, "mid_step": -0.5}):
        with pytest.raises(ValueError, match="worker"):
            revision(**shares)
    with pytest.raises(ValueError, match="worker"):
        revision(small_top=float("nan"))


def test_shares_of_something_else_than_a_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="'worker' is not a cell"):
        Revision(policy_hash="p", parent=None, shares={"worker": {"a/step": 1.0}}, evidence={})


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"format":2}', '{"format":1,"shares":[]}', revision(a_step=1.0).text],
)
def test_broken_revisions_are_refused_with_a_value_error(text: Any) -> None:
    if text.startswith('{"evidence"'):
        text = text.replace("a/step", "a/sideways")
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_the_first_cell_that_is_known_decides() -> None:
    learner = Revised(
        cells(
            worker__debate__tools="small_top",
            worker__debate__="mid_step",
            worker____="frontier_accept",
        )
    )
    assert certain(learner, context(mode="debate", tools=1)) == SMALL
    assert certain(learner, context(mode="debate", tools=0)) == MID
    assert certain(learner, context(mode="debate")) == MID  # the shape is unknown
    assert certain(learner, context(mode="single", tools=1)) == TOP
    assert certain(learner, context(tools=1)) == TOP


def test_a_mode_that_nobody_learned_falls_back_to_its_role_but_not_to_another_mode() -> None:
    only_debate = Revised(cells(worker__debate__="small_top"))
    assert certain(only_debate, context(mode="single")) == MID
    assert not only_debate.decides(context(mode="single"), ALL, MID)
    assert certain(Revised(cells(worker____="small_top")), context(mode="single")) == SMALL


def test_a_mode_with_terms_of_its_own_is_not_decided_by_what_its_role_learned() -> None:
    learner = Revised(
        cells(worker____="small_top", worker__debate__tools="small_top"), own=[("worker", "debate")]
    )
    assert certain(learner, context(mode="debate")) == MID
    assert certain(learner, context(mode="debate", tools=1)) == SMALL
    assert certain(learner, context(mode="single")) == SMALL


def test_terms_that_changed_since_are_declared_and_the_others_are_not() -> None:
    known = cells(worker____="small_top", worker__debate__="small_top", critic____="small_top")
    learner = Revised(known, own=[("worker", "debate")], changed=[("worker", None)])
    assert certain(learner, context()) == MID
    assert certain(learner, context(mode="single")) == MID
    assert certain(learner, context(mode="debate")) == SMALL
    assert certain(learner, context("critic")) == SMALL


def test_offered_arms_get_their_shares() -> None:
    found = Revised(revision(small_top=0.25, frontier_accept=0.75)).probabilities(
        context("worker"), ALL, MID
    )
    assert found == {SMALL: 0.25, MID: 0.0, TOP: 0.75}


def test_a_little_that_is_not_offered_goes_to_the_declared_arm() -> None:
    learner = Revised(revision(small_top=0.1, mid_step=0.5, frontier_accept=0.4))
    assert learner.decides(context("worker"), [MID, TOP], TOP)
    found = learner.probabilities(context("worker"), [MID, TOP], TOP)
    assert found == pytest.approx({MID: 0.5, TOP: 0.5})


def test_a_mix_that_lost_more_than_it_may_is_declared() -> None:
    learner = Revised(revision(small_top=0.7, frontier_accept=0.3))
    assert not learner.decides(context("worker"), [SMALL, MID], MID)  # without its safe part
    assert learner.probabilities(context("worker"), [SMALL, MID], MID) == {SMALL: 0.0, MID: 1.0}


def test_an_arm_is_taken_for_what_it_does_on_the_ladder_that_is_offered() -> None:
    """Of two tiers, the step up is the way to the top."""
    step = Arm(tier="small", on_fail=OnFail.STEP)
    shares = {SMALL: 0.5, step: 0.2, TOP: 0.3}
    offered = [Arm(tier="small", on_fail=OnFail.ACCEPT), step, TOP]
    found = fitted(shares, offered, declared=TOP)
    assert found == pytest.approx({offered[0]: 0.0, step: 0.7, TOP: 0.3})


def test_an_unknown_role_and_a_foreign_ladder_get_the_declared_arm() -> None:
    learner = Revised(revision(small_top=1.0))
    assert learner.probabilities(context("critic"), [SMALL, MID], MID) == {SMALL: 0.0, MID: 1.0}
    assert learner.probabilities(context("worker"), [MID, TOP], TOP) == {MID: 0.0, TOP: 1.0}


TIERS = ("t0", "t1", "t2", "t3")


@st.composite
def mixes(draw: st.DrawFn) -> dict[Arm, float]:
    arms = draw(st.lists(st.sampled_from(arms_over(TIERS)), min_size=1, unique=True))
    weights = [draw(st.floats(0.001, 1.0)) for _ in arms]
    return {arm: weight / sum(weights) for arm, weight in zip(arms, weights, strict=True)}


@given(
    shares=mixes(),
    tiers=st.lists(st.sampled_from(TIERS), min_size=1, unique=True),
    pick=st.integers(0, 99),
)
def test_what_is_fitted_is_a_mix_of_offered_arms_that_moved_little_and_only_to_the_declared_one(
    shares: dict[Arm, float], tiers: list[str], pick: int
) -> None:
    arms = arms_over(tuple(sorted(tiers)))
    declared = arms[pick % len(arms)]
    lost = sum(share for arm, share in shares.items() if arm.tier not in tiers)
    found = fitted(shares, arms, declared=declared)
    if found is None:
        assert lost > UNSERVED_MAX - 1e-9
        return
    assert lost <= UNSERVED_MAX + 1e-9
    assert set(found) == set(arms)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-9)
    for tier in tiers:
        before = sum(share for arm, share in shares.items() if arm.tier == tier)
        after = sum(share for arm, share in found.items() if arm.tier == tier)
        if tier == declared.tier:
            assert before - 1e-9 <= after <= before + UNSERVED_MAX + 1e-9
        else:
            assert after <= before + 1e-9


@given(shares=mixes(), pick=st.integers(0, 99))
def test_a_mix_of_arms_that_are_all_offered_is_served_as_it_is(
    shares: dict[Arm, float], pick: int
) -> None:
    arms = arms_over(TIERS)
    found = fitted(shares, arms, declared=arms[pick % len(arms)])
    assert found == pytest.approx(dict.fromkeys(arms, 0.0) | shares)


def test_callers_that_invent_modes_cannot_fill_the_memory() -> None:
    learner = Revised(revision(small_top=0.5, frontier_accept=0.5))
    for number in range(CELLS_MAX + 10):
        asked = context(mode=f"mode-{number}")
        assert learner.probabilities(asked, ALL, MID) == {SMALL: 0.5, MID: 0.0, TOP: 0.5}
    assert len(learner._fitted) <= CELLS_MAX
    for number in range(OFFERS_MAX + 2):
        arms = [Arm(tier=f"t{number}", on_fail=OnFail.ACCEPT), *ALL]
        assert learner.decides(context(), arms, MID)
    assert sum(map(len, learner._fitted.values())) <= OFFERS_MAX
