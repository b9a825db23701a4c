from dataclasses import replace
from typing import Any

from learning.features import NAMES, cell, features
from telemetry.records import Context, Dialect, RoleSource, Shape

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


def test_every_feature_has_a_name_and_unknown_shapes_give_zeros() -> None:
    assert len(features(context(tools_count=3))) == len(NAMES)
    assert features(replace(context(), shape=None)) == (0.0,) * len(NAMES)
