"""The official openai package against a running gateway."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from telemetry.records import Dialect, RoleSource, Tokens
from tests import wire
from tests.clients.bills import check_bills
from tests.harness import House, config_for, running

ECHO = "Greet the reader of this line"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather now.", "parameters": WEATHER},
}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": WEATHER}
ASK_WEATHER = "What is the weather in Lyon"


class Ticket(BaseModel):
    """What a model is to read out of a ticket."""

    order_id: str
    topic: str


@pytest.fixture
def client(home: House) -> Iterator[OpenAI]:
    with OpenAI(base_url=home.gateway.base_url, api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(home: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=home.gateway.base_url, api_key="any", max_retries=0) as found:
        yield found


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_plain_chat_answer(home: House, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="tierwise/worker", messages=user(ECHO)
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == f"You said: {ECHO}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "standin-mid-2026-07-15"
    (attempt,) = check_bills(home, "worker")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == attempt.tokens.input
    ((decision, outcome),) = home.recorded()
    assert decision.context.role_source is RoleSource.ALIAS
    assert decision.context.dialect is Dialect.CHAT
    assert raw.headers["x-tierwise-decision"] == decision.decision_id
    assert raw.headers["x-tierwise-role"] == "worker"
    assert raw.headers["x-tierwise-tier"] == "mid"
    assert raw.headers["x-tierwise-model"] == "standin/standin-mid"
    assert raw.headers["x-tierwise-attempts"] == "1"
    assert float(raw.headers["x-tierwise-cost-usd"]) == pytest.approx(outcome.cost_usd)


async def test_a_plain_chat_answer_async(home: House, async_client: AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(
        model="tierwise/auto",
        messages=user(ECHO),
        extra_headers={"x-tierwise-role": "planner", "x-tierwise-session": "s-1"},
    )
    assert answer.choices[0].message.content == f"You said: {ECHO}"
    check_bills(home, "planner")
    ((decision, _),) = home.recorded()
    assert decision.context.role_source is RoleSource.HEADER
    assert decision.context.session == "s-1"


def test_a_streamed_chat_answer_carries_no_usage_that_its_caller_did_not_ask_for(
    home: House, client: OpenAI
) -> None:
    chunks = list(
        client.chat.completions.create(model="tierwise/worker", messages=user(ECHO), stream=True)
    )
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert attempt.first_chunk_seconds is not None
    assert attempt.finish_reasons == ("stop",)


@pytest.mark.parametrize("wanted", [True, False])
def test_stream_options_do_what_the_caller_says(home: House, client: OpenAI, wanted: bool) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tierwise/worker",
            messages=user(ECHO),
            stream=True,
            stream_options={"include_usage": wanted},
        )
    )
    last = chunks[-1]
    (attempt,) = check_bills(home, "worker")
    if wanted:
        assert last.usage is not None
        assert last.usage.completion_tokens == attempt.tokens.output
        assert last.choices == []
    else:
        assert all(chunk.usage is None for chunk in chunks)


async def test_a_streamed_chat_answer_async(home: House, async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model="claude-tierwise-extractor", messages=user(ECHO), stream=True
    )
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == f"You said: {ECHO}"
    check_bills(home, "extractor")


def test_a_tool_call_and_its_result(home: House, client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tierwise/worker", messages=user(ASK_WEATHER), tools=[TOOL]
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Lyon"}
    said: Any = answer.choices[0].message.model_dump(exclude_none=True)
    again = client.chat.completions.create(
        model="tierwise/worker",
        tools=[TOOL],
        messages=[
            *user(ASK_WEATHER),
            said,
            {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
        ],
    )
    assert again.choices[0].message.content == "The tool says: 21 degrees"
    first, second = check_bills(home, "worker", count=2)
    assert first.finish_reasons == ("tool_calls",)
    assert second.finish_reasons == ("stop",)


async def test_parallel_tool_calls_arrive_as_they_were_made() -> None:
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
        }
        for number, city in enumerate(["Lyon", "東京"])
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    said = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [choice],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
    }
    async with (
        wire.provider(wire.whole(json.dumps(said).encode())) as upstream,
        running(config_for(upstream.port)) as at,
        AsyncOpenAI(base_url=at.base_url, api_key="any", max_retries=0) as client,
    ):
        answer = await client.chat.completions.create(
            model="tierwise/worker",
            messages=user(ASK_WEATHER),
            tools=[TOOL],
            parallel_tool_calls=True,
        )
        assert [call.model_dump() for call in answer.choices[0].message.tool_calls or []] == calls
        ((_, outcome),) = at.kept.wait(1)
    assert json.loads(upstream.got[0].body)["parallel_tool_calls"] is True
    # Mid tier: 1,000 tokens at 1 dollar and 100 at 4 dollars per million.
    assert outcome.cost_usd == pytest.approx(0.0014)


def test_a_streamed_tool_call(home: House, client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="tierwise/worker", messages=user(ASK_WEATHER), tools=[TOOL]
    ) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Lyon"}
    check_bills(home, "worker")


def test_structured_output(home: House, client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="tierwise/planner",
        messages=user("Extract order_id: <mail>Order ID: DE-482913</mail>"),
        response_format=Ticket,
    )
    assert isinstance(answer.choices[0].message.parsed, Ticket)
    check_bills(home, "planner")


def test_a_plain_response(home: House, client: OpenAI) -> None:
    answer = client.responses.create(model="tierwise/worker", input=ECHO)
    assert answer.output_text == f"You said: {ECHO}"
    assert answer.status == "completed"
    check_bills(home, "worker")
    assert home.recorded()[0][0].context.dialect is Dialect.RESPONSES


async def test_a_plain_response_async(home: House, async_client: AsyncOpenAI) -> None:
    answer = await async_client.responses.create(model="tierwise/planner", input=ECHO)
    assert answer.output_text == f"You said: {ECHO}"
    check_bills(home, "planner")


def test_a_streamed_response(home: House, client: OpenAI) -> None:
    with client.responses.stream(model="tierwise/worker", input=ECHO) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert final.usage is not None
    assert final.usage.output_tokens == attempt.tokens.output


def test_a_response_with_a_tool_call(home: House, client: OpenAI) -> None:
    answer = client.responses.create(
        model="tierwise/worker", input=ASK_WEATHER, tools=[RESPONSES_TOOL]
    )
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Lyon"})
    check_bills(home, "worker")


def test_a_response_of_a_given_shape(home: House, client: OpenAI) -> None:
    answer = client.responses.parse(
        model="tierwise/planner",
        input="Extract order_id: <mail>Order ID: DE-482913</mail>",
        text_format=Ticket,
    )
    assert isinstance(answer.output_parsed, Ticket)
    check_bills(home, "planner")


def test_embeddings_go_to_the_model_that_makes_them(home: House, client: OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model="tierwise/default", input=["one", "two"])
    answer = raw.parse()
    assert [len(item.embedding) > 0 for item in answer.data] == [True, True]
    assert raw.headers["x-tierwise-model"] == "embedder/standin-embedding"
    ((decision, outcome),) = home.recorded()
    (entry,) = home.billed()
    assert decision.context.dialect is Dialect.EMBEDDINGS
    assert outcome.attempts[0].tokens == Tokens(input=entry.input)
    assert outcome.cost_usd == pytest.approx(entry.input * 0.02 / 1e6)


def test_embeddings_for_a_role_without_such_a_model_are_denied(home: House, client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.embeddings.create(model="tierwise/chatter", input="one")
    assert refused.value.code == "no_arm_for_dialect"
    assert home.billed() == []


def test_models_are_listed(home: House, client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed[:3] == ["tierwise/auto", "tierwise/chatter", "tierwise/default"]
    assert "standin/standin-frontier" in listed
    assert client.models.retrieve("tierwise/planner").id == "tierwise/planner"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("tierwise/nobody")
    assert refused.value.code == "not_found"


def test_an_error_of_ours_is_the_class_that_the_client_expects(home: House, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="gpt-99", messages=user(ECHO))
    assert refused.value.code == "unknown_model"
    assert refused.value.type == "invalid_request"
    assert refused.value.response.headers["x-tierwise-decision"]
    assert home.billed() == []


def test_an_error_of_the_provider_is_the_class_that_the_client_expects(
    home: House, client: OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tierwise/worker", messages=user(ECHO), max_tokens=-1)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.response.headers["x-tierwise-tier"] == "mid"
    ((_, outcome),) = home.recorded()
    assert outcome.status == 400
    assert outcome.cost_usd == 0.0
