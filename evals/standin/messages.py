"""Anthropic Messages: bodies and stream frames."""

import json
from typing import Any

from evals.standin.reply import JSON_BYTES, Frame, Reply, sse
from evals.standin.thinking import Answer

PING = sse("ping", {"type": "ping"})


def usage(reply: Reply, *, output: int) -> dict[str, Any]:
    """Return usage as this dialect counts it: cached tokens outside input tokens."""
    return {
        "input_tokens": reply.ask.input_tokens - reply.cache_read - reply.cache_write,
        "cache_creation_input_tokens": reply.cache_write,
        "cache_read_input_tokens": reply.cache_read,
        "output_tokens": output,
        "service_tier": "standard",
    }


def stop_reason(answer: Answer) -> str:
    """Return why the answer ended, in this dialect's words."""
    if answer.cut:
        return "max_tokens"
    return "tool_use" if answer.call else "end_turn"


def body(reply: Reply) -> bytes:
    """Return the whole answer."""
    answer = reply.answer
    content: list[dict[str, Any]] = []
    if _thinks(reply):
        content.append(
            {"type": "thinking", "thinking": _thoughts(reply), "signature": _sign(reply)}
        )
    if answer.call:
        block = _tool_use(reply)
        block["input"] = _object(answer.call.arguments)
        content.append(block)
    else:
        content.append({"type": "text", "text": answer.text})
    message = _message(reply, content=content)
    message["stop_reason"] = stop_reason(answer)
    message["usage"] = _total(reply)
    return JSON_BYTES(message)


def frames(reply: Reply) -> list[Frame]:
    """Return the answer as stream frames, from ``message_start`` to ``message_stop``."""
    answer = reply.answer
    message = _message(reply, content=[])
    message["usage"] = usage(reply, output=1)
    out = [Frame(sse("message_start", {"type": "message_start", "message": message}))]
    index = 0
    if _thinks(reply):
        out += _thinking_frames(reply)
        index = 1
    block = _tool_use(reply) if answer.call else {"type": "text", "text": ""}
    out.append(Frame(_start(index, block) + PING))
    kind, key = ("input_json_delta", "partial_json") if answer.call else ("text_delta", "text")
    before = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%s","%s":' % (index, kind.encode(), key.encode())
    )
    out += [Frame(before + JSON_BYTES(piece) + b"}}\n\n", 1) for piece in answer.pieces]
    out.append(Frame(_stop(index)))
    delta = {"stop_reason": stop_reason(answer), "stop_sequence": None}
    ended = {"type": "message_delta", "delta": delta, "usage": _total(reply)}
    out.append(Frame(sse("message_delta", ended) + sse("message_stop", {"type": "message_stop"})))
    return out


def _thinking_frames(reply: Reply) -> list[Frame]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    return [
        Frame(_start(0, block)),
        Frame(_delta(0, {"type": "thinking_delta", "thinking": _thoughts(reply)})),
        Frame(_delta(0, {"type": "signature_delta", "signature": _sign(reply)})),
        Frame(_stop(0)),
    ]


def _start(index: int, block: dict[str, Any]) -> bytes:
    event = {"type": "content_block_start", "index": index, "content_block": block}
    return sse("content_block_start", event)


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    event = {"type": "content_block_delta", "index": index, "delta": delta}
    return sse("content_block_delta", event)


def _stop(index: int) -> bytes:
    return sse("content_block_stop", {"type": "content_block_stop", "index": index})


def _total(reply: Reply) -> dict[str, Any]:
    total = usage(reply, output=reply.answer.output_tokens)
    if _thinks(reply):
        total["output_tokens_details"] = {"thinking_tokens": reply.answer.reasoning_tokens}
    return total


def _message(reply: Reply, *, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_01{reply.request_id}",
        "type": "message",
        "role": "assistant",
        "model": reply.version,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _tool_use(reply: Reply) -> dict[str, Any]:
    assert reply.answer.call is not None, "only a call is rendered as tool use"
    name = reply.answer.call.name
    return {"type": "tool_use", "id": f"toolu_01{reply.request_id}", "name": name, "input": {}}


def _object(arguments: str) -> dict[str, Any]:
    """Return arguments as the object this dialect needs; broken JSON gives an empty one."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _thinks(reply: Reply) -> bool:
    return reply.ask.thinking and reply.answer.reasoning_tokens > 0


def _thoughts(reply: Reply) -> str:
    return f"This asks for {reply.answer.step}; the material decides."


def _sign(reply: Reply) -> str:
    return f"c3RhbmRpbg{reply.request_id}"
