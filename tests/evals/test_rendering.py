import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from aiohttp import web
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from evals.answers import Finish, ToolCall, read_answer
from evals.assembly import assembler
from evals.codetier import CodeAnswer
from evals.rendering import render
from evals.steps import Step, read_step
from telemetry.records import Dialect
from tests.evals.answering import DIALECTS, a_step

TEXT = CodeAnswer(text='Größe: "7"\n✓')
CALL = CodeAnswer(tool_calls=(ToolCall("search", '{"q":"x"}'),))
EMPTY = CodeAnswer(text="")


def rendered(answer: CodeAnswer, step: Step, *, stream: bool) -> bytes:
    return render(
        answer, step, model="code", stream=stream, answer_id="d1", created_seconds=1_800_000_000
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", [TEXT, CALL, EMPTY])
def test_what_is_rendered_reads_back_the_same(
    answer: CodeAnswer, stream: bool, dialect: Dialect
) -> None:
    step = a_step(dialect=dialect)
    body = rendered(answer, step, stream=stream)
    if stream:
        taking = assembler(step)
        for event in body.split(b"\n\n"):
            taking.feed(event)
        read = taking.answer()
    else:
        read = read_answer(body, step)
    assert (read.text, read.malformed) == (answer.text, None)
    assert [(c.name, c.arguments) for c in read.tool_calls] == [
        (c.name, c.arguments) for c in answer.tool_calls
    ]
    assert read.finish is (Finish.TOOL_USE if answer.tool_calls else Finish.COMPLETE)


MODELS: dict[Dialect, Any] = {
    Dialect.CHAT: ChatCompletion,
    Dialect.RESPONSES: Response,
    Dialect.MESSAGES: Message,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("answer", [TEXT, CALL, EMPTY])
def test_bodies_satisfy_the_official_models(answer: CodeAnswer, dialect: Dialect) -> None:
    body = rendered(answer, a_step(dialect=dialect), stream=False)
    parsed = MODELS[dialect].model_validate_json(body, strict=True)
    assert parsed.model == "code"
    usage = parsed.usage.model_dump()
    assert {v for v in usage.values() if isinstance(v, int)} == {0}


def test_chat_streams_carry_usage_only_when_it_is_asked_for() -> None:
    asked = a_step({"stream": True, "stream_options": {"include_usage": True}})
    assert b'"usage"' in rendered(TEXT, asked, stream=True)
    assert b'"usage"' not in rendered(TEXT, a_step(), stream=True)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A server that answers every call with code, in the dialect of its path."""
    dialects = {
        "/v1/chat/completions": Dialect.CHAT,
        "/v1/responses": Dialect.RESPONSES,
        "/v1/messages": Dialect.MESSAGES,
    }

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        step = read_step(body, role="worker", dialect=dialects[request.path])
        stream = msgspec.json.decode(body).get("stream", False)
        answer = CALL if step.tools else TEXT
        kind = "text/event-stream" if stream else "application/json"
        return web.Response(body=rendered(answer, step, stream=stream), content_type=kind)

    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


USER: list[Any] = [{"role": "user", "content": "hi"}]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"q": {"type": "string"}}}


async def test_the_openai_client_reads_chat(address: str) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "search", "parameters": SCHEMA}}]
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as client:
        whole = await client.chat.completions.create(model="m", messages=USER)
        assert whole.choices[0].message.content == TEXT.text
        called = await client.chat.completions.create(model="m", messages=USER, tools=tools)
        (call,) = called.choices[0].message.tool_calls or []
        assert (call.type, call.id) == ("function", "call_d1_0")
        async with client.chat.completions.stream(
            model="m", messages=USER, stream_options={"include_usage": True}
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == TEXT.text
        assert final.usage is not None
        assert final.usage.total_tokens == 0
        async with client.chat.completions.stream(model="m", messages=USER, tools=tools) as stream:
            final = await stream.get_final_completion()
        (streamed,) = final.choices[0].message.tool_calls or []
        assert streamed.function.arguments == '{"q":"x"}'
        assert final.choices[0].finish_reason == "tool_calls"


async def test_the_openai_client_reads_responses(address: str) -> None:
    tools: list[Any] = [
        {"type": "function", "name": "search", "parameters": SCHEMA, "strict": False}
    ]
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as client:
        whole = await client.responses.create(model="m", input="hi")
        assert (whole.output_text, whole.status) == (TEXT.text, "completed")
        async with client.responses.stream(model="m", input="hi") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert final.output_text == TEXT.text
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        async with client.responses.stream(model="m", input="hi", tools=tools) as stream:
            called = await stream.get_final_response()
        (item,) = called.output
        assert item.type == "function_call"
        assert (item.name, item.arguments, item.call_id) == ("search", '{"q":"x"}', "call_d1_0")


async def test_the_anthropic_client_reads_messages(address: str) -> None:
    tools: list[Any] = [{"name": "search", "input_schema": SCHEMA}]
    async with anthropic.AsyncAnthropic(base_url=address, api_key="k", max_retries=0) as client:
        whole = await client.messages.create(model="m", max_tokens=9, messages=USER)
        (block,) = whole.content
        assert block.type == "text"
        assert block.text == TEXT.text
        async with client.messages.stream(model="m", max_tokens=9, messages=USER) as stream:
            assert await stream.get_final_text() == TEXT.text
        async with client.messages.stream(
            model="m", max_tokens=9, messages=USER, tools=tools
        ) as stream:
            final = await stream.get_final_message()
        (call,) = final.content
        assert call.type == "tool_use"
        assert (call.input, final.stop_reason) == ({"q": "x"}, "tool_use")
        assert (final.usage.input_tokens, final.usage.output_tokens) == (0, 0)
    await asyncio.sleep(0)
