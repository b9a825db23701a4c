"""The standing policy's document: round trip, equality by text, refusal of what is none."""

from dataclasses import replace

import pytest

from learning import standing
from learning.revision import Revision
from learning.standing import Standing
from telemetry.records import Arm, OnFail


def _revision(share: float) -> Revision:
    return Revision(
        policy_hash="abc",
        parent=None,
        shares={"worker||": {"small/step": share, "frontier/accept": 1.0 - share}},
        evidence={},
    )


def _whole() -> Standing:
    return Standing(
        revision=_revision(0.5),
        previous=_revision(0.25),
        rollout=0.2,
        pins={"critic": Arm(tier="mid", on_fail=OnFail.ACCEPT)},
    )


def test_a_document_comes_back_as_it_went() -> None:
    assert standing.parse(_whole().text) == _whole()
    assert standing.parse(Standing().text) == Standing()


def test_the_tag_changes_with_anything_that_matters() -> None:
    tags = {_whole().etag, Standing().etag, Standing(rollout=0.5).etag}
    assert len(tags) == 3
    assert _whole().etag == standing.parse(_whole().text).etag


def test_roles_to_be_graded_are_news_for_gateways_and_none_for_whoever_decides() -> None:
    plain, graded = _whole(), replace(_whole(), graded=frozenset({"worker"}))
    assert standing.parse(graded.text) == graded
    assert "graded" not in plain.text  # an older gateway's document is as it was
    assert len({plain.etag, graded.etag, replace(graded, graded=frozenset({"*"})).etag}) == 3
    assert standing.decided(graded.etag) == standing.decided(plain.etag) == plain.etag
    assert graded.grades_all("worker")
    assert not graded.grades_all("critic")
    assert Standing(graded=frozenset({"*"})).grades_all("critic")


@pytest.mark.parametrize("text", ["{}", "[]", "null", "7", '{"format": 9}', "not json"])
def test_what_is_no_document_is_refused_with_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        standing.parse(text)


def test_a_rollout_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="rollout"):
        Standing(rollout=1.5)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", '"x"', "null"])
@pytest.mark.parametrize("where", ['"rollout":0.2', '\\"labels\\":7.0', '\\"small/step\\":0.5'])
def test_a_number_that_cannot_be_is_refused_when_it_is_read(where: str, number: str) -> None:
    facts = Revision(
        policy_hash="a", parent=None, shares=_revision(0.5).shares, evidence={"w||": {"labels": 7}}
    )
    text = Standing(revision=facts, rollout=0.2).text
    text = text.replace('\\"labels\\":7', '\\"labels\\":7.0')
    assert where in text
    broken = text.replace(where, where.rpartition(":")[0] + ":" + number.replace('"', '\\"'))
    if "labels" in where and number == "-1":
        assert standing.parse(broken).revision is not None  # evidence may be any number
        return
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        standing.parse(broken)
