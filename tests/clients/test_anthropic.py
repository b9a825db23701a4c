"""The official anthropic package against a running gateway."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from telemetry.records import Dialect
from tests.clients.bills import check_bills
from tests.harness import House

ECHO = "Greet the reader of this line"
TOOL: Any = {
    "name": "get_weather",
    "description": "Weather now.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
LONG = "The rules of the house are to be read with care and kept by all who enter it. " * 200


class Ticket(BaseModel):
    """What a model is to read out of a ticket."""

    order_id: str
    topic: str


@pytest.fixture
def client(home: House) -> Iterator[Anthropic]:
    with Anthropic(base_url=home.gateway.origin, api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(home: House) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=home.gateway.origin, api_key="any", max_retries=0) as found:
        yield found


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_plain_message(home: House, client: Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model="tierwise/worker", max_tokens=100, messages=user(ECHO)
    )
    answer = raw.parse()
    assert answer.content[0].type == "text"
    assert answer.content[0].text == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert answer.usage.output_tokens == attempt.tokens.output
    ((decision, _),) = home.recorded()
    assert decision.context.dialect is Dialect.MESSAGES
    assert raw.headers["x-tierwise-decision"] == decision.decision_id
    assert raw.headers["x-tierwise-tier"] == "mid"


async def test_a_plain_message_async(home: House, async_client: AsyncAnthropic) -> None:
    answer = await async_client.messages.create(
        model="claude-tierwise-planner", max_tokens=100, messages=user(ECHO)
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text == f"You said: {ECHO}"
    check_bills(home, "planner")


def test_a_streamed_message(home: House, client: Anthropic) -> None:
    with client.messages.stream(
        model="tierwise/worker", max_tokens=100, messages=user(ECHO)
    ) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert final.usage.output_tokens == attempt.tokens.output
    assert attempt.finish_reasons == ("end_turn",)
    assert attempt.first_chunk_seconds is not None


async def test_a_streamed_message_async(home: House, async_client: AsyncAnthropic) -> None:
    async with async_client.messages.stream(
        model="tierwise/extractor", max_tokens=100, messages=user(ECHO)
    ) as stream:
        final = await stream.get_final_message()
    assert final.content[0].type == "text"
    assert final.content[0].text == f"You said: {ECHO}"
    check_bills(home, "extractor")


def test_a_tool_call_and_its_result(home: House, client: Anthropic) -> None:
    answer = client.messages.create(
        model="tierwise/worker",
        max_tokens=100,
        messages=user("What is the weather in Lyon"),
        tools=[TOOL],
    )
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Lyon"})
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
    again = client.messages.create(
        model="tierwise/worker",
        max_tokens=100,
        tools=[TOOL],
        messages=[
            *user("What is the weather in Lyon"),
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert again.content[0].type == "text"
    assert again.content[0].text == "The tool says: 21 degrees"
    first, second = check_bills(home, "worker", count=2)
    assert first.finish_reasons == ("tool_use",)
    assert second.finish_reasons == ("end_turn",)


def test_a_streamed_tool_call(home: House, client: Anthropic) -> None:
    with client.messages.stream(
        model="tierwise/worker",
        max_tokens=100,
        messages=user("What is the weather in Lyon"),
        tools=[TOOL],
    ) as stream:
        final = stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert call.input == {"city": "Lyon"}
    check_bills(home, "worker")


def test_structured_output(home: House, client: Anthropic) -> None:
    answer = client.messages.parse(
        model="tierwise/planner",
        max_tokens=100,
        messages=user("Extract order_id: <mail>Order ID: DE-482913</mail>"),
        output_format=Ticket,
    )
    assert isinstance(answer.parsed_output, Ticket)
    check_bills(home, "planner")


def test_cached_tokens_are_billed_at_their_own_prices(home: House, client: Anthropic) -> None:
    system: Any = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        client.messages.create(
            model="tierwise/worker", max_tokens=50, system=system, messages=user(ECHO)
        )
    wrote, read = check_bills(home, "worker", count=2)
    assert (wrote.tokens.cache_write or 0) > 1_000
    assert wrote.tokens.cache_read == 0
    assert read.tokens.cache_read == wrote.tokens.cache_write
    assert read.tokens.input == wrote.tokens.input
    # Mid tier: 1.25 dollars per million written, 0.10 read.
    cached = wrote.tokens.cache_write or 0
    assert wrote.cost_usd is not None
    assert read.cost_usd is not None
    assert wrote.cost_usd - read.cost_usd == pytest.approx(cached * (1.25 - 0.10) / 1e6)


def test_reasoning_tokens_are_recorded(home: House, client: Anthropic) -> None:
    facts = "<facts>total: 120</facts>"
    client.messages.create(
        model="tierwise/planner",
        max_tokens=4_000,
        thinking={"type": "enabled", "budget_tokens": 2_000},
        messages=user(f"Decide: if total is over 100 then reject, otherwise accept. {facts}"),
    )
    (attempt,) = check_bills(home, "planner")
    assert (attempt.tokens.reasoning or 0) > 0


def test_tokens_are_counted_and_nothing_is_recorded(home: House, client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="tierwise/worker", messages=user(ECHO))
    assert counted.input_tokens > 0
    client.messages.create(model="tierwise/worker", max_tokens=9, messages=user(ECHO))
    (attempt,) = check_bills(home, "worker")
    assert attempt.tokens.input == counted.input_tokens


def test_models_are_listed(home: House, client: Anthropic) -> None:
    listed = [model.id for model in client.models.list()]
    assert "claude-tierwise-planner" in listed
    assert client.models.retrieve("tierwise/planner").id == "tierwise/planner"


def test_an_error_of_ours_is_the_class_that_the_client_expects(
    home: House, client: Anthropic
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="claude-99", max_tokens=9, messages=user(ECHO))
    body: Any = refused.value.body
    assert body["type"] == "error"
    assert body["error"]["code"] == "unknown_model"
    assert body["request_id"] == refused.value.response.headers["x-tierwise-decision"]
    assert home.billed() == []


def test_an_error_of_the_provider_is_the_class_that_the_client_expects(
    home: House, client: Anthropic
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="tierwise/worker", max_tokens=0, messages=user(ECHO))
    body: Any = refused.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert refused.value.response.headers["x-tierwise-tier"] == "mid"
    ((_, outcome),) = home.recorded()
    assert outcome.status == 400
    assert outcome.cost_usd == 0.0
