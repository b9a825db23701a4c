"""OpenAI chat completions: bodies and stream frames."""

import zlib
from typing import Any

from evals.standin.reply import JSON_BYTES, Frame, Reply
from evals.standin.thinking import Answer

DONE = b"data: [DONE]\n\n"


def usage(reply: Reply) -> dict[str, Any]:
    """Return usage as this dialect counts it: cached tokens inside prompt tokens."""
    output = reply.answer.output_tokens
    return {
        "prompt_tokens": reply.ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": reply.ask.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": reply.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def finish_reason(answer: Answer) -> str:
    """Return why the answer ended, in this dialect's words."""
    if answer.cut:
        return "length"
    return "tool_calls" if answer.call else "stop"


def body(reply: Reply) -> bytes:
    """Return the whole answer."""
    answer = reply.answer
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.call else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.call:
        function = {"name": answer.call.name, "arguments": answer.call.arguments}
        message["tool_calls"] = [{"id": _call_id(reply), "type": "function", "function": function}]
    return JSON_BYTES(
        {
            "id": f"chatcmpl-{reply.request_id}",
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.version,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": {"content": _logprobs(answer), "refusal": None}
                    if reply.ask.logprobs
                    else None,
                    "finish_reason": finish_reason(answer),
                }
            ],
            "usage": usage(reply),
            "service_tier": "default",
            "system_fingerprint": "fp_standin0001",
        }
    )


def frames(reply: Reply) -> list[Frame]:
    """Return the answer as stream frames; usage comes only when it was asked for."""
    answer = reply.answer
    head = JSON_BYTES(
        {
            "id": f"chatcmpl-{reply.request_id}",
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.version,
            "service_tier": "default",
            "system_fingerprint": "fp_standin0001",
        }
    )[:-1]
    tail = b',"usage":null}\n\n' if reply.ask.include_usage else b"}\n\n"
    before = b"data: " + head + b',"choices":[{"index":0,"delta":'
    after = b',"logprobs":null,"finish_reason":null}]' + tail
    if answer.call:
        start = {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "index": 0,
                    "id": _call_id(reply),
                    "type": "function",
                    "function": {"name": answer.call.name, "arguments": ""},
                }
            ],
        }
        opening = b'{"tool_calls":[{"index":0,"function":{"arguments":'
        closing = b"}}]}"
    else:
        start = {"role": "assistant", "content": "", "refusal": None}
        opening, closing = b'{"content":', b"}"
    out = [Frame(before + JSON_BYTES(start) + after)]
    out += [
        Frame(before + opening + JSON_BYTES(piece) + closing + after, 1) for piece in answer.pieces
    ]
    reason = finish_reason(answer).encode()
    out.append(Frame(before + b'{},"logprobs":null,"finish_reason":"' + reason + b'"}]' + tail))
    if reply.ask.include_usage:
        out.append(
            Frame(
                b"data: " + head + b',"choices":[],"usage":' + JSON_BYTES(usage(reply)) + b"}\n\n"
            )
        )
    out.append(Frame(DONE))
    return out


def _call_id(reply: Reply) -> str:
    return f"call_{reply.request_id}"


def _logprobs(answer: Answer) -> list[dict[str, Any]]:
    """Return one log probability a token: lower, on the whole, where the answer is wrong."""
    base = 0.02 if answer.right else 0.9
    return [
        {
            "token": piece,
            "logprob": -base * (1 + zlib.crc32(piece.encode()) % 100 / 100),
            "bytes": list(piece.encode()),
            "top_logprobs": [],
        }
        for piece in answer.pieces
    ]
