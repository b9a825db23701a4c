"""The two modes: what is asked has one right answer, and what counts as found."""

import itertools
import tomllib
from collections import Counter

import pytest

from evals.examples.modes import (
    DEBATE,
    FLOOR,
    MODES,
    OWN,
    POLICY,
    RECENT,
    REFLECTION,
    SHARED,
    TRIED_MIN,
    Ask,
    Book,
    Run,
    asks,
)
from evals.standin.ask import read_chat
from evals.standin.reading import read
from evals.standin.skills import Step
from router.policyfile import PolicyFile


def truth(ask: Ask) -> tuple[Step, object]:
    body = {"model": "standin-small", "messages": [{"role": "user", "content": ask.prompt}]}
    task = read(read_chat(body))
    return task.step, task.truth


def test_each_mode_sets_its_own_kind_of_work_and_knows_the_answer() -> None:
    made = list(itertools.islice(asks(OWN, seed=3), 200))
    assert Counter(ask.mode for ask in made) == {DEBATE: 100, REFLECTION: 100}
    for ask in made:
        kind = Step.CLASSIFY if ask.mode == DEBATE else Step.VERIFY
        assert truth(ask) == (kind, ask.answer)
    sound = Counter(ask.answer["ok"] for ask in made if ask.mode == REFLECTION)
    assert sound == {True: 50, False: 50}  # no constant answer is right more than half the time
    assert len({ask.session for ask in made}) == 200


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"ok": false, "violations": ["guarantee"]}', True),
        ('{"ok": false, "violations": []}', False),
        ("guarantee", False),
    ],
)
def test_an_answer_in_json_is_right_by_its_value(text: str, right: bool) -> None:
    ask = next(each for each in asks(OWN, seed=3) if each.answer == {
        "ok": False, "violations": ["guarantee"]
    })  # fmt: skip
    assert ask.is_right(text) is right


def played(role: str, *, debate: int, reflection: int, steps: int = RECENT) -> Book:
    """A book in which the first so many steps of each mode were answered by small."""
    book = Book(role)
    small = {DEBATE: debate, REFLECTION: reflection}
    for mode in MODES:
        ask = next(each for each in asks(role, seed=3) if each.mode == mode)
        for number in range(steps):
            tier = "small" if number < small[mode] else "frontier"
            book.take(ask, tier=tier, right=number % 10 > 0)
    return book


@pytest.mark.parametrize(
    ("role", "reflection", "found"),
    [(OWN, 30, True), (OWN, 31, False), (SHARED, 60, True), (SHARED, 61, False),
     (OWN, TRIED_MIN - 1, False)],
)  # fmt: skip
def test_reflection_is_found_where_small_was_tried_and_left(
    role: str, reflection: int, found: bool
) -> None:
    # 30 of 150 are a fifth, 60 two fifths: what one floor has to spare.
    debate, other = played(role, debate=120, reflection=reflection).found()
    assert (debate.best, other.best) == (True, found)


def test_a_run_speaks_of_its_last_steps_and_of_nothing_before_there_are_enough() -> None:
    early = Run(role=OWN, found=played(OWN, debate=9, reflection=9, steps=RECENT - 1).found(),
                unseen=0.5, seconds=1.0)  # fmt: skip
    assert (early.holds, early.quality) == (False, None)
    late = Run(role=OWN, found=played(OWN, debate=150, reflection=30).found(), unseen=1.0,
               seconds=9.0)  # fmt: skip
    assert late.holds
    assert late.quality == pytest.approx(0.9)
    shown = late.plain()
    assert [(one["mode"], one["found"]) for one in shown["found"]] == [
        (DEBATE, True), (REFLECTION, True),
    ]  # fmt: skip
    assert (shown["quality"], shown["floor"]) == (pytest.approx(0.9), FLOOR)


def test_the_policy_gives_one_role_s_reflection_terms_of_its_own() -> None:
    policy = PolicyFile.model_validate(tomllib.loads(POLICY.read_text()))
    assert set(policy.roles[OWN].mode) == {REFLECTION}
    assert not policy.roles[SHARED].mode
    assert {policy.roles[role].quality_floor for role in (OWN, SHARED)} == {FLOOR}
