"""A code function's answer as the body that a provider of the caller's dialect would have sent.

Usage is zero, since no model was asked. Streams carry the dialect's usual frames.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from evals.codetier import CodeAnswer
from evals.steps import Step
from telemetry.records import Dialect

_CHAT_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_RESPONSES_USAGE: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
_MESSAGES_USAGE: Final = {"input_tokens": 0, "output_tokens": 0}


def render(
    answer: CodeAnswer,
    step: Step,
    *,
    model: str,
    stream: bool,
    answer_id: str,
    created_seconds: int,
) -> bytes:
    """Return the whole body: JSON, or all server-sent events of a stream.

    ``model`` is the name the caller sees, ``answer_id`` stands in every id, ``created_seconds`` is
    unix time. The step's dialect is chat, responses or messages.
    """
    writer = _WRITERS[step.dialect](answer, step, model, answer_id, created_seconds)
    return b"".join(writer.events()) if stream else msgspec.json.encode(writer.body())


def _event(data: Any, *, named: bool) -> bytes:
    name = b"event: " + data["type"].encode() + b"\n" if named else b""
    return name + b"data: " + msgspec.json.encode(data) + b"\n\n"


class _Writer:
    def __init__(
        self, answer: CodeAnswer, step: Step, model: str, answer_id: str, created: int
    ) -> None:
        self.answer = answer
        self.step = step
        self.model = model
        self.id = answer_id
        self.created = created

    def body(self) -> dict[str, Any]:
        raise NotImplementedError

    def events(self) -> Iterator[bytes]:
        raise NotImplementedError


class _Chat(_Writer):
    def body(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self.answer.tool_calls else self.answer.text,
            "refusal": None,
        }
        if self.answer.tool_calls:
            message["tool_calls"] = self._calls()
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish(),
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": _CHAT_USAGE}

    def events(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": "", "refusal": None})
        if self.answer.tool_calls:
            calls = [{"index": number, **call} for number, call in enumerate(self._calls())]
            yield self._chunk({"tool_calls": calls})
        else:
            yield self._chunk({"content": self.answer.text})
        yield self._chunk({}, finish=self._finish())
        if self._wants_usage():
            head = self._head("chat.completion.chunk")
            yield _event({**head, "choices": [], "usage": _CHAT_USAGE}, named=False)
        yield b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = self._head("chat.completion.chunk")
        return _event({**head, "choices": [choice]}, named=False)

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{self.id}_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for number, call in enumerate(self.answer.tool_calls)
        ]

    def _finish(self) -> str:
        return "tool_calls" if self.answer.tool_calls else "stop"

    def _wants_usage(self) -> bool:
        options = self.step.body().get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True


class _Responses(_Writer):
    def body(self) -> dict[str, Any]:
        return self._response("completed", self._items("completed"))

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        done = status == "completed"
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": _RESPONSES_USAGE if done else None,
        }

    def _items(self, status: str) -> list[dict[str, Any]]:
        if self.answer.tool_calls:
            return [
                {
                    "type": "function_call",
                    "id": f"fc_{self.id}_{number}",
                    "call_id": f"call_{self.id}_{number}",
                    "name": call.name,
                    "arguments": call.arguments if status == "completed" else "",
                    "status": status,
                }
                for number, call in enumerate(self.answer.tool_calls)
            ]
        return [
            {
                "type": "message",
                "id": f"msg_{self.id}",
                "role": "assistant",
                "status": status,
                "content": [self._part(self.answer.text)] if status == "completed" else [],
            }
        ]

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def events(self) -> Iterator[bytes]:
        for number, event in enumerate(self._frames()):
            event["sequence_number"] = number
            yield _event(event, named=True)

    def _frames(self) -> Iterator[dict[str, Any]]:
        for kind in ("created", "in_progress"):
            yield {"type": f"response.{kind}", "response": self._response("in_progress", [])}
        started, finished = self._items("in_progress"), self._items("completed")
        for number, (opening, closing) in enumerate(zip(started, finished, strict=True)):
            yield {"type": "response.output_item.added", "output_index": number, "item": opening}
            inner = self._call_frames if self.answer.tool_calls else self._text_frames
            yield from inner(number, closing)
            yield {"type": "response.output_item.done", "output_index": number, "item": closing}
        yield {"type": "response.completed", "response": self._response("completed", finished)}

    def _call_frames(self, number: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        place = {"item_id": item["id"], "output_index": number}
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", **place, "delta": item["arguments"]}
        yield {
            "type": f"{kind}.done",
            **place,
            "name": item["name"],
            "arguments": item["arguments"],
        }

    def _text_frames(self, number: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        place = {"item_id": item["id"], "output_index": number, "content_index": 0}
        text = self.answer.text
        yield {"type": "response.content_part.added", **place, "part": self._part("")}
        yield {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": self._part(text)}


class _Messages(_Writer):
    def body(self) -> dict[str, Any]:
        return self._message(self._blocks(), self._stop())

    def _message(self, content: list[dict[str, Any]], stop: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": _MESSAGES_USAGE,
        }

    def _blocks(self) -> list[dict[str, Any]]:
        if self.answer.tool_calls:
            return [
                {
                    "type": "tool_use",
                    "id": f"toolu_{self.id}_{number}",
                    "name": call.name,
                    "input": msgspec.Raw(call.arguments.encode()),
                }
                for number, call in enumerate(self.answer.tool_calls)
            ]
        return [{"type": "text", "text": self.answer.text}]

    def _stop(self) -> str:
        return "tool_use" if self.answer.tool_calls else "end_turn"

    def events(self) -> Iterator[bytes]:
        return (_event(frame, named=True) for frame in self._frames())

    def _frames(self) -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": self._message([], None)}
        for index, block in enumerate(self._blocks()):
            is_text = block["type"] == "text"
            opening = {**block, "text": ""} if is_text else {**block, "input": {}}
            delta = (
                {"type": "text_delta", "text": self.answer.text}
                if is_text
                else {
                    "type": "input_json_delta",
                    "partial_json": self.answer.tool_calls[index].arguments,
                }
            )
            yield {"type": "content_block_start", "index": index, "content_block": opening}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": self._stop(), "stop_sequence": None},
            "usage": _MESSAGES_USAGE,
        }
        yield {"type": "message_stop"}


_WRITERS: Final[dict[Dialect, type[_Writer]]] = {
    Dialect.CHAT: _Chat,
    Dialect.RESPONSES: _Responses,
    Dialect.MESSAGES: _Messages,
}
