"""The official clients are satisfied by the stand-in, with no gateway between."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from evals.standin.running import StandinProcess

KEY = "standin-test-key"
WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "", "parameters": WEATHER_SCHEMA},
}
RESPONSES_TOOL: Any = {
    "type": "function", "name": "get_weather", "strict": False, "parameters": WEATHER_SCHEMA,
}  # fmt: skip
MESSAGES_TOOL: Any = {"name": "get_weather", "input_schema": WEATHER_SCHEMA}
ASK_WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
HELLO: Any = [{"role": "user", "content": "Grüße, 世界 🌍"}]
ECHO = "You said: Grüße, 世界 🌍"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
    "Jggg=="
)
DOCUMENT = "Extract as JSON with the keys order_id and email.\n<ticket>DE-123456, a@b.org</ticket>"


class Order(BaseModel):
    order_id: str
    email: str


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    with StandinProcess.start(keys=(KEY,)) as process:
        process.change_skills({name: {"right": 1} for name in MODELS})
        yield process


MODELS = ("standin-small", "standin-mid", "standin-frontier")


@pytest.fixture
def oai(standin: StandinProcess) -> Iterator[openai.OpenAI]:
    standin.reset_ledger()
    with openai.OpenAI(base_url=standin.base_url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def ant(standin: StandinProcess) -> Iterator[anthropic.Anthropic]:
    standin.reset_ledger()
    with anthropic.Anthropic(base_url=standin.origin, api_key=KEY, max_retries=0) as client:
        yield client


def billed(standin: StandinProcess) -> dict[str, Any]:
    entries = standin.ledger()["entries"]
    assert len(entries) == 1
    entry = entries[0]
    assert isinstance(entry, dict)
    return entry


def test_a_chat_answer_is_whole_and_billed(oai: openai.OpenAI, standin: StandinProcess) -> None:
    answer = oai.chat.completions.create(model="standin-small", messages=HELLO)
    assert answer.choices[0].message.content == ECHO
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "standin-small-2026-08-01"
    entry = billed(standin)
    assert answer.usage is not None
    assert entry["response_id"] == answer.id
    assert (entry["input"], entry["output"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert entry["finished"] is True


def test_chat_streams_carry_usage_only_when_asked(oai: openai.OpenAI) -> None:
    plain = list(oai.chat.completions.create(model="standin-mid", messages=HELLO, stream=True))
    asked = list(
        oai.chat.completions.create(
            model="standin-mid", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert all(chunk.usage is None and chunk.choices for chunk in plain)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in plain) == ECHO
    assert [chunk.usage is not None for chunk in asked] == [False] * len(plain) + [True]
    assert asked[-1].choices == []


def test_chat_tools_are_called_and_their_results_read(oai: openai.OpenAI) -> None:
    first = oai.chat.completions.create(
        model="standin-mid", messages=ASK_WEATHER, tools=[CHAT_TOOL]
    )
    call = first.choices[0].message.tool_calls
    assert call is not None
    assert call[0].type == "function"
    assert json.loads(call[0].function.arguments) == {"city": "Paris"}
    assert first.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call[0].id, "content": "17 degrees"}
    history: Any = [*ASK_WEATHER, first.choices[0].message.model_dump(exclude_none=True), result]
    second = oai.chat.completions.create(model="standin-mid", messages=history, tools=[CHAT_TOOL])
    assert second.choices[0].message.content == "The tool says: 17 degrees"


def test_the_chat_stream_helper_assembles_tool_arguments(oai: openai.OpenAI) -> None:
    with oai.chat.completions.stream(
        model="standin-mid", messages=ASK_WEATHER, tools=[CHAT_TOOL]
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
    assert kinds.count("tool_calls.function.arguments.delta") > 1


def test_chat_parse_returns_the_type(oai: openai.OpenAI) -> None:
    answer = oai.chat.completions.parse(
        model="standin-mid", messages=[{"role": "user", "content": DOCUMENT}], response_format=Order
    )
    assert answer.choices[0].message.parsed == Order(order_id="DE-123456", email="a@b.org")


def test_images_are_accepted_and_counted(oai: openai.OpenAI, ant: anthropic.Anthropic) -> None:
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    words = {"type": "text", "text": "what is this?"}
    content: Any = [{"role": "user", "content": [words, url]}]
    chat = oai.chat.completions.create(model="standin-mid", messages=content)
    block = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"role": "user", "content": [words, {"type": "image", "source": block}]}]
    message = ant.messages.create(model="standin-mid", max_tokens=64, messages=content)
    assert chat.usage is not None
    # Four tokens of text, three around the message, 258 for the image.
    assert chat.usage.prompt_tokens == message.usage.input_tokens == 4 + 3 + 258


def test_a_limit_on_output_cuts_every_dialect_short(
    oai: openai.OpenAI, ant: anthropic.Anthropic
) -> None:
    chat = oai.chat.completions.create(model="standin-mid", messages=HELLO, max_tokens=2)
    response = oai.responses.create(
        model="standin-mid", input="Grüße, 世界 🌍", max_output_tokens=2
    )
    message = ant.messages.create(model="standin-mid", max_tokens=2, messages=HELLO)
    assert chat.choices[0].finish_reason == "length"
    assert chat.choices[0].message.content == response.output_text == "You said"
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert message.stop_reason == "max_tokens"


def test_a_response_is_whole_and_reasoning_is_part_of_its_output(
    oai: openai.OpenAI, standin: StandinProcess
) -> None:
    rules = "Decide. Answer as JSON.\n- if status is lost then replace\n- otherwise refund"
    answer = oai.responses.create(
        model="standin-frontier",
        input=f"{rules}\n<order>status: lost</order>",
        reasoning={"effort": "low"},
    )
    assert json.loads(answer.output_text)["action"] == "replace"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 150  # half of 300
    assert answer.usage.output_tokens > 150
    assert billed(standin)["reasoning"] == 150


def test_the_responses_stream_helper_sees_created_deltas_and_completed(oai: openai.OpenAI) -> None:
    with oai.responses.stream(model="standin-mid", input="Grüße, 世界 🌍") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == ECHO


def test_responses_call_tools_and_parse(oai: openai.OpenAI) -> None:
    tools: Any = [RESPONSES_TOOL]
    stream = oai.responses.create(
        model="standin-mid", input="What is the weather in Paris?", tools=tools, stream=True
    )
    done = [e for e in stream if e.type == "response.function_call_arguments.done"]
    assert json.loads(done[0].arguments) == {"city": "Paris"}
    parsed = oai.responses.parse(model="standin-mid", input=DOCUMENT, text_format=Order)
    assert parsed.output_parsed == Order(order_id="DE-123456", email="a@b.org")


def test_a_message_is_whole_and_billed(ant: anthropic.Anthropic, standin: StandinProcess) -> None:
    answer = ant.messages.create(model="standin-small", max_tokens=64, messages=HELLO)
    assert answer.content[0].type == "text"
    assert answer.content[0].text == ECHO
    assert (answer.stop_reason, answer.model) == ("end_turn", "standin-small-2026-08-01")
    assert billed(standin)["output"] == answer.usage.output_tokens


def test_the_messages_stream_helper_assembles_text_tools_and_thinking(
    ant: anthropic.Anthropic,
) -> None:
    with ant.messages.stream(model="standin-mid", max_tokens=64, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == ECHO
    with ant.messages.stream(
        model="standin-mid",
        max_tokens=64,
        messages=ASK_WEATHER,
        tools=[MESSAGES_TOOL],
    ) as stream:
        called = stream.get_final_message()
    assert called.content[0].type == "tool_use"
    assert called.content[0].input == {"city": "Paris"}
    assert called.stop_reason == "tool_use"
    plan: Any = [
        {"role": "user", "content": "Plan.\n<operations>\n- b needs a\n- a\n</operations>"}
    ]
    with ant.messages.stream(
        model="standin-frontier",
        max_tokens=4_096,
        messages=plan,
        thinking={"type": "enabled", "budget_tokens": 2_048},
    ) as stream:
        thought = stream.get_final_message()
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.usage.output_tokens > 600


def test_messages_parse_and_count(ant: anthropic.Anthropic) -> None:
    ask: Any = [{"role": "user", "content": DOCUMENT}]
    parsed = ant.messages.parse(
        model="standin-mid", max_tokens=256, messages=ask, output_format=Order
    )
    assert parsed.parsed_output == Order(order_id="DE-123456", email="a@b.org")
    counted = ant.messages.count_tokens(model="standin-mid", messages=ask)
    plain = ant.messages.create(model="standin-mid", max_tokens=256, messages=ask)
    assert counted.input_tokens == plain.usage.input_tokens


def test_a_marked_prefix_is_written_once_and_read_afterwards(ant: anthropic.Anthropic) -> None:
    handbook = "The rules of the house are these. " * 300
    system: Any = [{"type": "text", "text": handbook, "cache_control": {"type": "ephemeral"}}]
    first, second = (
        ant.messages.create(model="standin-mid", max_tokens=64, system=system, messages=HELLO).usage
        for _ in range(2)
    )
    assert first.cache_creation_input_tokens is not None
    assert first.cache_creation_input_tokens >= 1_024
    assert first.cache_creation_input_tokens % 128 == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == first.cache_read_input_tokens == 0
    assert second.input_tokens == first.input_tokens  # cached tokens stand outside


def test_a_long_chat_prefix_is_cached_inside_the_prompt_tokens(oai: openai.OpenAI) -> None:
    rules: Any = {"role": "system", "content": "The rules of this other house are long. " * 300}
    first, second = (
        oai.chat.completions.create(model="standin-mid", messages=[rules, *HELLO]).usage
        for _ in range(2)
    )
    assert first is not None
    assert second is not None
    assert first.prompt_tokens == second.prompt_tokens
    assert first.prompt_tokens_details is not None
    assert second.prompt_tokens_details is not None
    assert first.prompt_tokens_details.cached_tokens == 0
    assert 1_024 <= (second.prompt_tokens_details.cached_tokens or 0) < second.prompt_tokens


def test_embeddings_depend_on_the_text_alone(oai: openai.OpenAI) -> None:
    answer = oai.embeddings.create(model="standin-embedding", input=["one", "two", "one"])
    first, second, again = (row.embedding for row in answer.data)
    assert first == again != second
    assert sum(value * value for value in first) == pytest.approx(1.0)


def test_models_are_listed_for_both_clients(oai: openai.OpenAI, ant: anthropic.Anthropic) -> None:
    assert {*MODELS} < {model.id for model in oai.models.list()}
    assert {*MODELS} < {model.id for model in ant.models.list()}


@pytest.mark.parametrize(
    ("model", "openai_error", "anthropic_error"),
    [
        ("gpt-unknown", openai.NotFoundError, anthropic.NotFoundError),
        ("standin-status-429", openai.RateLimitError, anthropic.RateLimitError),
        ("standin-status-500", openai.InternalServerError, anthropic.InternalServerError),
        ("standin-status-529", openai.InternalServerError, anthropic.InternalServerError),
    ],
)
def test_errors_arrive_as_each_clients_own_type(
    oai: openai.OpenAI,
    ant: anthropic.Anthropic,
    model: str,
    openai_error: type[Exception],
    anthropic_error: type[Exception],
) -> None:
    with pytest.raises(openai_error):
        oai.chat.completions.create(model=model, messages=HELLO)
    with pytest.raises(openai_error):
        oai.responses.create(model=model, input="x")
    with pytest.raises(anthropic_error):
        ant.messages.create(model=model, max_tokens=8, messages=HELLO)


def test_a_wrong_key_and_a_bad_body_are_refused(
    oai: openai.OpenAI, ant: anthropic.Anthropic, standin: StandinProcess
) -> None:
    with pytest.raises(openai.AuthenticationError):
        oai.with_options(api_key="wrong").chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(anthropic.AuthenticationError):
        ant.with_options(api_key="wrong").messages.create(model="m", max_tokens=8, messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        oai.chat.completions.create(model="standin-mid", messages=[])
    assert all(entry["input"] == 0 for entry in standin.ledger()["entries"])


async def test_the_async_clients_work_as_well(standin: StandinProcess) -> None:
    async with openai.AsyncOpenAI(base_url=standin.base_url, api_key=KEY) as client:
        texts = [
            chunk.choices[0].delta.content or ""
            async for chunk in await client.chat.completions.create(
                model="standin-mid", messages=HELLO, stream=True
            )
        ]
    async with (
        anthropic.AsyncAnthropic(base_url=standin.origin, api_key=KEY) as client2,
        client2.messages.stream(model="standin-mid", max_tokens=64, messages=HELLO) as stream,
    ):
        said = await stream.get_final_text()
    assert "".join(texts) == said == ECHO
