"""langchain-openai, pydantic-ai and openai-agents against a running gateway."""

from collections.abc import AsyncIterator
from typing import Any

import agents
import pytest
from anthropic import AsyncAnthropic
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.bills import check_bills
from tests.harness import House

ECHO = "Greet the reader of this line"
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
    answer = model.invoke("Extract order_id: <mail>Order ID: DE-482913</mail>")
    assert isinstance(answer, Ticket)
    check_bills(home, "planner")


async def test_pydantic_ai_calls_a_tool_over_openais_dialect(
    home: House, openai_client: AsyncOpenAI
) -> None:
    model = OpenAIChatModel("tierwise/worker", provider=OpenAIProvider(openai_client=openai_client))
    result = await Agent(model, tools=[get_weather]).run(ASK_WEATHER)
    assert result.output == "The tool says: 21 degrees in Lyon"
    attempts = check_bills(home, "worker", count=2)
    assert result.usage.input_tokens == sum(attempt.tokens.input or 0 for attempt in attempts)


async def test_pydantic_ai_streams_over_openais_dialect(
    home: House, openai_client: AsyncOpenAI
) -> None:
    model = OpenAIChatModel(
        "tierwise/planner", provider=OpenAIProvider(openai_client=openai_client)
    )
    async with Agent(model).run_stream(ECHO) as result:
        assert await result.get_output() == f"You said: {ECHO}"
    check_bills(home, "planner")


async def test_pydantic_ai_calls_a_tool_over_anthropics_dialect(home: House) -> None:
    async with AsyncAnthropic(base_url=home.gateway.origin, api_key="any", max_retries=0) as client:
        model = AnthropicModel(
            "claude-tierwise-worker", provider=AnthropicProvider(anthropic_client=client)
        )
        result = await Agent(model, tools=[get_weather]).run(ASK_WEATHER)
    assert result.output == "The tool says: 21 degrees in Lyon"
    check_bills(home, "worker", count=2)


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_an_openai_agent_calls_its_tool(
    home: House, openai_client: AsyncOpenAI, dialect: str
) -> None:
    agents.set_tracing_disabled(True)
    model: agents.Model
    if dialect == "chat":
        model = agents.OpenAIChatCompletionsModel("tierwise/worker", openai_client)
    else:
        model = agents.OpenAIResponsesModel("tierwise/worker", openai_client)
    agent = agents.Agent(name="weather", model=model, tools=[agents.function_tool(get_weather)])
    result = await agents.Runner.run(agent, ASK_WEATHER)
    assert result.final_output == "The tool says: 21 degrees in Lyon"
    check_bills(home, "worker", count=2)
    assert {decision.context.dialect.value for decision, _ in home.recorded(2)} == {dialect}
