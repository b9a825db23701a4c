"""What every learner promises, run on every learner."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import learning.learner
import learning.revision
from learning.learner import Declared, Learner
from learning.revision import Revised, Revision
from telemetry.records import Arm, Context, Dialect, OnFail, RoleSource

LEARNERS: dict[str, Learner] = {
    "Declared": Declared(),
    "Revised": Revised(
        Revision(
            policy_hash="p",
            parent=None,
            shares={"worker": {"small/top": 0.3, "mid/step": 0.1, "frontier/accept": 0.6}},
            evidence={},
        )
    ),
}
ARMS = [Arm(tier=t, on_fail=f) for t in ("code", "small", "mid", "frontier") for f in OnFail]


def test_every_learner_is_enrolled() -> None:
    made = {
        name
        for module in (learning.learner, learning.revision)
        for name, found in vars(module).items()
        if isinstance(found, type) and hasattr(found, "probabilities") and found is not Learner
    }
    assert made == set(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
@given(
    arms=st.lists(st.sampled_from(ARMS), min_size=1, unique=True),
    pick=st.integers(0, 11),
    role=st.sampled_from(["worker", "critic", ""]),
)
def test_probabilities_are_exact_repeatable_and_leave_their_inputs_alone(
    name: Any, arms: Any, pick: Any, role: Any
) -> None:
    learner, declared = LEARNERS[name], arms[pick % len(arms)]
    context = Context(role=role, role_source=RoleSource.HEADER, dialect=Dialect.CHAT)
    before = copy.copy(arms)
    first = learner.probabilities(context, arms, declared)
    assert learner.probabilities(context, arms, declared) == first
    assert arms == before
    assert set(first) == set(arms)
    assert all(0.0 <= chance <= 1.0 for chance in first.values())
    assert sum(first.values()) == pytest.approx(1.0, abs=1e-12)
    assert learner.revision == learner.revision != ""
