"""langchain-openai, pydantic-ai and openai-agents against a running gateway."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import agents
import openai
import pytest
from anthropic import AsyncAnthropic
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.bills import check_bills
from tests.harness import House

ECHO = "Greet the reader of this line"
EXTRACT = "Extract order_id: <mail>Order ID: DE-482913</mail>"
ASK_WEATHER = "What is the weather in Lyon"


class Ticket(BaseModel):
    """What a model is to read out of a ticket."""

    order_id: str
    topic: str


def get_weather(city: str) -> str:
    """Say how the weather is now."""
    return f"21 degrees in {city}"


@pytest.fixture
async def openai_client(home: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=home.gateway.base_url, api_key="any", max_retries=0) as found:
        yield found


def langchain(home: House, role: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=f"tierwise/{role}",
        base_url=home.gateway.base_url,
        api_key=SecretStr("any"),
        max_retries=0,
        **options,
    )


def test_langchain_asks_plainly(home: House) -> None:
    answer = langchain(home, "worker").invoke(ECHO)
    assert answer.content == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == attempt.tokens.input


@pytest.mark.parametrize("wanted", [True, False])
def test_langchain_streams(home: House, wanted: bool) -> None:
    chunks = list(langchain(home, "planner", stream_usage=wanted).stream(ECHO))
    assert "".join(str(chunk.content) for chunk in chunks) == f"You said: {ECHO}"
    assert any(chunk.usage_metadata for chunk in chunks) is wanted
    check_bills(home, "planner")


def test_langchain_calls_a_tool(home: House) -> None:
    model = langchain(home, "worker").bind_tools([tool(get_weather)])
    asked = model.invoke(ASK_WEATHER)
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Lyon"})
    result = ToolMessage(content=get_weather(**call["args"]), tool_call_id=call["id"])
    answer = model.invoke([("user", ASK_WEATHER), asked, result])
    assert answer.content == "The tool says: 21 degrees in Lyon"
    check_bills(home, "worker", count=2)


def test_langchain_parses_structured_output(home: House) -> None:
    model = langchain(home, "planner").with_structured_output(Ticket)
    answer = model.invoke(EXTRACT)
    assert isinstance(answer, Ticket)
    check_bills(home, "planner")


def test_langchain_raises_the_class_of_our_error_and_of_the_providers(home: House) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        langchain(home, "worker").invoke(ECHO, model="gpt-99")
    assert refused.value.code == "unknown_model"
    assert home.billed() == []
    with pytest.raises(openai.BadRequestError) as relayed:
        langchain(home, "worker").invoke(ECHO, max_tokens=-1)
    assert relayed.value.response.headers["x-tierwise-tier"] == "mid"
    ((_, outcome),) = home.recorded()
    assert (outcome.status, outcome.cost_usd) == (400, 0.0)


@pytest.fixture(params=["chat", "responses", "messages"])
async def pydantic_ai_model(
    home: House, openai_client: AsyncOpenAI, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[[str], Model]]:
    provider = OpenAIProvider(openai_client=openai_client)
    if request.param == "chat":
        yield lambda name: OpenAIChatModel(name, provider=provider)
    elif request.param == "responses":
        yield lambda name: OpenAIResponsesModel(name, provider=provider)
    else:
        async with AsyncAnthropic(
            base_url=home.gateway.origin, api_key="any", max_retries=0
        ) as client:
            anthropic = AnthropicProvider(anthropic_client=client)
            yield lambda name: AnthropicModel(
                name, provider=anthropic, profile={"supports_json_schema_output": True}
            )


Named = Callable[[str], Model]


async def test_pydantic_ai_asks_plainly(home: House, pydantic_ai_model: Named) -> None:
    result = await Agent(pydantic_ai_model("tierwise/worker")).run(ECHO)
    assert result.output == f"You said: {ECHO}"
    (attempt,) = check_bills(home, "worker")
    assert result.usage.output_tokens == attempt.tokens.output


async def test_pydantic_ai_streams(home: House, pydantic_ai_model: Named) -> None:
    async with Agent(pydantic_ai_model("tierwise/planner")).run_stream(ECHO) as result:
        assert await result.get_output() == f"You said: {ECHO}"
    check_bills(home, "planner")


async def test_pydantic_ai_calls_a_tool(home: House, pydantic_ai_model: Named) -> None:
    agent = Agent(pydantic_ai_model("tierwise/worker"), tools=[get_weather])
    result = await agent.run(ASK_WEATHER)
    assert result.output == "The tool says: 21 degrees in Lyon"
    attempts = check_bills(home, "worker", count=2)
    assert result.usage.input_tokens == sum(attempt.tokens.input or 0 for attempt in attempts)


async def test_pydantic_ai_parses_structured_output(home: House, pydantic_ai_model: Named) -> None:
    agent = Agent(pydantic_ai_model("tierwise/planner"), output_type=NativeOutput(Ticket))
    result = await agent.run(EXTRACT)
    assert isinstance(result.output, Ticket)
    check_bills(home, "planner")


async def test_pydantic_ai_hears_of_our_error(home: House, pydantic_ai_model: Named) -> None:
    with pytest.raises(ModelHTTPError) as refused:
        await Agent(pydantic_ai_model("some-99")).run(ECHO)
    assert refused.value.status_code == 400
    assert "unknown_model" in str(refused.value.body)
    assert home.billed() == []


@pytest.fixture(params=["chat", "responses"])
def agents_model(
    openai_client: AsyncOpenAI, request: pytest.FixtureRequest
) -> Callable[[str], agents.Model]:
    agents.set_tracing_disabled(True)
    if request.param == "chat":
        return lambda name: agents.OpenAIChatCompletionsModel(name, openai_client)
    return lambda name: agents.OpenAIResponsesModel(name, openai_client)


Spoken = Callable[[str], agents.Model]


async def test_an_openai_agent_answers_plainly(home: House, agents_model: Spoken) -> None:
    agent = agents.Agent(name="greeter", model=agents_model("tierwise/worker"))
    result = await agents.Runner.run(agent, ECHO)
    assert result.final_output == f"You said: {ECHO}"
    check_bills(home, "worker")


async def test_an_openai_agent_streams(home: House, agents_model: Spoken) -> None:
    agent = agents.Agent(name="greeter", model=agents_model("tierwise/planner"))
    result = agents.Runner.run_streamed(agent, ECHO)
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert result.final_output == f"You said: {ECHO}"
    check_bills(home, "planner")


async def test_an_openai_agent_calls_its_tool(home: House, agents_model: Spoken) -> None:
    agent = agents.Agent(
        name="weather",
        model=agents_model("tierwise/worker"),
        tools=[agents.function_tool(get_weather)],
    )
    result = await agents.Runner.run(agent, ASK_WEATHER)
    assert result.final_output == "The tool says: 21 degrees in Lyon"
    check_bills(home, "worker", count=2)


async def test_an_openai_agent_parses_structured_output(home: House, agents_model: Spoken) -> None:
    agent = agents.Agent(name="reader", model=agents_model("tierwise/planner"), output_type=Ticket)
    result = await agents.Runner.run(agent, EXTRACT)
    assert isinstance(result.final_output, Ticket)
    check_bills(home, "planner")


async def test_an_openai_agent_hears_of_our_error(home: House, agents_model: Spoken) -> None:
    agent = agents.Agent(name="lost", model=agents_model("gpt-99"))
    with pytest.raises(openai.BadRequestError) as refused:
        await agents.Runner.run(agent, ECHO)
    assert refused.value.code == "unknown_model"
    assert home.billed() == []
