"""A streamed answer put together from its events, in any dialect, in bounded memory.

An odd event is skipped and remembered in ``Answer.malformed``; nothing here raises.
"""

from collections.abc import Mapping
from io import StringIO
from typing import Any, Final, Protocol

import msgspec

from evals.answers import (
    CHAT_FINISH,
    LOGPROBS_MAX,
    MESSAGES_FINISH,
    TOOL_CALLS_MAX,
    Answer,
    Finish,
    TokenLogprob,
    ToolCall,
    chat_call,
    logprobs_of,
    objects,
    read_object,
    responses_call,
    responses_finish,
    word,
)
from evals.sse import data_of
from evals.steps import Step, text_of
from telemetry.records import Dialect

EVENT_BYTES_MAX: Final = 4_194_304
CHARACTERS_MAX: Final = 4_194_304  # text and tool arguments together
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class Assembler(Protocol):
    """Takes the events of one streamed answer, then gives the answer."""

    def feed(self, event: bytes) -> None:
        """Take one whole server-sent event, with or without the empty line that ends it."""
        ...

    def answer(self) -> Answer:
        """Return what has been said; one that broke off without a reason is truncated."""
        ...


def assembler(step: Step) -> Assembler:
    """Return an empty assembler for a step's dialect; embeddings have no streams."""
    match step.dialect:
        case Dialect.RESPONSES:
            return _Responses(step)
        case Dialect.MESSAGES:
            return _Messages(step)
        case _:
            return _Chat(step)


class _Call:
    """A tool call that is being streamed."""

    def __init__(self, call: ToolCall) -> None:
        self.name = call.name
        self.id = call.id
        self.custom = call.custom
        self.arguments = StringIO()
        self.arguments.write(call.arguments)

    def finished(self) -> ToolCall:
        return ToolCall(self.name, self.arguments.getvalue(), self.id, self.custom)


class _Base:
    """What the three dialects share: limits, decoding, and the answer at the end."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._text = StringIO()
        self._refusal = StringIO()
        self._calls: dict[object, _Call] = {}
        self._logprobs: list[TokenLogprob] = []
        self._raw: str | None = None
        self._finish: Finish | None = None
        self._malformed: str | None = None
        self._room = CHARACTERS_MAX
        self._done = False

    def feed(self, event: bytes) -> None:
        if len(event) > EVENT_BYTES_MAX:
            self._odd(f"an event of more than {EVENT_BYTES_MAX} bytes was left out")
            return
        data = data_of(event)
        if data == b"[DONE]":
            self._done = True
            return
        if not data:
            return
        try:
            parsed = msgspec.json.decode(data)
        except _UNREADABLE:
            self._odd("an event is not JSON")
            return
        if not isinstance(parsed, dict):
            self._odd("an event is not a JSON object")
        elif parsed.get("type") == "error" or isinstance(parsed.get("error"), dict):
            self._failed(parsed)
        else:
            self._take(parsed)

    def answer(self) -> Answer:
        calls = tuple(call.finished() for call in self._calls.values() if call.name)
        finish = self._finish
        if finish is None:
            finish = self._end(has_calls=bool(calls))
        return Answer(
            step=self._step,
            text=self._text.getvalue(),
            tool_calls=calls,
            finish=finish,
            finish_raw=self._raw,
            refusal=self._refusal.getvalue() or None,
            logprobs=tuple(self._logprobs) or None,
            malformed=self._malformed,
        )

    def _end(self, *, has_calls: bool) -> Finish:
        """Return the finish of a stream that gave no reason: it broke off, unless it said so.

        Where something could not be read, that may have been the reason.
        """
        if not self._done:
            return Finish.UNKNOWN if self._malformed else Finish.TRUNCATED
        return Finish.TOOL_USE if has_calls else Finish.UNKNOWN

    def _take(self, event: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _failed(self, event: Mapping[str, Any]) -> None:
        error = event.get("error")
        place = error if isinstance(error, dict) else event
        self._finish = Finish.FAILED
        self._raw = word(place.get("code")) or word(place.get("type"))

    def _odd(self, reason: str) -> None:
        self._malformed = self._malformed or reason

    def _write(self, to: StringIO, piece: Any) -> None:
        if not isinstance(piece, str):
            return
        if len(piece) > self._room:
            self._odd(f"more than {CHARACTERS_MAX} characters")
            piece = piece[: self._room]
        self._room -= len(piece)
        to.write(piece)

    def _opened(self, key: object, call: ToolCall) -> _Call | None:
        if len(self._calls) >= TOOL_CALLS_MAX:
            self._odd(f"more than {TOOL_CALLS_MAX} tool calls")
            return None
        opened = _Call(call._replace(arguments=""))
        self._write(opened.arguments, call.arguments)
        self._calls[key] = opened
        return opened

    def _more_logprobs(self, value: Any) -> None:
        if value and len(self._logprobs) < LOGPROBS_MAX:
            self._logprobs.extend(logprobs_of(value) or ())


class _Chat(_Base):
    """OpenAI chat completion chunks; of several choices the first one counts."""

    def _take(self, event: Mapping[str, Any]) -> None:
        for choice in objects(event.get("choices")):
            if choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._delta(delta)
            logprobs = choice.get("logprobs")
            if isinstance(logprobs, dict):
                self._more_logprobs(logprobs.get("content"))
            if reason := word(choice.get("finish_reason")):
                self._raw = reason
                self._finish = CHAT_FINISH.get(reason, Finish.UNKNOWN)

    def _delta(self, delta: Mapping[str, Any]) -> None:
        content = delta.get("content")
        self._write(self._text, content if isinstance(content, str) else text_of(content))
        if refusal := delta.get("refusal"):
            self._write(self._refusal, refusal)
        for item in objects(delta.get("tool_calls")):
            self._call(item)
        if isinstance(delta.get("function_call"), dict):
            self._call({"index": "function_call", "function": delta["function_call"]})

    def _call(self, item: Mapping[str, Any]) -> None:
        """Take a piece of a call: it belongs to its index, else its id, else the last call."""
        key = item.get("index", item.get("id"))
        if not isinstance(key, int | str):
            key = next(reversed(self._calls), 0)
        call = self._calls.get(key)
        if call is not None and (given := word(item.get("id"))) and call.id not in ("", given):
            # Some servers number every call 0.
            call = self._calls.get(key := given)
        if call is None:
            if opening := chat_call(item):
                self._opened(key, opening)
            return
        for inner, piece in (("function", "arguments"), ("custom", "input")):
            if isinstance(item.get(inner), dict):
                self._write(call.arguments, item[inner].get(piece))


class _Messages(_Base):
    """Anthropic message events."""

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "content_block_delta" and isinstance(event.get("delta"), dict):
            self._delta(event.get("index"), event["delta"])
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            self._start(event.get("index"), event["content_block"])
        elif kind == "message_delta" and isinstance(event.get("delta"), dict):
            if reason := word(event["delta"].get("stop_reason")):
                self._raw = reason
                self._finish = MESSAGES_FINISH.get(reason, Finish.UNKNOWN)
        elif kind == "message_stop":
            self._done = True

    def _start(self, index: Any, block: Mapping[str, Any]) -> None:
        if block.get("type") == "text":
            self._write(self._text, block.get("text"))
        elif block.get("type") == "tool_use" and isinstance(index, int):
            # The opening block's input is an empty place holder; the pieces follow.
            given = block.get("input")
            arguments = msgspec.json.encode(given).decode() if given else ""
            name, call_id = word(block.get("name")), word(block.get("id"))
            self._opened(index, ToolCall(name or "", arguments, call_id or ""))

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> None:
        if not isinstance(index, int):
            index = 0
        if delta.get("type") == "text_delta":
            self._write(self._text, delta.get("text"))
        elif delta.get("type") == "input_json_delta" and (call := self._calls.get(index)):
            self._write(call.arguments, delta.get("partial_json"))


class _Responses(_Base):
    """OpenAI Responses events; the last one repeats the whole answer and is believed."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._whole: Answer | None = None

    def answer(self) -> Answer:
        if self._whole is not None:
            return self._whole
        return super().answer()

    def _take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "response.output_text.delta":
                self._write(self._text, event.get("delta"))
                self._more_logprobs(event.get("logprobs"))
            case "response.refusal.delta":
                self._write(self._refusal, event.get("delta"))
            case "response.output_item.added" if isinstance(event.get("item"), dict):
                if call := responses_call(event["item"]):
                    self._opened(_index(event), call)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                if open_call := self._calls.get(_index(event)):
                    self._write(open_call.arguments, event.get("delta"))
            case "response.completed" | "response.incomplete" | "response.failed":
                self._ended(event)

    def _ended(self, event: Mapping[str, Any]) -> None:
        self._done = True
        response = event.get("response")
        if not isinstance(response, dict):
            self._odd("the last event holds no response")
            return
        if response.get("output") or isinstance(response.get("error"), dict):
            self._whole = read_object(response, self._step)
        self._finish, self._raw = responses_finish(response, has_calls=bool(self._calls))


def _index(event: Mapping[str, Any]) -> object:
    """Return what tells one output item from another: its index, else its id."""
    index = event.get("output_index")
    return index if isinstance(index, int) else str(event.get("item_id"))
