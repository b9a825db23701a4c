"""Agents that go in circles, read from the conversation of each dialect."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.stall import stalled
from telemetry.records import Dialect

Call = tuple[str, Any, bool]  # name, arguments, and whether its result is an error
A: Call = ("read", {"path": "a"}, False)
B: Call = ("read", {"path": "b"}, False)
C: Call = ("read", {"path": "c"}, False)
D: Call = ("list", {"path": "a"}, False)


def failing(number: int) -> Call:
    return ("run", {"command": str(number)}, True)


def chat(calls: list[Call]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "go on"}]
    for number, (name, arguments, _) in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        turns.append({"role": "assistant", "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"call_{number}", "content": "x"})
    return {"tools": [{}], "messages": turns}


def responses(calls: list[Call]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "go on"}]
    for number, (name, arguments, _) in enumerate(calls):
        call = {"type": "function_call", "call_id": f"c{number}", "name": name}
        turns.append({**call, "arguments": json.dumps(arguments)})
        turns.append({"type": "function_call_output", "call_id": f"c{number}", "output": "x"})
    return {"tools": [{}], "input": turns}


def messages(calls: list[Call]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "go on"}]
    for number, (name, arguments, is_error) in enumerate(calls):
        call = {"type": "tool_use", "id": f"t{number}", "name": name, "input": arguments}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "is_error": is_error}
        turns.append({"role": "assistant", "content": [call]})
        turns.append({"role": "user", "content": [result]})
    return {"tools": [{}], "messages": turns}


SAID: dict[Dialect, Callable[[list[Call]], dict[str, Any]]] = {
    Dialect.CHAT: chat,
    Dialect.RESPONSES: responses,
    Dialect.MESSAGES: messages,
}


def reads(body: dict[str, Any], dialect: Dialect) -> bool:
    fields = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in body.items()}
    return stalled(fields, dialect)


@pytest.mark.parametrize("dialect", SAID)
@pytest.mark.parametrize(
    ("calls", "wanted"),
    [
        ([], False),
        ([A, A], False),
        ([A, A, A], True),
        ([A, B, A, B, A], True),  # the newest is the third of its kind
        ([A, A, A, B], False),  # it has moved on
        ([A, B, C, A, B, C, A], False),  # the first one is the seventh from the end
        ([A, B, B, C, C, A], False),
        ([A, A, D], False),  # another tool with the same arguments
        ([B, C, D, A, A, A], True),
    ],
)
def test_three_identical_calls_among_the_last_six_are_a_stall(
    dialect: Dialect, calls: list[Call], wanted: bool
) -> None:
    assert reads(SAID[dialect](calls), dialect) is wanted


@pytest.mark.parametrize(
    ("calls", "wanted"),
    [
        ([failing(1), failing(2), failing(3)], True),
        ([failing(1), A, failing(2), B, failing(3)], True),
        ([failing(1), failing(2), failing(3), A], False),
        ([failing(1), failing(2), A, B, C, D, failing(3)], False),
        ([failing(1), failing(2), A], False),
    ],
)
def test_three_calls_whose_results_are_errors_are_a_stall(calls: list[Call], wanted: bool) -> None:
    assert reads(messages(calls), Dialect.MESSAGES) is wanted


@pytest.mark.parametrize("dialect", SAID)
def test_a_request_without_tools_is_never_a_stall(dialect: Dialect) -> None:
    body = SAID[dialect]([A, A, A])
    del body["tools"]
    assert not reads(body, dialect)


def test_parallel_calls_of_one_turn_count_one_by_one() -> None:
    function = {"name": "read", "arguments": "{}"}
    calls = [{"id": f"c{n}", "type": "function", "function": function} for n in range(3)]
    body = {"tools": [{}], "messages": [{"role": "assistant", "tool_calls": calls}]}
    assert reads(body, Dialect.CHAT)


@pytest.mark.parametrize("dialect", SAID)
@pytest.mark.parametrize("odd", [5, True, "x", {}, {"a": 1}, [5, None], [[]], [{"type": []}]])
def test_odd_calls_mean_no_and_never_raise(dialect: Dialect, odd: Any) -> None:
    body = SAID[dialect]([A, A, A])
    key = "input" if dialect is Dialect.RESPONSES else "messages"
    for place in ("tool_calls", "content", "type", "function"):
        turns = [{**turn, place: odd} for turn in body[key]]
        reads({**body, key: turns}, dialect)
    assert not reads({**body, key: odd}, dialect)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(
        ["tool_use", "tool_calls", "function_call", "arguments", "tool_result", "reasoning"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "tool_calls", "function", "content", "name", "arguments", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(SAID)), JSON)
def test_no_conversation_makes_it_raise(dialect: Dialect, conversation: Any) -> None:
    said = [conversation, {"content": [{"type": "tool_use"}] * 3}, {"arguments": "arguments"}]
    reads({"tools": [], "messages": said, "input": said}, dialect)
