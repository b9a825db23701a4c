from dataclasses import replace
from math import isfinite, log1p
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.features import NAMES, cell, features
from telemetry.records import Context, Dialect, History, RoleSource, Shape

SHAPE = Shape(
    body_bytes=100,
    messages_count=2,
    tools_count=0,
    tool_choice_forced=False,
    schema=False,
    choices_count=None,
    images=False,
    code=False,
    output_tokens_max=None,
)


def context(**shape: Any) -> Context:
    return Context(
        role="worker",
        role_source=RoleSource.HEADER,
        dialect=Dialect.CHAT,
        mode="debate",
        shape=replace(SHAPE, **shape),
    )


def test_a_cell_is_role_mode_and_the_first_shape_that_applies() -> None:
    assert cell(context()) == "worker|debate|plain"
    assert cell(context(code=True)) == "worker|debate|code"
    assert cell(context(code=True, body_bytes=40_000)) == "worker|debate|large"
    assert cell(context(tools_count=2, body_bytes=40_000)) == "worker|debate|tools"
    assert cell(context(schema=True, tools_count=2)) == "worker|debate|schema"


def named(asked: Context, text: str = "") -> dict[str, float]:
    return dict(zip(NAMES, features(asked, text), strict=True))


def test_every_feature_has_a_name_and_unknown_shapes_give_zeros() -> None:
    assert len(features(context(tools_count=3), "")) == len(NAMES)
    assert features(replace(context(), shape=None), "") == (0.0,) * len(NAMES)


def test_features_of_the_text_are_the_same_without_a_shape() -> None:
    bare = named(replace(context(), shape=None), "What is the sum of 12 and 30?")
    whole = named(context(), "What is the sum of 12 and 30?")
    for name in ("digits", "english", "foreign_script"):
        assert bare[name] == whole[name]
    assert whole["digits"] == 4 / 29
    assert whole["log_bytes"] == log1p(100)


@pytest.mark.parametrize(
    ("text", "english", "foreign"),
    [
        ("What is the sum?", True, False),
        ("Was ist die Summe aus zwölf und dreißig?", False, False),
        ("¿Cuál es la suma?", False, False),
        ("Сколько будет двенадцать?", False, True),
        ("十二と三十の合計は", False, True),
        ("", False, False),
    ],
)
def test_the_language_is_guessed_by_script_and_by_common_words(
    text: str, english: bool, foreign: bool
) -> None:
    found = named(context(), text)
    assert found["english"] == float(english)
    assert (found["foreign_script"] > 0.3) == foreign


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    assert named(context(), "x" * 2_048 + "7" * 99)["digits"] == 0.0


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (None, (0.0, 0.0, 0.0)),
        (History(), (0.0, 0.0, 0.0)),
        (History(raised=2, fails=0), (2.0, 0.0, 1.0)),
        (History(raised=1, fails=3), (1.0, log1p(3), -1.0)),
    ],
)
def test_what_the_session_came_to_before_is_told(
    history: History | None, expected: tuple[float, ...]
) -> None:
    found = named(replace(context(), history=history))
    assert (found["raised"], found["log_fails"], found["verdict_before"]) == expected


@given(st.text())
def test_any_text_gives_numbers(text: str) -> None:
    assert all(isfinite(number) for number in features(context(), text))
