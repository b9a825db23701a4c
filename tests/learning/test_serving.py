"""Rollout by session, and what people fixed."""

from itertools import pairwise

import pytest

from learning.revision import Revision
from learning.serving import BUCKET_KEY, Serving, uniform
from learning.standing import Standing

SESSIONS = [f"session-{number}" for number in range(2_000)]


def revision(name: str) -> Revision:
    return Revision(policy_hash=name, parent=None, shares={}, evidence={})


NEW, OLD = revision("new"), revision("old")


def served(rollout: float, *, previous: Revision | None = OLD) -> dict[str, str]:
    serving = Serving(Standing(revision=NEW, previous=previous, rollout=rollout))
    return {session: serving.learner(session).revision for session in SESSIONS}


def test_a_session_always_gets_the_same_revision() -> None:
    assert served(0.3) == served(0.3)


def test_the_share_of_sessions_is_the_rollout() -> None:
    """2,000 fair draws at 0.3: five standard deviations are 102."""
    count = list(served(0.3).values()).count(NEW.revision_id)
    assert abs(count - 600) <= 102


def test_a_growing_rollout_only_adds_sessions() -> None:
    reached = [
        {session for session, name in served(rollout).items() if name == NEW.revision_id}
        for rollout in (0.0, 0.05, 0.3, 0.9, 1.0)
    ]
    assert reached[0] == set()
    assert reached[-1] == set(SESSIONS)
    assert all(fewer < more for fewer, more in pairwise(reached))


def test_without_a_previous_revision_the_others_are_declared() -> None:
    assert set(served(0.3, previous=None).values()) == {NEW.revision_id, "declared"}


def test_nothing_standing_is_the_declared_policy() -> None:
    assert Serving(Standing()).learner("s").revision == "declared"


@pytest.mark.parametrize("name", ["", "a", "\udcff", "ü" * 1_000])
def test_every_name_has_its_place_in_the_unit_interval(name: str) -> None:
    assert 0.0 <= uniform(name, BUCKET_KEY) < 1.0
    assert uniform(name, BUCKET_KEY) != uniform(name, b"another key")
