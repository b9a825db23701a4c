"""Answers as whole providers give them: read whole and streamed, they must be the same."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from evals.answers import Answer, Finish, read_answer
from evals.assembly import assembler
from evals.standin.running import Serving, serving
from evals.steps import read_step
from telemetry.records import Dialect
from tests.evals.answering import DIALECTS, result

PATHS = {
    Dialect.CHAT: "chat/completions",
    Dialect.RESPONSES: "responses",
    Dialect.MESSAGES: "messages",
}
SCHEMA = {
    "type": "object",
    "properties": {"q": {"type": "string"}},
    "required": ["q"],
    "additionalProperties": False,
}
USER = [{"role": "user", "content": "Extract the order number from: order 4711 is late"}]
PLAIN: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"messages": USER},
    Dialect.RESPONSES: {"input": USER},
    Dialect.MESSAGES: {"messages": USER, "max_tokens": 500},
}
FORMAT = {"type": "json_schema", "name": "reply", "schema": SCHEMA}
WITH_SCHEMA: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"response_format": {"type": "json_schema", "json_schema": FORMAT}},
    Dialect.RESPONSES: {"text": {"format": FORMAT}},
    Dialect.MESSAGES: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
}
FUNCTION = {"name": "search", "parameters": SCHEMA}
WITH_TOOL: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "required",
    },
    Dialect.RESPONSES: {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"},
    Dialect.MESSAGES: {
        "tools": [{"name": "search", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any"},
    },
}
CUT = {
    Dialect.CHAT: {"max_completion_tokens": 2},
    Dialect.RESPONSES: {"max_output_tokens": 2},
    Dialect.MESSAGES: {"max_tokens": 2},
}


@pytest.fixture
async def provider() -> AsyncIterator[Serving]:
    async with serving() as running:
        yield running


async def answers(provider: Serving, dialect: Dialect, more: dict[str, Any]) -> list[Answer]:
    """The provider's answer to one request, not streamed and streamed."""
    body = {"model": "standin-small", **PLAIN[dialect], **more}
    address = f"{provider.base_url}/{PATHS[dialect]}"
    headers = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(address, json=body) as reply:
            assert reply.status == 200
            content = await reply.read()
        async with session.post(address, json={**body, "stream": True}) as reply:
            assert reply.status == 200
            stream = await reply.read()
    step = read_step(msgspec.json.encode(body), role="worker", dialect=dialect)
    taking = assembler(step)
    for event in stream.split(b"\n\n"):
        taking.feed(event)
    return [read_answer(content, step), taking.answer()]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_plain_answer(provider: Serving, dialect: Dialect) -> None:
    whole, streamed = await answers(provider, dialect, {})
    assert whole == streamed
    assert whole.text.startswith("You said: Extract the order")
    assert (whole.finish, whole.malformed) == (Finish.COMPLETE, None)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_structured_answer(provider: Serving, dialect: Dialect) -> None:
    whole, streamed = await answers(provider, dialect, WITH_SCHEMA[dialect])
    assert whole == streamed
    assert result(whole, "json_schema") == "pass"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_tool_call(provider: Serving, dialect: Dialect) -> None:
    for answer in await answers(provider, dialect, WITH_TOOL[dialect]):
        (call,) = answer.tool_calls
        assert (call.name, answer.finish, answer.text) == ("search", Finish.TOOL_USE, "")
        assert set(msgspec.json.decode(call.arguments)) == {"q"}
        assert result(answer, "tool_call_valid") == "pass"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_that_was_cut_off(provider: Serving, dialect: Dialect) -> None:
    whole, streamed = await answers(provider, dialect, CUT[dialect])
    assert whole == streamed
    assert result(whole, "not_truncated") == "fail"
