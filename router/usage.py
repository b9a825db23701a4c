"""What an answer says of itself, in any dialect: id, model, why it ended, and its tokens.

Cached tokens stand inside OpenAI's input tokens and outside Anthropic's; here they are always
inside. A number that cannot be true (negative, fractional, astronomic) is unknown.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from evals import sse
from telemetry.records import Dialect, Tokens

TOKENS_MAX: Final = 1_000_000_000


@dataclass(slots=True)
class Reading:
    """What has been read of one answer so far."""

    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    tokens: Tokens = field(default_factory=Tokens)
    finished: bool = False  # the dialect's own last frame was seen
    error_type: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)  # Anthropic's, joined over its frames


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Chat(msgspec.Struct):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class _Response(msgspec.Struct):
    id: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: Any = None
    usage: Any = None
    error: Any = None


class _ResponseEvent(msgspec.Struct):
    type: Any = None
    response: _Response | None = None
    code: Any = None  # of an event of type error
    error: Any = None  # the same, as some servers nest it


class _Message(msgspec.Struct):
    type: Any = None
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


class _MessageEvent(msgspec.Struct):
    type: Any = None
    message: _Message | None = None
    delta: Any = None
    usage: Any = None
    error: Any = None


_CHAT = msgspec.json.Decoder(_Chat)
_RESPONSE = msgspec.json.Decoder(_Response)
_RESPONSE_EVENT = msgspec.json.Decoder(_ResponseEvent)
_MESSAGE = msgspec.json.Decoder(_Message)
_MESSAGE_EVENT = msgspec.json.Decoder(_MessageEvent)


def read_answer(dialect: Dialect, answer: bytes) -> Reading:
    """Return what a whole, unstreamed answer says; an odd one says nothing. Never raises."""
    reading = Reading()
    try:
        _ANSWERS[dialect](reading, answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return Reading()
    return reading


class StreamReader:
    """Reads a streamed answer as it passes and says what the caller gets of it.

    That is every byte as it came; only where ``hide_usage`` says that tierwise itself asked for a
    chat stream's usage, its frame is taken out again. Nothing is read before ``reading`` is asked
    for, so bytes can go on before they are looked at. Never raises on odd events.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        hide_usage: bool = False,
        tell: Callable[[bytes], None] | None = None,
    ) -> None:
        """``tell`` hears of every whole event, once it has been read."""
        self.events = 0
        self._reading = Reading()
        self._tell = tell
        self._hide_usage = hide_usage
        self._read = _EVENTS[dialect]
        self._splitter = sse.Splitter()
        self._passed: list[bytes] = []  # chunks, or events where frames are hidden
        self._behind_bytes = 0  # of what was fed and not read

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the stream; return those that go on."""
        self._behind_bytes += len(chunk)
        if not self._hide_usage:
            self._passed.append(chunk)
            return chunk
        events = list(self._splitter.feed(chunk))
        self._passed += events
        return b"".join(event for event in events if not _is_usage_frame(event))

    def end(self) -> bytes:
        """Take the end of the stream; return what was held back."""
        if not self._hide_usage:
            self._read_passed()
            self._event(self._splitter.flush())
            return b""
        rest = self._splitter.flush()
        self._passed.append(rest)
        return b"" if _is_usage_frame(rest) else rest

    def keep_up(self, behind_bytes_max: int) -> None:
        """Read if more than so many bytes wait to be read, so that they stay few."""
        if self._behind_bytes > behind_bytes_max:
            self._read_passed()

    @property
    def reading(self) -> Reading:
        """What the stream has said so far."""
        self._read_passed()
        return self._reading

    def _read_passed(self) -> None:
        passed, self._passed, self._behind_bytes = self._passed, [], 0
        for part in passed:
            if self._hide_usage:
                self._event(part)
            else:
                for event in self._splitter.feed(part):
                    self._event(event)

    def _event(self, event: bytes) -> None:
        data = sse.data_of(event)
        if not data:
            return
        self.events += 1
        with contextlib.suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            self._read(self._reading, data)
        if self._tell is not None:
            self._tell(event)


def _is_usage_frame(event: bytes) -> bool:
    """Say whether a chat event carries usage and nothing else."""
    if b'"usage"' not in event or b'"usage":null' in event:
        return False
    try:
        chunk = _CHAT.decode(sse.data_of(event))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(chunk.usage, dict) and not chunk.choices


def _chat(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":
        reading.finished = True
        return
    chunk = _CHAT.decode(data)
    _identify(reading, chunk.id, chunk.model)
    for choice in chunk.choices or ():
        if isinstance(choice.finish_reason, str):
            reading.finish_reasons.append(choice.finish_reason)
    if isinstance(chunk.usage, dict):
        reading.tokens = _openai_tokens(chunk.usage, "prompt", "completion")
    if chunk.error is not None:
        reading.error_type = _error_type(chunk.error)


def _chat_answer(reading: Reading, data: bytes) -> None:
    _chat(reading, data)
    reading.finished = bool(reading.finish_reasons)


def _embeddings_answer(reading: Reading, data: bytes) -> None:
    answer = _RESPONSE.decode(data)
    _identify(reading, answer.id, answer.model)
    if isinstance(answer.usage, dict):
        reading.tokens = Tokens(input=_count(answer.usage.get("prompt_tokens")))
    reading.finished = answer.error is None


def _response_answer(reading: Reading, data: bytes) -> None:
    _response(reading, _RESPONSE.decode(data))


def _response(reading: Reading, answer: _Response) -> None:
    _identify(reading, answer.id, answer.model)
    if isinstance(answer.usage, dict):
        reading.tokens = _openai_tokens(answer.usage, "input", "output")
    if isinstance(answer.status, str) and answer.status not in ("in_progress", "queued"):
        detail = answer.incomplete_details
        reason = detail.get("reason") if isinstance(detail, dict) else None
        reading.finish_reasons = [reason if isinstance(reason, str) else answer.status]
        reading.finished = True
    if answer.error is not None:
        reading.error_type = _error_type(answer.error)


def _response_event(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":
        return
    event = _RESPONSE_EVENT.decode(data)
    if event.response is not None:
        _response(reading, event.response)
    elif event.type == "error":
        reading.error_type = _error_type(event.error or {"code": event.code})


def _message_answer(reading: Reading, data: bytes) -> None:
    message = _MESSAGE.decode(data)
    if message.type == "error":
        reading.error_type = _error_type(message.error)
        return
    _identify(reading, message.id, message.model)
    if isinstance(message.stop_reason, str):
        reading.finish_reasons = [message.stop_reason]
        reading.finished = True
    if isinstance(message.usage, dict):
        reading.tokens = _anthropic_tokens(message.usage)


def _message_event(reading: Reading, data: bytes) -> None:
    event = _MESSAGE_EVENT.decode(data)
    if event.message is not None:
        _identify(reading, event.message.id, event.message.model)
        if isinstance(event.message.usage, dict):
            # Its output count is of the first tokens only; the last frame has the whole.
            reading.usage = {**event.message.usage, "output_tokens": None}
    if isinstance(event.delta, dict) and isinstance(event.delta.get("stop_reason"), str):
        reading.finish_reasons = [event.delta["stop_reason"]]
    if isinstance(event.usage, dict):
        reading.usage.update((k, v) for k, v in event.usage.items() if v is not None)
    if event.message is not None or event.usage is not None:
        reading.tokens = _anthropic_tokens(reading.usage)
    if event.type == "message_stop":
        reading.finished = True
    elif event.type == "error":
        reading.error_type = _error_type(event.error)


def _identify(reading: Reading, answer_id: Any, model: Any) -> None:
    if reading.response_id is None and isinstance(answer_id, str) and answer_id:
        reading.response_id = answer_id
    if reading.response_model is None and isinstance(model, str) and model:
        reading.response_model = model


def _error_type(error: Any) -> str:
    kind = error.get("type") or error.get("code") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) and 0 < len(kind) <= 64 else "upstream_error"


def _openai_tokens(usage: dict[str, Any], of_input: str, of_output: str) -> Tokens:
    return Tokens(
        input=_count(usage.get(f"{of_input}_tokens")),
        output=_count(usage.get(f"{of_output}_tokens")),
        cache_read=_count(_inside(usage, f"{of_input}_tokens_details", "cached_tokens")),
        cache_write=_count(_inside(usage, f"{of_input}_tokens_details", "cache_write_tokens")),
        reasoning=_count(_inside(usage, f"{of_output}_tokens_details", "reasoning_tokens")),
    )


def _anthropic_tokens(usage: dict[str, Any]) -> Tokens:
    plain = _count(usage.get("input_tokens"))
    read = _count(usage.get("cache_read_input_tokens"))
    write = _count(usage.get("cache_creation_input_tokens"))
    return Tokens(
        input=None if plain is None else plain + (read or 0) + (write or 0),
        output=_count(usage.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=_count(_inside(usage, "output_tokens_details", "thinking_tokens")),
    )


def _inside(usage: dict[str, Any], outer: str, inner: str) -> Any:
    details = usage.get(outer)
    return details.get(inner) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= TOKENS_MAX or value != int(value):
        return None
    return int(value)


_ANSWERS: Final[dict[Dialect, Callable[[Reading, bytes], None]]] = {
    Dialect.CHAT: _chat_answer,
    Dialect.RESPONSES: _response_answer,
    Dialect.MESSAGES: _message_answer,
    Dialect.EMBEDDINGS: _embeddings_answer,
}
_EVENTS: Final[dict[Dialect, Callable[[Reading, bytes], None]]] = {
    Dialect.CHAT: _chat,
    Dialect.RESPONSES: _response_event,
    Dialect.MESSAGES: _message_event,
    Dialect.EMBEDDINGS: _chat,
}
