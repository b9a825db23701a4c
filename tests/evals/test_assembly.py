from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import assembly
from evals.answers import Finish, TokenLogprob, ToolCall
from evals.assembly import assembler
from evals.sse import data_of
from telemetry.records import Dialect
from tests.evals.answering import DIALECTS, a_step, streamed

DONE = b"data: [DONE]\n\n"


def chunk(delta: Any, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def called(index: int, **call: Any) -> dict[str, Any]:
    return chunk({"tool_calls": [{"index": index, **call}]})


def added(index: int, **item: Any) -> dict[str, Any]:
    item = {"type": "function_call", **item}
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def block(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def opened(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def stopped(reason: str) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]


def piece(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "delta": text}


SAME_TEXT: list[Any] = [
    (
        Dialect.CHAT,
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            {"choices": [], "usage": {}},
            DONE,
        ],
        "stop",
    ),
    (
        Dialect.RESPONSES,
        [
            {"type": "response.created", "response": {"status": "in_progress", "output": []}},
            piece("Hel"),
            piece("lo"),
            {"type": "response.completed", "response": {"status": "completed", "output": []}},
        ],
        "completed",
    ),
    (
        Dialect.MESSAGES,
        [
            {"type": "message_start", "message": {}},
            opened(0, type="thinking", thinking=""),
            block(0, type="thinking_delta", thinking="hm"),
            opened(1, type="text", text=""),
            {"type": "ping"},
            block(1, type="text_delta", text="Hel"),
            block(1, type="text_delta", text="lo"),
            {"type": "content_block_stop", "index": 1},
            *stopped("end_turn"),
        ],
        "end_turn",
    ),
]


@pytest.mark.parametrize(("dialect", "events", "raw"), SAME_TEXT)
def test_every_dialect_gives_the_same_text(dialect: Dialect, events: list[Any], raw: str) -> None:
    answer = streamed(events, dialect=dialect)
    assert (answer.text, answer.finish, answer.finish_raw) == ("Hello", Finish.COMPLETE, raw)
    assert answer.malformed is None


@pytest.mark.parametrize(
    ("dialect", "events", "kept"),
    [(d, e, k) for (d, e, _), k in zip(SAME_TEXT, (3, 3, 7), strict=True)],
)
def test_a_stream_that_breaks_off_is_truncated(
    dialect: Dialect, events: list[Any], kept: int
) -> None:
    answer = streamed(events[:kept], dialect=dialect)
    assert (answer.text, answer.finish, answer.finish_raw) == ("Hello", Finish.TRUNCATED, None)


SAME_CALLS: list[Any] = [
    (
        Dialect.CHAT,
        [
            called(0, id="a", function={"name": "f", "arguments": ""}),
            called(0, function={"arguments": '{"x"'}),
            called(1, id="b", function={"name": "g", "arguments": "{}"}),
            called(0, function={"arguments": ":1}"}),
            chunk({}, "tool_calls"),
            DONE,
        ],
    ),
    (
        Dialect.RESPONSES,
        [
            added(0, call_id="a", name="f", arguments=""),
            {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x"'},
            {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ":1}"},
            added(1, call_id="b", name="g", arguments="{}"),
            {"type": "response.completed", "response": {"status": "completed"}},
        ],
    ),
    (
        Dialect.MESSAGES,
        [
            opened(0, type="tool_use", id="a", name="f", input={}),
            block(0, type="input_json_delta", partial_json='{"x"'),
            block(0, type="input_json_delta", partial_json=":1}"),
            opened(1, type="tool_use", id="b", name="g", input={}),
            block(1, type="input_json_delta", partial_json="{}"),
            *stopped("tool_use"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "events"), SAME_CALLS)
def test_every_dialect_gives_the_same_tool_calls(dialect: Dialect, events: list[Any]) -> None:
    answer = streamed(events, dialect=dialect)
    assert answer.tool_calls == (ToolCall("f", '{"x":1}', "a"), ToolCall("g", "{}", "b"))
    assert answer.finish is Finish.TOOL_USE


def test_calls_that_are_all_numbered_zero_are_told_apart_by_their_id() -> None:
    calls = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]
    answer = streamed([chunk({"tool_calls": [call]}) for call in calls], dialect=Dialect.CHAT)
    assert answer.tool_calls == (ToolCall("f", "{}", "a"), ToolCall("g", "{}", "b"))


def test_a_call_without_an_index_goes_on_with_the_last_one() -> None:
    pieces = [
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
    ]
    answer = streamed([chunk({"tool_calls": [p]}) for p in pieces], dialect=Dialect.CHAT)
    assert answer.tool_calls == (ToolCall("f", "{}", "a"),)


def test_the_last_event_of_responses_is_believed_over_the_pieces() -> None:
    whole = {
        "status": "completed",
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "the whole"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
    }
    last = {"type": "response.completed", "response": whole}
    answer = streamed([piece("a piece"), last], dialect=Dialect.RESPONSES)
    assert (answer.text, answer.finish) == ("the whole", Finish.TOOL_USE)
    assert answer.tool_calls == (ToolCall("f", "{}", "c"),)


def test_logprobs_and_refusals_are_collected() -> None:
    tokens = {"content": [{"token": "H", "logprob": -1.5}]}
    answer = streamed(
        [chunk({"content": "H"}, logprobs=tokens), chunk({"refusal": "No."}), DONE],
        dialect=Dialect.CHAT,
    )
    assert answer.logprobs == (TokenLogprob("H", -1.5),)
    assert answer.refusal == "No."


@pytest.mark.parametrize(
    ("dialect", "error"),
    [
        (Dialect.CHAT, {"error": {"code": "overloaded", "type": "server_error"}}),
        (Dialect.RESPONSES, {"type": "error", "code": "overloaded", "message": "m"}),
        (Dialect.MESSAGES, {"type": "error", "error": {"type": "overloaded"}}),
    ],
)
def test_an_error_in_the_stream_is_a_failed_answer(dialect: Dialect, error: Any) -> None:
    answer = streamed([error], dialect=dialect)
    assert (answer.finish, answer.finish_raw) == (Finish.FAILED, "overloaded")


def test_an_odd_event_is_left_out_and_said() -> None:
    events = [chunk({"content": "a"}), b"data: {oops\n\n", chunk({"content": "b"}, "stop")]
    answer = streamed(events, dialect=Dialect.CHAT)
    assert (answer.text, answer.finish) == ("ab", Finish.COMPLETE)
    assert answer.malformed == "an event is not JSON"
    assert streamed([b"data: 7\n\n"], dialect=Dialect.CHAT).malformed == (
        "an event is not a JSON object"
    )


def test_an_end_that_could_not_be_read_is_not_taken_for_a_broken_stream() -> None:
    events = [piece("a"), b'event: response.completed\ndata: {"type": "response.com\n\n']
    answer = streamed(events, dialect=Dialect.RESPONSES)
    assert (answer.text, answer.finish) == ("a", Finish.UNKNOWN)


def test_comments_names_and_empty_events_say_nothing() -> None:
    events = [b": keep-alive\n\n", b"event: ping\n\n", b"\n", b"", b"retry: 3\n\n"]
    answer = streamed([*events, chunk({"content": "a"}, "stop")], dialect=Dialect.CHAT)
    assert (answer.text, answer.malformed) == ("a", None)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data: {}", b"{}"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"data:{}\n\n", b"{}"),
        (b"event: x\r\ndata: {}\r\n\r\n", b"{}"),
        (b"data: {\rdata: }\r\r", b"{\n}"),
        (b"\xef\xbb\xbfdata: {}\n\n", b"{}"),
        (b"data\n\n", b""),
        (b"datum: {}\n\n", b""),
    ],
)
def test_data_is_found_however_the_event_is_laid_out(event: bytes, data: bytes) -> None:
    assert data_of(event) == data


def test_text_over_the_limit_is_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "CHARACTERS_MAX", 10)
    events = [chunk({"content": "123456"}), chunk({"content": "789012"}, "stop")]
    answer = streamed(events, dialect=Dialect.CHAT)
    assert (answer.text, answer.malformed) == ("1234567890", "more than 10 characters")


def test_an_event_over_the_limit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "EVENT_BYTES_MAX", 200)
    events = [chunk({"content": "x" * 200}), chunk({"content": "y"}, "stop")]
    answer = streamed(events, dialect=Dialect.CHAT)
    assert answer.text == "y"
    assert answer.malformed == "an event of more than 200 bytes was left out"


def test_too_many_calls_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "TOOL_CALLS_MAX", 2)
    calls = [{"index": n, "id": str(n), "function": {"name": "f"}} for n in range(3)]
    answer = streamed([chunk({"tool_calls": calls})], dialect=Dialect.CHAT)
    assert [call.id for call in answer.tool_calls] == ["0", "1"]
    assert answer.malformed == "more than 2 tool calls"


VALUES = st.recursive(
    st.none() | st.integers(-2, 2) | st.text(max_size=3) | st.booleans()
    | st.sampled_from(["text_delta", "input_json_delta", "tool_use", "text", "function_call"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "index", "delta", "content", "tool_calls", "function", "name", "arguments", "type",
                "id", "text", "logprobs", "finish_reason", "item", "output", "response", "input",
            ]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip
KINDS = [
    "content_block_start", "content_block_delta", "message_delta", "message_stop", "error",
    "response.output_text.delta", "response.output_item.added", "response.completed",
    "response.function_call_arguments.delta", "response.refusal.delta", "response.failed",
]  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        key: VALUES
        for key in (
            "choices", "index", "delta", "content_block", "item", "response", "output_index",
            "item_id", "error", "logprobs",
        )
    },
)  # fmt: skip


@given(st.lists(EVENTS, max_size=6), st.sampled_from(DIALECTS))
def test_no_event_makes_assembling_raise(events: list[Any], dialect: Dialect) -> None:
    answer = streamed(events, dialect=dialect)
    assert isinstance(answer.text, str)
    assert all(call.name for call in answer.tool_calls)


@given(st.lists(st.binary(max_size=30), max_size=5), st.sampled_from(DIALECTS))
def test_no_bytes_make_assembling_raise(events: list[bytes], dialect: Dialect) -> None:
    taking = assembler(a_step(dialect=dialect))
    for event in events:
        taking.feed(b"data: " + event)
        taking.feed(event)
    assert taking.answer().finish in Finish


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8))
def test_any_cut_of_a_text_gives_the_text(pieces: list[str]) -> None:
    events = [chunk({"content": text}) for text in pieces]
    answer = streamed([*events, chunk({}, "stop"), DONE], dialect=Dialect.CHAT)
    assert answer.text == "".join(pieces)
    assert msgspec.json.encode(answer.text)
