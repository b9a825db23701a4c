from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.steps import Message, Tool, read_step
from telemetry.records import Dialect
from tests.evals.answering import DIALECTS, a_step, with_schema, with_tool

SCHEMA = {"type": "object", "required": ["a"]}
SCHEMA_TEXT = b'{"type":"object","required":["a"]}'


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_schema(dialect: Dialect) -> None:
    assert with_schema(SCHEMA, dialect=dialect).schema == SCHEMA_TEXT


def test_the_older_spelling_of_anthropic_counts_too() -> None:
    body = {"output_format": {"type": "json_schema", "schema": SCHEMA}}
    assert a_step(body, dialect=Dialect.MESSAGES).schema == SCHEMA_TEXT


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_step_without_a_schema_has_none(dialect: Dialect) -> None:
    body = {"response_format": {"type": "json_object"}, "text": {"format": {"type": "text"}}}
    assert a_step(body, dialect=dialect).schema is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_tools(dialect: Dialect) -> None:
    assert with_tool("search", SCHEMA, dialect=dialect).tools == (
        Tool(name="search", schema=SCHEMA_TEXT),
    )


def test_tools_of_the_provider_and_odd_entries_are_left_out() -> None:
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "function", "name": "mine"},
        {"type": "custom", "name": "free"},
        {"name": 7},
        "odd",
        None,
    ]
    step = a_step({"tools": tools}, dialect=Dialect.RESPONSES)
    assert step.tools == (Tool(name="mine"), Tool(name="free"))


def test_functions_of_the_first_chat_api_are_tools() -> None:
    step = a_step({"functions": [{"name": "old", "parameters": SCHEMA}]})
    assert step.tools == (Tool(name="old", schema=SCHEMA_TEXT),)


def test_messages_keep_their_order_and_their_text_parts() -> None:
    body = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": None, "tool_calls": []},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "source": {}},
                    {"type": "text", "text": "here"},
                ],
            },
            {"role": "assistant", "content": "so"},
        ],
    }
    step = a_step(body, dialect=Dialect.MESSAGES)
    assert step.messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="first"),
        Message(role="user", text="look\nhere"),
        Message(role="assistant", text="so"),
    )
    assert step.last_user_text == "look\nhere"
    assert step.text == "Be brief.\nfirst\nlook\nhere\nso"


def test_the_input_of_responses_may_be_one_string() -> None:
    step = a_step({"instructions": "Be kind.", "input": "hello"}, dialect=Dialect.RESPONSES)
    assert step.last_user_text == "hello"
    assert step.text == "Be kind.\nhello"


def test_the_output_of_a_tool_in_responses_is_a_message_of_the_tool() -> None:
    body = {"input": [{"type": "function_call_output", "call_id": "c", "output": "42"}]}
    assert a_step(body, dialect=Dialect.RESPONSES).messages == (Message(role="tool", text="42"),)


def test_a_body_is_the_readers_own_copy() -> None:
    step = a_step({"messages": [{"role": "user", "content": "hi"}]})
    step.body()["messages"].clear()
    assert step.body() == {"messages": [{"role": "user", "content": "hi"}]}
    assert step.last_user_text == "hi"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'"x"', b"[" * 5_000])
def test_a_body_that_is_no_object_has_nothing_to_read(body: bytes) -> None:
    step = read_step(body, role="worker", dialect=Dialect.CHAT)
    assert (step.schema, step.tools, step.messages, step.body()) == (None, (), (), {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["schema", "format", "json_schema", "name", "type", "function", "role", "content"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
FIELDS = [
    "messages",
    "input",
    "tools",
    "functions",
    "system",
    "response_format",
    "text",
    "output_config",
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(DIALECTS))
def test_no_request_makes_reading_raise(body: dict[str, Any], dialect: Dialect) -> None:
    step = a_step(body, dialect=dialect)
    assert step.schema is None or step.schema.startswith(b"{")
    assert all(tool.name for tool in step.tools)
    assert all(message.text for message in step.messages)
