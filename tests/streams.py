"""Streamed answers with a tool call in many scripts, one per dialect, as providers send them."""

import json
from typing import Any

from telemetry.records import Dialect, Tokens

# CJK, emoji with joiners and skin tones, Arabic, Hebrew, Thai, Devanagari, combining marks,
# characters outside the basic plane, separators that some line readers take for line ends.
ARGUMENTS = [
    '{"city": "東京',
    "都千代田区",
    '", "note": "',
    "👩🏽‍💻🏳️‍🌈",
    " مرحبا بالعالم",
    " שלום",
    " สวัสดี",
    " नमस्ते",
    " e\u0301",
    "n\u0303",
    " \U0001d518\U0001d52b\U0001d526",
    "\u2028",
    "\u0085",
    '\\n\\"data: x\\"',
    " ZALGƠ̴̡",
    '", "id": 4711}',
]
TEXT = ["Ich frage ", "nach dem Wetter ", "— 天気を調べます。", " 🌦️"]

TOKENS = {
    Dialect.CHAT: Tokens(input=512, output=97, cache_read=128, cache_write=None, reasoning=31),
    Dialect.RESPONSES: Tokens(input=512, output=97, cache_read=128, cache_write=0, reasoning=31),
    # 300 fresh, 128 read and 84 written make 512.
    Dialect.MESSAGES: Tokens(input=512, output=97, cache_read=128, cache_write=84, reasoning=31),
}
IDS = {Dialect.CHAT: "chatcmpl-9", Dialect.RESPONSES: "resp_9", Dialect.MESSAGES: "msg_9"}
FINISH = {Dialect.CHAT: "tool_calls", Dialect.RESPONSES: "completed", Dialect.MESSAGES: "tool_use"}
VERSION = "standin-mid-2026-07-15"
PATHS = {
    Dialect.CHAT: "/v1/chat/completions",
    Dialect.RESPONSES: "/v1/responses",
    Dialect.MESSAGES: "/v1/messages",
}


def event(data: dict[str, Any], *, name: str | None = None, end: str = "\n") -> bytes:
    """Return one event, its text unescaped so that characters span several bytes."""
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {said}{end}{end}".encode()


def chat(*, usage: bool = True, end: str = "\n") -> bytes:
    """Return a chat stream; ``usage`` says whether its frame of usage is in it."""
    head = {"id": IDS[Dialect.CHAT], "object": "chat.completion.chunk", "model": VERSION}

    def delta(fields: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": fields, "finish_reason": reason}
        return event({**head, "choices": [choice]}, end=end)

    call = {"index": 0, "id": "call_1", "type": "function"}
    opening = {"tool_calls": [{**call, "function": {"name": "weather", "arguments": ""}}]}
    parts = [delta({"role": "assistant", "content": ""})]
    parts += [delta({"content": text}) for text in TEXT]
    parts += [f": keep-alive{end}{end}".encode(), delta(opening)]
    parts += [
        delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        for piece in ARGUMENTS
    ]
    parts.append(delta({}, "tool_calls"))
    if usage:
        counts = {
            "prompt_tokens": 512,
            "completion_tokens": 97,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 31},
        }
        parts.append(event({**head, "choices": [], "usage": counts}, end=end))
    return b"".join([*parts, f"data: [DONE]{end}{end}".encode()])


def responses() -> bytes:
    """Return a stream of the Responses dialect."""
    begun = {"id": IDS[Dialect.RESPONSES], "model": VERSION, "status": "in_progress"}
    item = {"id": "fc_1", "type": "function_call", "name": "weather", "call_id": "call_1"}
    at = {"item_id": "fc_1", "output_index": 0}
    usage = {
        "input_tokens": 512,
        "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 0},
        "output_tokens": 97,
        "output_tokens_details": {"reasoning_tokens": 31},
    }
    arguments = "".join(ARGUMENTS)
    done = {**item, "arguments": arguments}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        *(
            {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            for piece in ARGUMENTS
        ),
        {"type": "response.function_call_arguments.done", **at, "arguments": arguments},
        {
            "type": "response.completed",
            "response": {**begun, "status": "completed", "output": [done], "usage": usage},
        },
    ]
    return b"".join(event(one, name=one["type"]) for one in events)


def messages() -> bytes:
    """Return a stream of the Messages dialect."""
    usage = {
        "input_tokens": 300,
        "cache_creation_input_tokens": 84,
        "cache_read_input_tokens": 128,
        "output_tokens": 2,
    }
    message = {"id": IDS[Dialect.MESSAGES], "model": VERSION, "content": [], "usage": usage}
    block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}}
            for t in TEXT
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
            for piece in ARGUMENTS
        ),
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 97, "output_tokens_details": {"thinking_tokens": 31}},
        },
        {"type": "message_stop"},
    ]
    return b"".join(event(one, name=one["type"]) for one in events)


def stream_of(dialect: Dialect) -> bytes:
    """Return the stream of ``dialect`` as its provider sends it."""
    if dialect is Dialect.CHAT:
        return chat()
    return responses() if dialect is Dialect.RESPONSES else messages()
