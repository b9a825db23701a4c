"""What every learner promises."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import learning
from learning.learner import Declared, Learner
from learning.revision import Revised, Revision
from router.route import arms_over
from telemetry.records import Arm, Context, Dialect, RoleSource, Shape


def revised() -> Revised:
    """A revision that knows some cells, and arms of which a step may be offered none."""
    shares = {
        "worker||": {"t0/step": 0.3, "t1/accept": 0.1, "t2/accept": 0.6},
        "worker|debate|": {"t0/accept": 0.9, "t3/step": 0.1},
        "worker|debate|tools": {"t1/top": 1.0},
    }
    revision = Revision(policy_hash="p", parent=None, shares=shares, evidence={})
    return Revised(revision, own=[("worker", "debate")], changed=[("planner", None)])


# Every learner of the house, each with a way to make one.
LEARNERS: dict[type, Callable[[], Learner]] = {Declared: Declared, Revised: revised}

ladders = st.integers(1, 6).map(lambda size: arms_over(tuple(f"t{n}" for n in range(size))))
contexts = st.builds(
    Context,
    role=st.sampled_from(["planner", "worker", "default", ""]),
    role_source=st.sampled_from(list(RoleSource)),
    dialect=st.sampled_from(list(Dialect)),
    mode=st.none() | st.sampled_from(["single", "debate"]),
    shape=st.none()
    | st.builds(
        Shape,
        body_bytes=st.integers(0, 100_000),
        messages_count=st.integers(0, 9),
        tools_count=st.integers(0, 2),
        tool_choice_forced=st.booleans(),
        schema=st.booleans(),
        choices_count=st.none() | st.integers(0, 9),
        images=st.booleans(),
        code=st.booleans(),
        output_tokens_max=st.none() | st.integers(1, 9),
    ),
)


def learners_of_the_house() -> set[type]:
    """Return every class under learning/ that gives probabilities."""
    found = set()
    for module in pkgutil.walk_packages(learning.__path__, "learning."):
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            own = member.__module__.startswith("learning.")
            if own and hasattr(member, "probabilities") and member is not Learner:
                found.add(member)
    return found


def test_every_learner_is_enrolled_here() -> None:
    assert learners_of_the_house() == set(LEARNERS)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=lambda make: make.__name__)
@settings(max_examples=100, deadline=None)
@given(context=contexts, arms=ladders, pick=st.integers(0, 100))
def test_probabilities_are_one_for_each_arm_and_sum_to_one(
    make: Callable[[], Learner], context: Context, arms: tuple[Arm, ...], pick: int
) -> None:
    shares = make().probabilities(context, arms, arms[pick % len(arms)])
    assert set(shares) == set(arms)
    assert all(0.0 <= share <= 1.0 for share in shares.values())
    assert abs(sum(shares.values()) - 1.0) <= 1e-9


@pytest.mark.parametrize("make", LEARNERS.values(), ids=lambda make: make.__name__)
@settings(max_examples=100, deadline=None)
@given(context=contexts, arms=ladders, pick=st.integers(0, 100))
def test_what_a_learner_does_not_decide_is_declared(
    make: Callable[[], Learner], context: Context, arms: tuple[Arm, ...], pick: int
) -> None:
    learner, declared = make(), arms[pick % len(arms)]
    if not learner.decides(context, arms, declared):
        assert learner.probabilities(context, arms, declared)[declared] == 1.0


@pytest.mark.parametrize("make", LEARNERS.values(), ids=lambda make: make.__name__)
@settings(max_examples=50, deadline=None)
@given(context=contexts, arms=ladders, pick=st.integers(0, 100))
def test_asking_changes_nothing_and_asking_again_gives_the_same(
    make: Callable[[], Learner], context: Context, arms: tuple[Arm, ...], pick: int
) -> None:
    learner, given_arms = make(), list(arms)
    declared = arms[pick % len(arms)]
    before = deepcopy((context, given_arms, declared))
    revision = learner.revision
    first = dict(learner.probabilities(context, given_arms, declared))
    assert dict(learner.probabilities(context, given_arms, declared)) == first
    assert (context, given_arms, declared) == before
    assert learner.revision == revision


def test_the_declared_policy_puts_everything_on_the_declared_arm() -> None:
    arms = arms_over(("small", "mid"))
    context = Context(role="worker", role_source=RoleSource.HEADER, dialect=Dialect.CHAT)
    shares = Declared().probabilities(context, arms, arms[1])
    assert shares == {arms[0]: 0.0, arms[1]: 1.0, arms[2]: 0.0}
