"""Signed reasoning goes when a step changes its provider, and nothing else does."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.reasoning import without_signed
from telemetry.records import Dialect

THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "eHl6"}
TEXT = {"type": "text", "text": "I am thinking about reasoning."}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
USER = {"role": "user", "content": "about thinking and reasoning"}


def cleaned(key: str, turns: Any, dialect: Dialect) -> Any:
    raw = json.dumps(turns).encode()
    found = without_signed({key: msgspec.Raw(raw)}, dialect)
    return json.loads(found[key]) if found else None


def test_thinking_blocks_go_and_text_and_calls_stay() -> None:
    turn = {"role": "assistant", "content": [THINKING, REDACTED, TEXT, CALL]}
    assert cleaned("messages", [USER, turn], Dialect.MESSAGES) == [
        USER,
        {"role": "assistant", "content": [TEXT, CALL]},
    ]


def test_a_turn_of_nothing_but_thinking_goes_whole() -> None:
    turn = {"role": "assistant", "content": [THINKING]}
    assert cleaned("messages", [USER, turn, USER], Dialect.MESSAGES) == [USER, USER]


def test_reasoning_items_of_responses_go() -> None:
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": []}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert cleaned("input", [USER, item, call], Dialect.RESPONSES) == [USER, call]


def test_what_chat_servers_add_to_messages_goes() -> None:
    turn = {"role": "assistant", "content": "x", "thinking_blocks": [THINKING], "n": 1}
    other = {"role": "assistant", "content": "y", "reasoning_details": [{}]}
    assert cleaned("messages", [turn, other], Dialect.CHAT) == [
        {"role": "assistant", "content": "x", "n": 1},
        {"role": "assistant", "content": "y"},
    ]


@pytest.mark.parametrize(
    ("dialect", "turns"),
    [
        (Dialect.MESSAGES, [USER, {"role": "assistant", "content": [TEXT, CALL]}]),
        (Dialect.MESSAGES, [{"role": "user", "content": "thinking"}]),
        (Dialect.MESSAGES, [{"role": "user", "content": []}]),
        (Dialect.RESPONSES, [USER, {"type": "message", "content": "reasoning"}]),
        (Dialect.RESPONSES, "think about reasoning"),
        (Dialect.CHAT, [USER, {"role": "assistant", "reasoning_content": "unsigned"}]),
        (Dialect.CHAT, {"thinking_blocks": 1}),
        (Dialect.MESSAGES, [5, "thinking", None, [THINKING]]),
        (Dialect.MESSAGES, [{"role": "assistant", "content": [{"type": ["thinking"]}]}]),
    ],
)
def test_without_signed_reasoning_nothing_changes(dialect: Dialect, turns: Any) -> None:
    assert cleaned("messages", turns, dialect) is None
    assert cleaned("input", turns, dialect) is None


def test_turns_without_signed_reasoning_stay_byte_for_byte() -> None:
    odd = b'{ "role":"user", "n":123456789012345678901234567890,"content":"thinking \\u00e9" }'
    signed = json.dumps({"role": "assistant", "content": [THINKING, TEXT]}).encode()
    raw = b"[" + odd + b" , " + signed + b"]"
    found = without_signed({"messages": msgspec.Raw(raw)}, Dialect.MESSAGES)["messages"]
    assert found.startswith(b"[" + odd + b",")
    assert b"signature" not in found


BLOCKS = st.sampled_from([THINKING, REDACTED, TEXT, CALL])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(BLOCKS, min_size=1, max_size=5), max_size=6))
def test_exactly_the_signed_blocks_go(turns: list[list[dict[str, Any]]]) -> None:
    said = [{"role": "assistant", "content": blocks} for blocks in turns]
    wanted = [
        {"role": "assistant", "content": kept}
        for blocks in turns
        if (kept := [block for block in blocks if block in (TEXT, CALL)])
    ]
    found = cleaned("messages", said, Dialect.MESSAGES)
    assert (said if found is None else found) == wanted
