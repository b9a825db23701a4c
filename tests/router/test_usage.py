import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.usage import Reading, StreamReader, read_answer
from telemetry.records import Dialect, Tokens

DIALECTS = list(Dialect)
ODD_NUMBERS: list[Any] = [-1, 1.5, 1e308, 10**12, 10**30, "12", True, False, None, [], {}, [7]]
FRAGMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["message_start", "message_delta", "error", "response.completed", "[DONE]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "model", "usage", "choices", "message", "response", "delta",
                 "error", "finish_reason", "stop_reason", "status", "incomplete_details",
                 "prompt_tokens", "input_tokens", "output_tokens", "prompt_tokens_details",
                 "cached_tokens", "code", "reason"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip


def read_stream(dialect: Dialect, *frames: Any, done: bool = False) -> Reading:
    reader = StreamReader(dialect)
    for frame in frames:
        reader.feed(b"data: " + json.dumps(frame).encode() + b"\n\n")
    if done:
        reader.feed(b"data: [DONE]\n\n")
    reader.end()
    return reader.reading


@given(st.sampled_from(DIALECTS), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_read_as_nothing(dialect: Dialect, raw: bytes) -> None:
    assert read_answer(dialect, raw).tokens == Tokens()
    reader = StreamReader(dialect, hide_usage=True)
    sent = b"data: " + raw + b"\n\n"
    assert reader.feed(sent) + reader.end() == sent
    assert reader.reading.tokens == Tokens()


@given(st.sampled_from(DIALECTS), FRAGMENTS, FRAGMENTS)
@settings(max_examples=500, deadline=None)
def test_answers_of_the_right_words_in_the_wrong_places_never_raise(
    dialect: Dialect, first: Any, second: Any
) -> None:
    for one in (first, second):
        check_possible(read_answer(dialect, json.dumps(one).encode()))
    check_possible(read_stream(dialect, first, second, done=True))


def check_possible(reading: Reading) -> None:
    tokens = reading.tokens
    for count in (tokens.input, tokens.output, tokens.cache_read, tokens.reasoning):
        assert count is None or (type(count) is int and count >= 0)
    assert reading.response_id is None or isinstance(reading.response_id, str)
    assert all(isinstance(reason, str) for reason in reading.finish_reasons)
    assert reading.error_type is None or 0 < len(reading.error_type) <= 64


CHAT_USAGE = {
    "prompt_tokens": 1_200,
    "completion_tokens": 340,
    "total_tokens": 1_540,
    "prompt_tokens_details": {"cached_tokens": 1_024, "cache_write_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 300},
}
RESPONSES_USAGE = {
    "input_tokens": 900,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 950,
}
MESSAGES_USAGE = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 2_000,
    "cache_read_input_tokens": 30_000,
    "output_tokens": 77,
    "output_tokens_details": {"thinking_tokens": 60},
}
CHAT_TOKENS = Tokens(input=1_200, output=340, cache_read=1_024, cache_write=7, reasoning=300)
RESPONSES_TOKENS = Tokens(input=900, output=50, cache_read=128, reasoning=20)
# Anthropic's input leaves out what a cache held: 100 + 2,000 + 30,000.
MESSAGES_TOKENS = Tokens(
    input=32_100, output=77, cache_read=30_000, cache_write=2_000, reasoning=60
)


def test_a_whole_chat_answer_holds_cached_tokens_inside_its_prompt_tokens() -> None:
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-5.5-2026-05-01",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {}}],
        "usage": CHAT_USAGE,
    }
    reading = read_answer(Dialect.CHAT, json.dumps(answer).encode())
    assert reading.tokens == CHAT_TOKENS
    assert (reading.response_id, reading.response_model) == ("chatcmpl-1", "gpt-5.5-2026-05-01")
    assert reading.finish_reasons == ["tool_calls"]
    assert reading.finished


def test_a_streamed_chat_answer_is_read_from_its_last_frame() -> None:
    head = {"id": "chatcmpl-1", "model": "m-1"}
    reading = read_stream(
        Dialect.CHAT,
        {**head, "choices": [{"delta": {"content": "a"}, "finish_reason": None}], "usage": None},
        {**head, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None},
        {**head, "choices": [], "usage": CHAT_USAGE},
        done=True,
    )
    assert reading.tokens == CHAT_TOKENS
    assert reading.finish_reasons == ["stop"]
    assert reading.finished
    assert (reading.response_id, reading.response_model) == ("chatcmpl-1", "m-1")


def test_a_chat_answer_without_usage_has_unknown_tokens_not_none_at_all() -> None:
    reading = read_stream(
        Dialect.CHAT, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, done=True
    )
    assert reading.tokens == Tokens(input=None, output=None)
    assert reading.finished


def test_a_whole_response_is_read() -> None:
    answer = {"id": "resp_1", "model": "m", "status": "completed", "usage": RESPONSES_USAGE}
    reading = read_answer(Dialect.RESPONSES, json.dumps(answer).encode())
    assert reading.tokens == RESPONSES_TOKENS
    assert reading.finish_reasons == ["completed"]
    assert reading.finished


def test_a_streamed_response_is_read_from_its_last_event() -> None:
    begun = {"id": "resp_1", "model": "m", "status": "in_progress", "usage": None}
    ended = {
        **begun,
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "usage": RESPONSES_USAGE,
    }
    reading = read_stream(
        Dialect.RESPONSES,
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.incomplete", "response": ended},
    )
    assert reading.tokens == RESPONSES_TOKENS
    assert reading.finish_reasons == ["max_output_tokens"]
    assert reading.finished


def test_a_response_in_progress_is_not_finished() -> None:
    reading = read_stream(
        Dialect.RESPONSES,
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
    )
    assert not reading.finished
    assert reading.finish_reasons == []


def test_a_whole_message_holds_cached_tokens_outside_its_input_tokens() -> None:
    answer = {
        "id": "msg_1",
        "type": "message",
        "model": "m",
        "stop_reason": "end_turn",
        "usage": MESSAGES_USAGE,
    }
    reading = read_answer(Dialect.MESSAGES, json.dumps(answer).encode())
    assert reading.tokens == MESSAGES_TOKENS
    assert reading.finish_reasons == ["end_turn"]
    assert reading.finished


def message_start(usage: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}}


def test_a_streamed_message_joins_the_usage_of_its_first_and_last_frame() -> None:
    first = {k: v for k, v in MESSAGES_USAGE.items() if k != "output_tokens_details"}
    reading = read_stream(
        Dialect.MESSAGES,
        message_start({**first, "output_tokens": 1}),
        {"type": "ping"},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 77, "output_tokens_details": {"thinking_tokens": 60}},
        },
        {"type": "message_stop"},
    )
    assert reading.tokens == MESSAGES_TOKENS
    assert reading.finish_reasons == ["tool_use"]
    assert reading.finished


def test_a_last_frame_that_leaves_counts_null_takes_nothing_back() -> None:
    reading = read_stream(
        Dialect.MESSAGES,
        message_start({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 7},
        },
    )
    assert reading.tokens == Tokens(input=15, output=7, cache_read=5)


def test_a_message_that_broke_off_has_a_known_input_and_an_unknown_output() -> None:
    reading = read_stream(
        Dialect.MESSAGES,
        message_start({"input_tokens": 10, "output_tokens": 3}),
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
    )
    assert reading.tokens == Tokens(input=10)
    assert not reading.finished


def test_an_embeddings_answer_has_input_alone() -> None:
    answer = {"model": "e", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    reading = read_answer(Dialect.EMBEDDINGS, json.dumps(answer).encode())
    assert reading.tokens == Tokens(input=8)
    assert reading.finished


@pytest.mark.parametrize("odd", ODD_NUMBERS, ids=repr)
def test_a_number_that_cannot_be_true_is_unknown(odd: Any) -> None:
    details = {"cached_tokens": odd, "cache_write_tokens": odd}
    chat = {"prompt_tokens": odd, "completion_tokens": 3, "prompt_tokens_details": details}
    answer = json.dumps({"choices": [], "usage": chat}).encode()
    assert read_answer(Dialect.CHAT, answer).tokens == Tokens(output=3)

    usage = {"input_tokens": 4, "output_tokens": odd, "input_tokens_details": details}
    answer = json.dumps({"status": "completed", "usage": usage}).encode()
    assert read_answer(Dialect.RESPONSES, answer).tokens == Tokens(input=4)

    usage = {"input_tokens": odd, "output_tokens": 5, "cache_read_input_tokens": 6}
    answer = json.dumps({"type": "message", "usage": usage}).encode()
    assert read_answer(Dialect.MESSAGES, answer).tokens == Tokens(output=5, cache_read=6)
    assert read_stream(Dialect.MESSAGES, message_start(usage)).tokens == Tokens(cache_read=6)


def test_zero_tokens_are_zero_and_not_unknown() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    answer = json.dumps({"choices": [], "usage": usage}).encode()
    assert read_answer(Dialect.CHAT, answer).tokens == Tokens(input=0, output=0)


@pytest.mark.parametrize(
    ("dialect", "frame", "kind"),
    [
        (Dialect.CHAT, {"error": {"type": "server_error", "message": "x"}}, "server_error"),
        (Dialect.CHAT, {"error": {"code": "overloaded"}}, "overloaded"),
        (Dialect.CHAT, {"error": "x"}, "upstream_error"),
        (Dialect.CHAT, {"error": {"type": "x" * 65}}, "upstream_error"),
        (Dialect.RESPONSES, {"type": "error", "code": "rate_limit", "message": "x"}, "rate_limit"),
        (Dialect.RESPONSES, {"type": "error", "error": {"type": "overloaded"}}, "overloaded"),
        (Dialect.RESPONSES, {"type": "error"}, "upstream_error"),
        (
            Dialect.RESPONSES,
            {"type": "response.failed", "response": {"error": {"code": "server_error"}}},
            "server_error",
        ),
        (Dialect.MESSAGES, {"type": "error", "error": {"type": "overloaded_error"}},
         "overloaded_error"),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_is_named_as_the_provider_names_it(
    dialect: Dialect, frame: dict[str, Any], kind: str
) -> None:
    assert read_stream(dialect, frame).error_type == kind


def chat_stream(*, end: bytes) -> tuple[bytes, bytes]:
    """Return a chat stream as a provider sends it, and without its usage frame."""
    before = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}' + end * 2
    usage = b'data: {"choices":[],"usage":' + json.dumps(CHAT_USAGE).encode() + b"}" + end * 2
    after = b"data: [DONE]" + end * 2
    return before + usage + after, before + after


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_our_own_usage_frame_is_hidden_and_read_at_every_cut(end: bytes) -> None:
    sent, wanted = chat_stream(end=end)
    for cut in range(len(sent) + 1):
        reader = StreamReader(Dialect.CHAT, hide_usage=True)
        out = reader.feed(sent[:cut]) + reader.feed(sent[cut:]) + reader.end()
        assert out == wanted, cut
        assert reader.reading.tokens == CHAT_TOKENS, cut


def test_a_usage_frame_that_the_caller_asked_for_stays() -> None:
    sent, _ = chat_stream(end=b"\n")
    reader = StreamReader(Dialect.CHAT)
    assert reader.feed(sent) + reader.end() == sent
    assert reader.reading.tokens == CHAT_TOKENS


def test_a_frame_with_choices_is_never_hidden_though_it_carries_usage() -> None:
    sent = b'data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}\n\n'
    reader = StreamReader(Dialect.CHAT, hide_usage=True)
    assert reader.feed(sent) == sent
    assert reader.reading.tokens == Tokens(input=1)


def test_a_frame_without_choices_and_usage_is_never_hidden() -> None:
    sent = b'data: {"choices":[],"prompt_filter_results":[],"usage":null}\n\n'
    reader = StreamReader(Dialect.CHAT, hide_usage=True)
    assert reader.feed(sent) == sent


def test_the_rest_of_a_stream_that_broke_off_is_not_held_back() -> None:
    sent = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"del'
    reader = StreamReader(Dialect.CHAT, hide_usage=True)
    assert reader.feed(sent) + reader.end() == sent
