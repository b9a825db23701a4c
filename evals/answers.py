"""One answer, the same record whichever dialect it was spoken in.

A provider's odd answer never raises: unknown items are left out, ``text`` is what could be read
and ``malformed`` says what could not. Streams are put together in ``evals/assembly.py``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from evals.steps import Step, text_of
from telemetry.records import Dialect

TOOL_CALLS_MAX: Final = 512
LOGPROBS_MAX: Final = 65_536


class Finish(StrEnum):
    """Why an answer ended, in one vocabulary."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"  # a length limit, or the stream broke off
    REFUSED = "refused"  # the provider says refusal or content filter
    TOOL_USE = "tool_use"  # the caller is to run a tool
    PAUSED = "paused"  # the caller is to send it back and let it go on
    FAILED = "failed"  # the provider reports an error
    UNKNOWN = "unknown"  # no reason, or one we do not know


class ToolCall(NamedTuple):
    """One call of a tool that the caller runs."""

    name: str
    arguments: str  # JSON text; free text when ``custom``
    id: str = ""
    custom: bool = False  # a tool that takes free text instead of JSON arguments


class TokenLogprob(NamedTuple):
    """One output token and the natural logarithm of its probability."""

    token: str
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model, or a code function, answered to a step."""

    step: Step
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = Finish.UNKNOWN
    finish_raw: str | None = None  # the provider's word
    refusal: str | None = None  # the refusal's text, where the dialect tells it apart
    logprobs: tuple[TokenLogprob, ...] | None = None
    malformed: str | None = None  # what could not be read; None when all could


def read_answer(body: bytes, step: Step) -> Answer:
    """Return the answer in a whole response body; never raises, see ``Answer.malformed``.

    With several choices the first one counts.
    """
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Answer(step=step, malformed=f"the body is not JSON: {type(error).__name__}")
    if not isinstance(parsed, dict):
        return Answer(step=step, malformed="the body is not a JSON object")
    return read_object(parsed, step)


def read_object(body: Mapping[str, Any], step: Step) -> Answer:
    """Return the answer in a parsed response body."""
    if isinstance(body.get("error"), dict):
        return Answer(step=step, finish=Finish.FAILED, finish_raw=word(body["error"].get("type")))
    match step.dialect:
        case Dialect.CHAT:
            return _chat(body, step)
        case Dialect.RESPONSES:
            return _responses(body, step)
        case Dialect.MESSAGES:
            return _messages(body, step)
        case _:
            return Answer(step=step, malformed=f"the dialect {step.dialect} has no answer text")


CHAT_FINISH: Final = {
    "stop": Finish.COMPLETE,
    "length": Finish.TRUNCATED,
    "content_filter": Finish.REFUSED,
    "tool_calls": Finish.TOOL_USE,
    "function_call": Finish.TOOL_USE,
}
MESSAGES_FINISH: Final = {
    "end_turn": Finish.COMPLETE,
    "stop_sequence": Finish.COMPLETE,
    "max_tokens": Finish.TRUNCATED,
    "model_context_window_exceeded": Finish.TRUNCATED,
    "tool_use": Finish.TOOL_USE,
    "pause_turn": Finish.PAUSED,
    "refusal": Finish.REFUSED,
}
RESPONSES_FINISH: Final = {
    "completed": Finish.COMPLETE,
    "max_output_tokens": Finish.TRUNCATED,
    "content_filter": Finish.REFUSED,
    "incomplete": Finish.TRUNCATED,
    "failed": Finish.FAILED,
    "cancelled": Finish.TRUNCATED,
}


def word(value: Any) -> str | None:
    """Return a provider's short word; None when it is no word."""
    return value[:256] if isinstance(value, str) and value else None


def objects(value: Any) -> Iterable[dict[str, Any]]:
    """Return the objects of a list; other items, and other values, are left out."""
    if not isinstance(value, list):
        return ()
    return [item for item in value if isinstance(item, dict)]


def _chat(body: Mapping[str, Any], step: Step) -> Answer:
    choice = next((c for c in objects(body.get("choices")) if c.get("index", 0) == 0), None)
    if choice is None or not isinstance(message := choice.get("message"), dict):
        return Answer(step=step, malformed="no choice holds a message")
    reason = word(choice.get("finish_reason"))
    refusal = message.get("refusal")
    calls = [call for item in objects(message.get("tool_calls")) if (call := chat_call(item))]
    if isinstance(message.get("function_call"), dict):
        calls.extend(call for call in [chat_call({"function": message["function_call"]})] if call)
    return Answer(
        step=step,
        text=text_of(message.get("content")),
        tool_calls=tuple(calls[:TOOL_CALLS_MAX]),
        finish=CHAT_FINISH.get(reason or "", Finish.UNKNOWN),
        finish_raw=reason,
        refusal=refusal if isinstance(refusal, str) and refusal else None,
        logprobs=_logprobs(choice.get("logprobs")),
    )


def chat_call(item: Mapping[str, Any]) -> ToolCall | None:
    """Return one entry of a chat message's ``tool_calls``; None when it names no tool."""
    inner = item.get("function")
    custom = inner is None and isinstance(item.get("custom"), dict)
    if custom:
        inner = item["custom"]
    if not isinstance(inner, dict) or not (name := word(inner.get("name"))):
        return None
    return ToolCall(
        name=name,
        arguments=arguments_text(inner.get("input" if custom else "arguments")),
        id=word(item.get("id")) or "",
        custom=custom,
    )


def arguments_text(value: Any) -> str:
    """Return tool arguments as JSON text; some servers send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _logprobs(value: Any) -> tuple[TokenLogprob, ...] | None:
    return logprobs_of(value.get("content")) if isinstance(value, dict) else None


def logprobs_of(value: Any) -> tuple[TokenLogprob, ...] | None:
    """Return a list of token logprobs; None when it is absent or empty."""
    found = [
        TokenLogprob(item["token"], float(item["logprob"]))
        for item in objects(value)
        if isinstance(item.get("token"), str) and isinstance(item.get("logprob"), int | float)
    ]
    return tuple(found[:LOGPROBS_MAX]) or None


def _responses(body: Mapping[str, Any], step: Step) -> Answer:
    if not isinstance(body.get("output"), list):
        return Answer(step=step, malformed="no output list")
    text: list[str] = []
    refusals: list[str] = []
    calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    for item in objects(body["output"]):
        if call := responses_call(item):
            calls.append(call)
        if item.get("type") != "message":
            continue
        for part in objects(item.get("content")):
            if isinstance(part.get("text"), str):
                text.append(part["text"])
                logprobs.extend(logprobs_of(part.get("logprobs")) or ())
            elif isinstance(part.get("refusal"), str):
                refusals.append(part["refusal"])
    finish, raw = responses_finish(body, has_calls=bool(calls))
    return Answer(
        step=step,
        text="".join(text),
        tool_calls=tuple(calls[:TOOL_CALLS_MAX]),
        finish=finish,
        finish_raw=raw,
        refusal="".join(refusals) or None,
        logprobs=tuple(logprobs[:LOGPROBS_MAX]) or None,
    )


def responses_call(item: Mapping[str, Any]) -> ToolCall | None:
    """Return one output item as a tool call; None when it is something else."""
    custom = item.get("type") == "custom_tool_call"
    name = word(item.get("name"))
    if not name or not (custom or item.get("type") == "function_call"):
        return None
    return ToolCall(
        name=name,
        arguments=arguments_text(item.get("input" if custom else "arguments")),
        id=word(item.get("call_id")) or "",
        custom=custom,
    )


def responses_finish(body: Mapping[str, Any], *, has_calls: bool) -> tuple[Finish, str | None]:
    """Return why a response object says it ended, and the provider's own word for it."""
    status = word(body.get("status"))
    details = body.get("incomplete_details")
    raw = word(details.get("reason")) if isinstance(details, dict) else None
    finish = RESPONSES_FINISH.get(raw or status or "", Finish.UNKNOWN)
    if raw and finish is Finish.UNKNOWN and status == "incomplete":
        finish = Finish.TRUNCATED
    if finish is Finish.COMPLETE and has_calls:
        finish = Finish.TOOL_USE
    return finish, raw or status


def _messages(body: Mapping[str, Any], step: Step) -> Answer:
    if not isinstance(body.get("content"), list):
        return Answer(step=step, malformed="no content list")
    reason = word(body.get("stop_reason"))
    blocks = objects(body["content"])
    calls = [
        ToolCall(
            name=word(block.get("name")) or "",
            arguments=arguments_text(block.get("input")),
            id=word(block.get("id")) or "",
        )
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    return Answer(
        step=step,
        text="".join(
            block["text"]
            for block in blocks
            if block.get("type") == "text" and isinstance(block.get("text"), str)
        ),
        tool_calls=tuple(calls[:TOOL_CALLS_MAX]),
        finish=MESSAGES_FINISH.get(reason or "", Finish.UNKNOWN),
        finish_raw=reason,
    )
