"""Errors of providers and of ours, as the exception classes of the official clients."""

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests import streams, wire
from tests.harness import POLICY, House, config_for, house, running

RELAYED = (400, 404, 422, 429, 500, 503)
DENIED = (401, 403)  # of the gateway's own key: not the caller's affair
STATUSES = (*RELAYED, *DENIED)
OPENAI = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}
ANTHROPIC = {
    400: anthropic.BadRequestError,
    404: anthropic.NotFoundError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    503: anthropic.InternalServerError,
}
LADDER = "\n".join(
    f"""
[tiers.always{status}]
models = ["standin/standin-status-{status}"]
[roles.always{status}]
tier = "always{status}"
on_fail = "accept"
range = ["always{status}", "always{status}"]
"""
    for status in STATUSES
)
NAMES = ", ".join(f'"always{status}"' for status in STATUSES)
STATUS_POLICY = POLICY.replace(b'"frontier"]', f'"frontier", {NAMES}]'.encode(), 1)
PRICES = "\n".join(
    f'[prices."standin/standin-status-{status}"]\ninput = 1\noutput = 1' for status in STATUSES
)
KEYS = '[[keys]]\nname = "support"\nkey_env = "KEY"\n'
KEY = "tw-client-0123456789abcdef"
ASK: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def failing_house() -> Iterator[House]:
    policy = STATUS_POLICY + LADDER.encode()
    with house(policy, extra=PRICES + "\n" + KEYS, environment={"KEY": KEY}) as found:
        yield found


@pytest.fixture
def failing(failing_house: House) -> House:
    failing_house.mark()
    return failing_house


@pytest.mark.parametrize("status", RELAYED)
def test_openais_client_raises_the_class_of_the_providers_status(
    failing: House, status: int
) -> None:
    base_url = failing.gateway.base_url
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(OPENAI[status]) as refused:
            client.chat.completions.create(model=f"tierwise/always{status}", messages=ASK)
        assert refused.value.status_code == status
        assert refused.value.response.headers["x-tierwise-role"] == f"always{status}"
        ((_, outcome),) = failing.recorded()
        assert outcome.status == status
        assert outcome.cost_usd == 0.0


@pytest.mark.parametrize("status", RELAYED)
def test_anthropics_client_raises_the_class_of_the_providers_status(
    failing: House, status: int
) -> None:
    origin = failing.gateway.origin
    with anthropic.Anthropic(base_url=origin, api_key=KEY, max_retries=0) as client:
        with pytest.raises(ANTHROPIC[status]) as refused:
            client.messages.create(model=f"tierwise/always{status}", max_tokens=9, messages=ASK)
        assert refused.value.status_code == status
        ((_, outcome),) = failing.recorded()
        assert outcome.status == status


@pytest.mark.parametrize("status", DENIED)
def test_a_refusal_of_our_own_key_is_no_authentication_error_of_the_callers(
    failing: House, status: int
) -> None:
    with (
        openai.OpenAI(base_url=failing.gateway.base_url, api_key=KEY, max_retries=0) as first,
        pytest.raises(openai.InternalServerError) as refused,
    ):
        first.chat.completions.create(model=f"tierwise/always{status}", messages=ASK)
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_denied")
    with (
        anthropic.Anthropic(base_url=failing.gateway.origin, api_key=KEY, max_retries=0) as second,
        pytest.raises(anthropic.InternalServerError) as declined,
    ):
        second.messages.create(model=f"tierwise/always{status}", max_tokens=9, messages=ASK)
    assert declined.value.status_code == 502
    assert [outcome.error_code for _, outcome in failing.recorded(2)] == ["upstream_denied"] * 2


def test_a_wrong_key_is_an_authentication_error_in_both(failing: House) -> None:
    with (
        openai.OpenAI(base_url=failing.gateway.base_url, api_key="wrong", max_retries=0) as first,
        pytest.raises(openai.AuthenticationError),
    ):
        first.chat.completions.create(model="tierwise/worker", messages=ASK)
    with (
        anthropic.Anthropic(
            base_url=failing.gateway.origin, api_key="wrong", max_retries=0
        ) as second,
        pytest.raises(anthropic.AuthenticationError),
    ):
        second.messages.create(model="tierwise/worker", max_tokens=9, messages=ASK)
    assert failing.billed() == []


def breaking(sent: bytes) -> wire.Serve:
    """Return a provider that hangs up in the middle of its stream."""

    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.STREAM_HEAD + wire.chunk(sent[: sent.index(b"\n\n", 700) + 2]))
        await writer.drain()
        writer.close()

    return serve


async def test_openais_client_hears_of_a_chat_stream_that_broke() -> None:
    async with (
        wire.provider(breaking(streams.chat())) as upstream,
        running(config_for(upstream.port)) as at,
        openai.AsyncOpenAI(base_url=at.base_url, api_key="any", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="tierwise/planner", messages=ASK, stream=True
        )
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [chunk async for chunk in stream]
        ((_, outcome),) = at.kept.wait(1)
    assert outcome.attempts[0].error_type == "upstream_error"


async def test_openais_client_hears_of_a_response_that_broke() -> None:
    async with (
        wire.provider(breaking(streams.responses())) as upstream,
        running(config_for(upstream.port)) as at,
        openai.AsyncOpenAI(base_url=at.base_url, api_key="any", max_retries=0) as client,
    ):
        stream = await client.responses.create(model="tierwise/planner", input="Hi", stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "error"
    assert events[-1].code == "upstream_broken"


async def test_anthropics_client_hears_of_a_message_that_broke() -> None:
    async with (
        wire.provider(breaking(streams.messages())) as upstream,
        running(config_for(upstream.port)) as at,
        anthropic.AsyncAnthropic(base_url=at.origin, api_key="any", max_retries=0) as client,
    ):
        stream = await client.messages.create(
            model="tierwise/planner", max_tokens=9, messages=ASK, stream=True
        )
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            _ = [event async for event in stream]
