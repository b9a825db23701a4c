"""Reasoning that one provider signed is not shown to another one in a later step either."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.authors import beginning
from tests.inprocess import EVENTS, Bench, Script, make_bench

CONFIG = b"""
schema = 1
[providers.one]
base_url = "http://127.0.0.1:9/v1"
dialects = ["messages", "responses", "chat"]
[providers.other]
base_url = "http://127.0.0.1:9/v1"
dialects = ["messages", "responses", "chat"]
[prices]
"one/a" = { input = 1, output = 1 }
"other/b" = { input = 1, output = 1 }
"""
POLICY = b"""
schema = 1
ladder = ["small", "large"]
[tiers.small]
models = ["one/a"]
[tiers.large]
models = ["other/b"]
[roles.worker]
tier = "small"
[roles.planner]
tier = "large"
[roles.default]
tier = "small"
"""
MESSAGES = "/v1/messages"
FIRST = {"role": "user", "content": "What is the sum?"}
MORE = {"role": "user", "content": "And now?"}
SESSION = {"content-type": "application/json", "x-tierwise-session": "s-1"}


def signed(name: str) -> dict[str, Any]:
    """Return a turn of the assistant with a signed thought."""
    thought = {"type": "thinking", "thinking": f"hm {name}", "signature": name}
    return {"role": "assistant", "content": [thought, {"type": "text", "text": name}]}


def bare(name: str) -> dict[str, Any]:
    """Return the same turn without the thought."""
    return {"role": "assistant", "content": [{"type": "text", "text": name}]}


def ask(role: str, *turns: dict[str, Any], stream: bool = False) -> bytes:
    body = {"model": f"tierwise/{role}", "max_tokens": 9, "stream": stream, "messages": turns}
    return json.dumps(body).encode()


def said(text: str = "so") -> Script:
    body = {
        "type": "message",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return Script(pieces=[json.dumps(body).encode()])


def streamed() -> Script:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ]
    pieces = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
    return Script(pieces=pieces, headers=(EVENTS,))


async def sent(
    bench: Bench,
    role: str,
    *turns: dict[str, Any],
    headers: dict[str, str] = SESSION,
    script: Script | None = None,
) -> list[dict[str, Any]]:
    """Have one step answered and return the conversation that its last provider saw."""
    bench.upstream.scripts = [script or said()]
    stream = script is not None and script.headers == (EVENTS,)
    asked = ask(role, *turns, stream=stream)
    assert (await bench.post(MESSAGES, asked, headers=headers)).status == 200
    body = bench.upstream.sent[-1][2]
    seen: list[dict[str, Any]] = json.loads(body)["messages"]
    if seen == list(turns):
        model = {"worker": b"a", "planner": b"b"}[role]
        assert body == asked.replace(b"tierwise/" + role.encode(), model), "not byte for byte"
    return seen


@pytest.fixture
def bench() -> Bench:
    return make_bench(POLICY, config=CONFIG)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_step_that_starts_at_another_provider_leaves_the_firsts_signatures_behind(
    bench: Bench, stream: bool
) -> None:
    script = streamed() if stream else said()
    await sent(bench, "worker", FIRST, script=script)
    turns = (FIRST, signed("a1"), MORE)
    assert await sent(bench, "worker", *turns) == list(turns)
    assert await sent(bench, "planner", *turns) == [FIRST, bare("a1"), MORE]


async def test_a_provider_keeps_seeing_what_it_signed_itself_after_it_took_over(
    bench: Bench,
) -> None:
    await sent(bench, "worker", FIRST)
    await sent(bench, "planner", FIRST, signed("a1"), MORE)
    turns = [FIRST, signed("a1"), MORE, signed("b1"), MORE]
    stripped = [FIRST, bare("a1"), MORE, signed("b1"), MORE]
    assert await sent(bench, "planner", *turns) == stripped
    longer = [*turns, signed("b2"), MORE]
    assert await sent(bench, "planner", *longer) == [*stripped, signed("b2"), MORE]
    # Back at the first one, nothing is sure to be its own.
    bare_all = [FIRST, bare("a1"), MORE, bare("b1"), MORE, bare("b2"), MORE]
    assert await sent(bench, "worker", *longer) == bare_all


async def test_of_a_conversation_of_which_nothing_is_known_every_byte_goes_on(
    bench: Bench,
) -> None:
    turns = (FIRST, signed("x"), MORE)
    assert await sent(bench, "planner", *turns) == list(turns)
    # It was accepted, so it is taken for that provider's own work.
    assert await sent(bench, "worker", *turns) == [FIRST, bare("x"), MORE]


async def test_another_conversation_another_session_and_none_are_left_alone(bench: Bench) -> None:
    await sent(bench, "worker", FIRST)
    turns = (FIRST, signed("x"), MORE)
    elsewhere = {**SESSION, "x-tierwise-session": "s-2"}
    assert await sent(bench, "planner", *turns, headers=elsewhere) == list(turns)
    nameless = {"content-type": "application/json"}
    assert await sent(bench, "planner", *turns, headers=nameless) == list(turns)
    begun_otherwise = ({"role": "user", "content": "Quite another task"}, signed("x"), MORE)
    assert await sent(bench, "planner", *begun_otherwise) == list(begun_otherwise)


async def test_a_conversation_that_was_written_anew_is_left_alone(bench: Bench) -> None:
    await sent(bench, "worker", FIRST)
    await sent(bench, "planner", FIRST, signed("a1"), MORE, signed("a2"), MORE)
    compacted = (FIRST, signed("b1"), MORE)
    assert await sent(bench, "planner", *compacted) == list(compacted)
    longer = (*compacted, signed("b2"), MORE, signed("b3"), MORE)
    assert await sent(bench, "planner", *longer) == list(longer)


async def test_an_escalation_cleans_what_its_first_provider_signed_in_steps_before(
    bench: Bench,
) -> None:
    await sent(bench, "planner", FIRST)
    turns = (FIRST, signed("b1"), MORE)
    bench.upstream.scripts = [Script(status=500), said()]
    await bench.post(MESSAGES, ask("worker", *turns), headers=SESSION)
    first, second = (json.loads(body)["messages"] for _, _, body in bench.upstream.sent[-2:])
    assert first == [FIRST, bare("b1"), MORE]
    assert second == list(turns)  # back at its author


async def test_an_answer_that_the_caller_never_got_makes_nobody_an_author(bench: Bench) -> None:
    await sent(bench, "worker", FIRST)
    turns = (FIRST, signed("a1"), MORE)
    bench.upstream.scripts = [Script(status=400, pieces=[b"{}"])]
    assert (await bench.post(MESSAGES, ask("planner", *turns), headers=SESSION)).status == 400
    assert await sent(bench, "worker", *turns) == list(turns)


async def test_reasoning_items_of_responses_go_too(bench: Bench) -> None:
    items = [
        {"role": "user", "content": "What is the sum?"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": []},
        {"role": "assistant", "content": "4"},
    ]
    for role, wanted in (("worker", items), ("worker", items), ("planner", items[::2])):
        bench.upstream.scripts = [Script(pieces=[b'{"status": "completed", "output": []}'])]
        body = json.dumps({"model": f"tierwise/{role}", "input": items}).encode()
        assert (await bench.post("/v1/responses", body, headers=SESSION)).status == 200
        assert json.loads(bench.upstream.sent[-1][2])["input"] == wanted


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), min_size=1, max_size=4))
def test_a_conversation_begins_the_same_way_however_far_it_has_grown(turns: list[Any]) -> None:
    begun = {beginning(json.dumps(turns[: size + 1]).encode()) for size in range(len(turns))}
    (found,) = begun
    assert json.dumps(turns[0]).encode().startswith(found.removeprefix(b"["))
    assert len(found) > 1
