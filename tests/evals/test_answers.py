from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.answers import Finish, TokenLogprob, ToolCall, read_answer
from telemetry.records import Dialect
from tests.evals.answering import DIALECTS, a_step, read


def chat(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]}


def responses(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": list(output), **more}


def messages(*content: Any, stop: Any = "end_turn") -> dict[str, Any]:
    return {"type": "message", "content": list(content), "stop_reason": stop}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


SAME_TEXT = [
    (Dialect.CHAT, chat({"role": "assistant", "content": "Hello there"}), "stop"),
    (Dialect.RESPONSES, responses(said("Hello "), said("there")), "completed"),
    (
        Dialect.MESSAGES,
        messages({"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}),
        "end_turn",
    ),
]


@pytest.mark.parametrize(("dialect", "body", "raw"), SAME_TEXT)
def test_every_dialect_gives_the_same_text(dialect: Dialect, body: Any, raw: str) -> None:
    answer = read(body, dialect=dialect)
    assert (answer.text, answer.finish, answer.finish_raw) == ("Hello there", Finish.COMPLETE, raw)
    assert (answer.tool_calls, answer.malformed, answer.logprobs) == ((), None, None)


SAME_CALL = [
    (
        Dialect.CHAT,
        chat(
            {
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a":1}'},
                    }
                ],
            },
            "tool_calls",
        ),
    ),
    (
        Dialect.RESPONSES,
        responses(
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        ),
    ),
    (
        Dialect.MESSAGES,
        messages(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
            stop="tool_use",
        ),
    ),
]


@pytest.mark.parametrize(("dialect", "body"), SAME_CALL)
def test_every_dialect_gives_the_same_tool_call(dialect: Dialect, body: Any) -> None:
    answer = read(body, dialect=dialect)
    assert answer.tool_calls == (ToolCall("f", '{"a":1}', "c1"),)
    assert (answer.finish, answer.text) == (Finish.TOOL_USE, "")


FINISHES = [
    (Dialect.CHAT, chat({"content": "x"}, "length"), Finish.TRUNCATED),
    (Dialect.CHAT, chat({"content": ""}, "content_filter"), Finish.REFUSED),
    (Dialect.CHAT, chat({"content": "x"}, None), Finish.UNKNOWN),
    (Dialect.CHAT, chat({"content": "x"}, "eos"), Finish.UNKNOWN),
    (
        Dialect.RESPONSES,
        responses(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        Finish.TRUNCATED,
    ),
    (
        Dialect.RESPONSES,
        responses(status="incomplete", incomplete_details={"reason": "content_filter"}),
        Finish.REFUSED,
    ),
    (
        Dialect.RESPONSES,
        responses(status="incomplete", incomplete_details={"reason": "new"}),
        Finish.TRUNCATED,
    ),
    (Dialect.RESPONSES, responses(status="failed", error={"code": "x"}), Finish.FAILED),
    (Dialect.MESSAGES, messages(stop="max_tokens"), Finish.TRUNCATED),
    (Dialect.MESSAGES, messages(stop="model_context_window_exceeded"), Finish.TRUNCATED),
    (Dialect.MESSAGES, messages(stop="refusal"), Finish.REFUSED),
    (Dialect.MESSAGES, messages(stop="pause_turn"), Finish.PAUSED),
    (Dialect.MESSAGES, {"type": "error", "error": {"type": "overloaded_error"}}, Finish.FAILED),
]


@pytest.mark.parametrize(("dialect", "body", "finish"), FINISHES)
def test_the_reasons_to_end_have_one_vocabulary(
    dialect: Dialect, body: Any, finish: Finish
) -> None:
    assert read(body, dialect=dialect).finish is finish


def test_refusals_stand_apart_from_the_text() -> None:
    assert read(chat({"content": None, "refusal": "No."}), dialect=Dialect.CHAT).refusal == "No."
    item = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    answer = read(responses(item), dialect=Dialect.RESPONSES)
    assert (answer.text, answer.refusal) == ("", "No.")


def test_logprobs_are_read_in_both_openai_dialects() -> None:
    tokens = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -2}, {"token": 3}]
    expected = (TokenLogprob("a", -0.5), TokenLogprob("b", -2.0))
    body = chat({"content": "ab"}, logprobs={"content": tokens})
    assert read(body, dialect=Dialect.CHAT).logprobs == expected
    part = {"type": "output_text", "text": "ab", "logprobs": tokens}
    body = responses({"type": "message", "content": [part]})
    assert read(body, dialect=Dialect.RESPONSES).logprobs == expected


def test_of_several_choices_the_first_counts() -> None:
    choices = [
        {"index": 1, "message": {"content": "second"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "first"}, "finish_reason": "stop"},
    ]
    answer = read({"choices": choices}, dialect=Dialect.CHAT)
    assert (answer.text, answer.finish) == ("first", Finish.COMPLETE)


def test_custom_and_older_calls_are_read() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    old = {"name": "f", "arguments": "{}"}
    answer = read(chat({"tool_calls": [custom], "function_call": old}), dialect=Dialect.CHAT)
    assert answer.tool_calls == (ToolCall("sql", "select 1", "c", True), ToolCall("f", "{}"))
    item = {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select 1"}
    answer = read(responses(item), dialect=Dialect.RESPONSES)
    assert answer.tool_calls == (ToolCall("sql", "select 1", "c", True),)


def test_arguments_sent_as_an_object_become_text() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    answer = read(chat({"tool_calls": [call]}), dialect=Dialect.CHAT)
    assert answer.tool_calls == (ToolCall("f", '{"a":1}'),)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff\xfe", b'{"a":' * 3_000])
def test_what_cannot_be_read_is_said_and_not_raised(body: bytes, dialect: Dialect) -> None:
    answer = read(body, dialect=dialect)
    assert answer.malformed is not None
    assert (answer.text, answer.tool_calls) == ("", ())


def test_embeddings_have_no_answer_text() -> None:
    answer = read({"data": []}, dialect=Dialect.EMBEDDINGS)
    assert answer.malformed == "the dialect embeddings has no answer text"


KEYS = [
    "choices", "message", "content", "tool_calls", "function", "name", "arguments",
    "index", "type", "finish_reason", "logprobs", "token", "logprob", "output",
    "status", "text", "incomplete_details", "reason", "stop_reason", "input", "id",
    "error", "refusal", "function_call", "custom",
]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["text", "message", "function_call", "tool_use", "stop", "refusal"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), ODD), st.sampled_from(DIALECTS))
def test_no_body_makes_reading_raise(body: dict[str, Any], dialect: Dialect) -> None:
    answer = read(body, dialect=dialect)
    assert isinstance(answer.text, str)
    assert all(call.name.strip() == call.name or call.name for call in answer.tool_calls)


@given(st.binary(max_size=60), st.sampled_from(DIALECTS))
def test_no_bytes_make_reading_raise(body: bytes, dialect: Dialect) -> None:
    answer = read_answer(body, a_step(dialect=dialect))
    assert answer.malformed or msgspec.json.decode(body) is not None
