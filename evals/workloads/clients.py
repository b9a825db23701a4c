"""The official clients, each behind one method; they are imported when first used."""

import asyncio
import importlib
import json
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, Protocol

from evals.workloads.steps import Call, Said
from telemetry.errors import TierwiseError

SECONDS_MAX = 60.0
HEADER_PREFIX = "x-tierwise-"

# What is sent, for those who want to send it again: path below the base URL and body.
Recorder = Callable[[str, dict[str, Any]], None]


class Asker(Protocol):
    """Makes model calls against one base URL."""

    async def ask(self, call: Call) -> Said:
        """Return the answer; an error of the other side is a ``Said`` with ``error``."""
        ...

    async def close(self) -> None:
        """Give its connections back."""
        ...


class MissingClient(TierwiseError):
    """A client library of the demo extra is not installed."""


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingClient(
            f"the package {name!r} is not installed",
            hint="install the demo extra: pip install 'tierwise[demo]'",
        ) from error


def load() -> None:
    """Import both client libraries, which takes seconds; safe in a thread.

    Raises:
        MissingClient: when one is not installed.
    """
    for name in ("openai", "anthropic"):
        _library(name)


def _headers(call: Call) -> dict[str, str]:
    headers = {
        f"{HEADER_PREFIX}role": call.role,
        f"{HEADER_PREFIX}session": call.session,
        f"{HEADER_PREFIX}mode": call.mode,
    }
    if call.plan is not None:
        headers[f"{HEADER_PREFIX}plan"] = call.plan
    return headers


def _ours(headers: Any) -> dict[str, str]:
    return {
        name.lower().removeprefix(HEADER_PREFIX): value
        for name, value in headers.items()
        if name.lower().startswith(HEADER_PREFIX)
    }


class OpenAIAsker:
    """Speaks OpenAI chat, and Responses where no tool, schema or stream is wanted.

    It names the role by header and asks for ``tierwise/auto``, or for one fixed ``model``.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "demo",
        model: str | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._library = _library("openai")
        self._client = self._library.AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=SECONDS_MAX
        )
        self._model = model or "tierwise/auto"
        self._recorder = recorder

    async def ask(self, call: Call) -> Said:
        if call.schema is None and call.tool is None and not call.stream:
            return await _caught(self._respond(call), self._library.APIError)
        return await _caught(self._complete(call), self._library.APIError)

    async def close(self) -> None:
        await self._client.close()

    async def _respond(self, call: Call) -> Said:
        body: dict[str, Any] = {
            "model": self._model,
            "instructions": call.system,
            "input": call.user,
            "max_output_tokens": call.output_tokens_max,
        }
        self._record("responses", body)
        raw = await self._client.responses.with_raw_response.create(
            **body, extra_headers=_headers(call)
        )
        answer = raw.parse()
        return Said(
            text=answer.output_text,
            model=answer.model,
            input_tokens=answer.usage.input_tokens if answer.usage else None,
            output_tokens=answer.usage.output_tokens if answer.usage else None,
            headers=_ours(raw.headers),
        )

    async def _complete(self, call: Call) -> Said:
        body = _chat_body(call, self._model)
        self._record("chat/completions", body)
        create = self._client.chat.completions.with_raw_response.create
        raw = await create(**body, extra_headers=_headers(call))
        if call.stream:
            return await _chat_stream(raw)
        answer = raw.parse()
        message = answer.choices[0].message
        used = message.tool_calls[0].function if message.tool_calls else None
        return Said(
            text=used.arguments if used else message.content or "",
            tool=used.name if used else None,
            model=answer.model,
            input_tokens=answer.usage.prompt_tokens if answer.usage else None,
            output_tokens=answer.usage.completion_tokens if answer.usage else None,
            headers=_ours(raw.headers),
        )

    def _record(self, path: str, body: dict[str, Any]) -> None:
        if self._recorder is not None:
            self._recorder(path, body)


def _chat_body(call: Call, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": call.system},
            {"role": "user", "content": call.user},
        ],
        "max_completion_tokens": call.output_tokens_max,
    }
    if call.schema is not None:
        form = {"name": call.step, "schema": dict(call.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if call.tool is not None:
        function = {
            "name": call.tool["name"],
            "description": call.tool["description"],
            "parameters": call.tool["schema"],
        }
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = "required"
    if call.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def _chat_stream(raw: Any) -> Said:
    texts: list[str] = []
    model = usage = None
    async for chunk in raw.parse():
        model, usage = chunk.model or model, chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            texts.append(chunk.choices[0].delta.content)
    return Said(
        text="".join(texts),
        model=model,
        input_tokens=usage.prompt_tokens if usage else None,
        output_tokens=usage.completion_tokens if usage else None,
        headers=_ours(raw.headers),
    )


class AnthropicAsker:
    """Speaks Anthropic Messages.

    It names the role by the model alias ``tierwise/<role>``, or asks for one fixed ``model``.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "demo",
        model: str | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._library = _library("anthropic")
        self._client = self._library.AsyncAnthropic(
            base_url=base_url.removesuffix("/v1"),  # this client adds /v1 itself
            api_key=api_key,
            max_retries=0,
            timeout=SECONDS_MAX,
        )
        self._model = model
        self._recorder = recorder

    async def ask(self, call: Call) -> Said:
        return await _caught(self._message(call), self._library.APIError)

    async def close(self) -> None:
        await self._client.close()

    async def _message(self, call: Call) -> Said:
        body = _messages_body(call, self._model or f"tierwise/{call.role}")
        if self._recorder is not None:
            self._recorder("messages", body)
        headers = _headers(call)
        if self._model is None:
            del headers[f"{HEADER_PREFIX}role"]  # the alias says it
        create = self._client.messages.with_raw_response.create
        raw = await create(**body, extra_headers=headers)
        if call.stream:
            return await _messages_stream(raw)
        answer = await raw.parse()
        used = next((block for block in answer.content if block.type == "tool_use"), None)
        texts = [block.text for block in answer.content if block.type == "text"]
        return Said(
            text=json.dumps(used.input) if used else "".join(texts),
            tool=used.name if used else None,
            model=answer.model,
            input_tokens=_input_tokens(answer.usage),
            output_tokens=answer.usage.output_tokens,
            headers=_ours(raw.headers),
        )


def _messages_body(call: Call, model: str) -> dict[str, Any]:
    system: Any = call.system
    if call.cache_system:
        system = [{"type": "text", "text": call.system, "cache_control": {"type": "ephemeral"}}]
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": call.output_tokens_max,
        "system": system,
        "messages": [{"role": "user", "content": call.user}],
    }
    if call.schema is not None:
        form = {"type": "json_schema", "schema": dict(call.schema)}
        body["output_config"] = {"format": form}
    if call.tool is not None:
        tool = {
            "name": call.tool["name"],
            "description": call.tool["description"],
            "input_schema": call.tool["schema"],
        }
        body |= {"tools": [tool], "tool_choice": {"type": "any"}}
    if call.stream:
        body["stream"] = True
    return body


async def _messages_stream(raw: Any) -> Said:
    texts: list[str] = []
    model = first = last = None
    async for event in await raw.parse():
        if event.type == "message_start":
            model, first = event.message.model, event.message.usage
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            texts.append(event.delta.text)
        elif event.type == "message_delta":
            last = event.usage
    return Said(
        text="".join(texts),
        model=model,
        input_tokens=_input_tokens(first) if first else None,
        output_tokens=last.output_tokens if last else None,
        headers=_ours(raw.headers),
    )


def _input_tokens(usage: Any) -> int:
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return int(usage.input_tokens + cached)


async def _caught(asking: Awaitable[Said], kind: type[Exception]) -> Said:
    """Return the answer, or what the other side said instead of one."""
    try:
        # Not wait_for: before Python 3.12 it forgets a cancellation that comes with the answer.
        async with asyncio.timeout(SECONDS_MAX):
            return await asking
    except kind as error:
        answer = getattr(error, "response", None)
        headers = _ours(answer.headers) if answer is not None else {}
        return Said(text="", headers=headers, error=f"{type(error).__name__}: {error}")
    except TimeoutError:
        return Said(text="", error=f"no answer within {SECONDS_MAX:.0f} s")
