"""Shapes read from bodies of every dialect, well formed and not; and the rules over them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.body import parse
from router.policyfile import ShapeRule
from router.shape import shape_of
from router.shaperule import contradiction, covers, matches
from telemetry.records import Dialect, Shape

CHAT, RESPONSES, MESSAGES, EMBEDDINGS = Dialect


def shape(body: dict[str, Any], dialect: Dialect = CHAT) -> Shape:
    raw = json.dumps(body).encode()
    return shape_of(parse(raw).fields, dialect, len(raw))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(schema: Any, dialect: Dialect) -> dict[str, Any]:
    """A body that asks for an answer after ``schema``, as each dialect says it."""
    if dialect is CHAT:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        return {"response_format": form}
    form = {"type": "json_schema", "name": "x", "schema": schema}
    return (
        {"text": {"format": form}} if dialect is RESPONSES else {"output_config": {"format": form}}
    )


def test_an_empty_body_has_an_empty_shape() -> None:
    for dialect in Dialect:
        assert shape_of({}, dialect, 2) == Shape(
            body_bytes=2,
            messages_count=0,
            tools_count=0,
            tool_choice_forced=False,
            schema=False,
            choices_count=None,
            images=False,
            code=False,
            output_tokens_max=None,
        )


def test_messages_are_counted_in_each_dialect() -> None:
    assert shape({"messages": [user("a"), user("b")]}).messages_count == 2
    assert shape({"messages": [user("a")]}, MESSAGES).messages_count == 1
    assert shape({"input": "hello"}, RESPONSES).messages_count == 1
    assert shape({"input": [user("a"), user("b"), user("c")]}, RESPONSES).messages_count == 3


def test_embeddings_count_texts_and_one_list_of_tokens_is_one_text() -> None:
    assert shape({"input": "a"}, EMBEDDINGS).messages_count == 1
    assert shape({"input": ["a", "b"]}, EMBEDDINGS).messages_count == 2
    assert shape({"input": [11, 12, 13]}, EMBEDDINGS).messages_count == 1
    assert shape({"input": [[11, 12], [13]]}, EMBEDDINGS).messages_count == 2


def test_tools_are_counted_under_both_names() -> None:
    assert shape({"tools": [{}, {}]}).tools_count == 2
    assert shape({"functions": [{}]}).tools_count == 1
    assert shape({"tools": []}).tools_count == 0


@pytest.mark.parametrize(
    ("body", "forced"),
    [
        ({"tool_choice": "required"}, True),
        ({"tool_choice": "auto"}, False),
        ({"tool_choice": "none"}, False),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, True),
        ({"tool_choice": {"type": "any"}}, True),
        ({"tool_choice": {"type": "tool", "name": "f"}}, True),
        ({"tool_choice": {"type": "auto"}}, False),
        ({"tool_choice": {"type": "none"}}, False),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, True),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, False),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"function_call": "auto"}, False),
        ({}, False),
    ],
)
def test_a_tool_that_must_be_called_is_seen(body: dict[str, Any], forced: bool) -> None:
    assert shape(body).tool_choice_forced is forced


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize(
    ("schema", "count"),
    [
        ({"enum": ["a", "b", "c"]}, 3),
        ({"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}, 2),
        ({"properties": {"label": {"$ref": "#/$defs/L"}}, "$defs": {"L": {"enum": [1, 2, 3]}}}, 3),
        ({"properties": {"yes": {"type": "boolean"}}}, 2),
        ({"properties": {"only": {"const": "x"}}}, 1),
        ({"properties": {"a": {"enum": [1]}, "b": {"enum": [1]}}}, None),
        ({"properties": {"text": {"type": "string"}}}, None),
        ({"properties": {"label": {"$ref": "#/$defs/gone"}}}, None),
        ({"properties": {"label": {"$ref": 5}}}, None),
        ({"enum": []}, None),
        ({}, None),
    ],
)
def test_a_schema_and_its_closed_set_are_seen(
    schema: dict[str, Any], count: int | None, dialect: Dialect
) -> None:
    seen = shape(answer(schema, dialect), dialect)
    assert seen.schema
    assert seen.choices_count == count


def test_json_without_a_schema_is_no_schema() -> None:
    assert not shape({"response_format": {"type": "json_object"}}).schema
    assert not shape({"text": {"format": {"type": "text"}}}, RESPONSES).schema


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, CHAT),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, RESPONSES),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, MESSAGES),
    ],
)
def test_images_are_seen(body: dict[str, Any], dialect: Dialect) -> None:
    assert shape(body, dialect).images


def test_talk_of_images_is_no_image() -> None:
    assert not shape({"messages": [user('what is {"type": "image_url"} for?')]}).images


@pytest.mark.parametrize(
    "text",
    ["look:\n```py\nx\n```", "diff --git a b\n@@ -1 +1 @@\n-a", "*** Begin Patch\n*** End Patch"],
)
def test_code_in_the_last_user_text_is_seen(text: str) -> None:
    assert shape({"messages": [user(text)]}).code
    assert shape({"messages": [user(text), {"role": "assistant", "content": "ok"}]}).code
    parts = [{"type": "text", "text": "see"}, {"type": "text", "text": text}]
    assert shape({"messages": [{"role": "user", "content": parts}]}, MESSAGES).code
    assert shape({"input": text}, RESPONSES).code
    assert not shape({"messages": [user(text), user("thanks")]}).code


def test_a_tools_result_is_not_the_users_text() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "content": "plain"}]}
    assert shape({"messages": [user("```x```"), result]}, MESSAGES).code


@pytest.mark.parametrize(
    ("body", "dialect", "limit"),
    [
        ({"max_tokens": 5}, CHAT, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, CHAT, 7),
        ({"max_output_tokens": 9}, RESPONSES, 9),
        ({"max_tokens": 5}, MESSAGES, 5),
        ({"max_tokens": True}, CHAT, None),
        ({"max_tokens": "5"}, CHAT, None),
        ({"max_tokens": 0}, CHAT, None),
        ({"max_tokens": None}, CHAT, None),
    ],
)
def test_the_callers_output_limit_is_read(
    body: dict[str, Any], dialect: Dialect, limit: int | None
) -> None:
    assert shape(body, dialect).output_tokens_max == limit


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "schema", "format", "enum", "$ref"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["messages", "input", "tools", "functions", "tool_choice", "function_call", "response_format",
     "text", "output_config", "output_format", "max_tokens", "max_output_tokens"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(body=st.dictionaries(KEYS, JSON, max_size=8), dialect=st.sampled_from(list(Dialect)))
def test_odd_types_never_raise(body: dict[str, Any], dialect: Dialect) -> None:
    seen = shape(body, dialect)
    assert seen.messages_count >= 0
    assert seen.tools_count >= 0
    assert seen.choices_count is None or seen.schema


CALL = {"type": "function_call", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "output": "1"}


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ({"messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]}, CHAT),
        ({"messages": [user("a"), {"role": "tool", "content": "1"}] + [user("b")] * 2}, CHAT),
        ({"messages": [user("a"), {"role": "assistant", "content": []}, user("c")]}, MESSAGES),
        ({"input": [user("a"), CALL, RESULT]}, RESPONSES),
        ({"input": "and?", "previous_response_id": "resp_1"}, RESPONSES),
        ({"input": "and?", "conversation": {"id": "conv_1"}}, RESPONSES),
    ],
)
def test_a_conversation_that_a_model_has_answered_in_is_gone_on_with(
    body: dict[str, Any], dialect: Dialect
) -> None:
    assert shape(body, dialect).continues


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ({"messages": [{"role": "system", "content": "be"}, user("a")]}, CHAT),
        ({"messages": [user("a"), user("b"), user("c"), user("d")]}, CHAT),
        ({"messages": [{"role": 7}, None, "assistant"]}, CHAT),
        ({"input": "hello", "previous_response_id": None}, RESPONSES),
        ({"input": ["assistant"]}, EMBEDDINGS),
        ({}, MESSAGES),
    ],
)
def test_what_begins_is_not(body: dict[str, Any], dialect: Dialect) -> None:
    assert not shape(body, dialect).continues


def test_values_that_are_not_even_json_never_raise() -> None:
    for junk in (b"", b"{", b'"\xff"', b"[" * 5_000):
        fields = {key: msgspec.Raw(junk) for key in ("messages", "tools", "tool_choice", "text")}
        for dialect in Dialect:
            assert shape_of(fields, dialect, 1).tools_count == 0


# Rules over shapes


def rule(**conditions: Any) -> ShapeRule:
    return ShapeRule.model_validate({"role": "x", **conditions})


def some(**facts: Any) -> Shape:
    plain: dict[str, Any] = {
        "body_bytes": 2_048,
        "messages_count": 3,
        "tools_count": 2,
        "tool_choice_forced": False,
        "schema": True,
        "choices_count": 4,
        "images": False,
        "code": False,
        "output_tokens_max": 100,
    }
    return Shape(**{**plain, **facts})


@pytest.mark.parametrize(
    ("conditions", "hit", "miss"),
    [
        ({"schema": True}, {}, {"schema": False}),
        ({"schema": False}, {"schema": False}, {}),
        ({"choices_max": 4}, {}, {"choices_count": 5}),
        ({"choices_max": 4}, {}, {"choices_count": None}),
        ({"tools": True}, {}, {"tools_count": 0}),
        ({"tools": False}, {"tools_count": 0}, {}),
        ({"tools_max": 2}, {"tools_count": 0}, {"tools_count": 3}),
        ({"tool_choice_forced": True}, {"tool_choice_forced": True}, {}),
        ({"body_kb_min": 2}, {}, {"body_bytes": 2_047}),
        ({"body_kb_max": 2}, {}, {"body_bytes": 2_049}),
        ({"messages_max": 3}, {}, {"messages_count": 4}),
        ({"images": True}, {"images": True}, {}),
        ({"code": True}, {"code": True}, {}),
        ({"output_tokens_max": 100}, {}, {"output_tokens_max": 101}),
        ({"output_tokens_max": 100}, {}, {"output_tokens_max": None}),
        ({"schema": True, "tools_max": 2}, {}, {"tools_count": 3}),
    ],
)
def test_a_rule_matches_when_every_condition_holds(
    conditions: dict[str, Any], hit: dict[str, Any], miss: dict[str, Any]
) -> None:
    assert matches(rule(**conditions), some(**hit))
    assert not matches(rule(**conditions), some(**miss))


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ({"code": True}, {"code": True, "tools": False}, True),
        ({"code": True, "tools": False}, {"code": True}, False),
        ({"choices_max": 10}, {"choices_max": 5}, True),
        ({"choices_max": 5}, {"choices_max": 10}, False),
        ({"schema": True}, {"choices_max": 5}, True),
        ({"schema": False}, {"choices_max": 5}, False),
        ({"tools_max": 3}, {"tools": False}, True),
        ({"tools": False}, {"tools_max": 0}, True),
        ({"body_kb_min": 10}, {"body_kb_min": 20}, True),
        ({"body_kb_min": 20}, {"body_kb_min": 10}, False),
        ({"body_kb_max": 20}, {"body_kb_max": 10}, True),
        ({"code": True}, {"code": False}, False),
    ],
)
def test_an_earlier_rule_that_matches_all_of_a_later_one_is_seen(
    earlier: dict[str, Any], later: dict[str, Any], covered: bool
) -> None:
    assert covers(rule(**earlier), rule(**later)) is covered


RULES = st.fixed_dictionaries(
    {},
    optional={
        "schema": st.booleans(),
        "choices_max": st.integers(1, 3),
        "tools": st.booleans(),
        "tools_max": st.integers(0, 2),
        "body_kb_min": st.integers(1, 3),
        "body_kb_max": st.integers(1, 3),
        "code": st.booleans(),
        "output_tokens_max": st.integers(1, 3),
    },
).filter(bool)
SHAPES = st.builds(
    some,
    body_bytes=st.integers(1, 4_096),
    tools_count=st.integers(0, 3),
    schema=st.just(True),
    choices_count=st.none() | st.integers(1, 4),
    code=st.booleans(),
    output_tokens_max=st.none() | st.integers(1, 4),
) | st.builds(some, schema=st.just(False), choices_count=st.none(), tools_count=st.integers(0, 3))


@settings(max_examples=500, deadline=None)
@given(earlier=RULES, later=RULES, seen=SHAPES)
def test_a_covered_rule_never_matches_alone(
    earlier: dict[str, Any], later: dict[str, Any], seen: Shape
) -> None:
    if covers(rule(**earlier), rule(**later)) and matches(rule(**later), seen):
        assert matches(rule(**earlier), seen)
    if contradiction(rule(**later)) is not None:
        assert not matches(rule(**later), seen)


@pytest.mark.parametrize(
    "conditions",
    [
        {"body_kb_min": 3, "body_kb_max": 2},
        {"tools": True, "tools_max": 0},
        {"schema": False, "choices_max": 3},
    ],
)
def test_a_rule_that_no_request_can_match_is_told(conditions: dict[str, Any]) -> None:
    assert contradiction(rule(**conditions)) is not None
    assert contradiction(rule(code=True)) is None
