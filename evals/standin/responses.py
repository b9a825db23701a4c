"""OpenAI Responses: bodies and stream frames."""

from typing import Any

from evals.standin.reply import JSON_BYTES, Frame, Reply, sse


def usage(reply: Reply) -> dict[str, Any]:
    """Return usage as this dialect counts it: cached tokens inside input tokens."""
    output = reply.answer.output_tokens
    return {
        "input_tokens": reply.ask.input_tokens,
        "input_tokens_details": {"cached_tokens": reply.cache_read, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reply.answer.reasoning_tokens},
        "total_tokens": reply.ask.input_tokens + output,
    }


def body(reply: Reply) -> bytes:
    """Return the whole answer."""
    return JSON_BYTES(_ended(reply))


def frames(reply: Reply) -> list[Frame]:
    """Return the answer as stream frames, from ``response.created`` to its last event."""
    events: list[tuple[dict[str, Any], int]] = []

    def add(name: str, fields: dict[str, Any], tokens: int = 0) -> None:
        events.append(({"type": name, "sequence_number": len(events), **fields}, tokens))

    begun = _response(reply, status="in_progress", output=[])
    add("response.created", {"response": begun})
    add("response.in_progress", {"response": begun})
    index = 0
    if reply.answer.reasoning_tokens:
        item = _reasoning(reply)
        add("response.output_item.added", {"output_index": 0, "item": item})
        add("response.output_item.done", {"output_index": 0, "item": item})
        index = 1
    if reply.answer.call:
        _add_call(reply, index, add)
    else:
        _add_text(reply, index, add)
    ended = _ended(reply)
    add(f"response.{ended['status']}", {"response": ended})
    return [Frame(sse(event["type"], event), tokens) for event, tokens in events]


def _add_text(reply: Reply, index: int, add: Any) -> None:
    item = _message(reply, status="in_progress", text=None)
    at: dict[str, Any] = {"item_id": item["id"], "output_index": index, "content_index": 0}
    add("response.output_item.added", {"output_index": index, "item": item})
    add("response.content_part.added", {**at, "part": _part("")})
    for piece in reply.answer.pieces:
        add("response.output_text.delta", {**at, "delta": piece, "logprobs": []}, 1)
    text = reply.answer.text
    add("response.output_text.done", {**at, "text": text, "logprobs": []})
    add("response.content_part.done", {**at, "part": _part(text)})
    add("response.output_item.done", {"output_index": index, "item": _last_item(reply)})


def _add_call(reply: Reply, index: int, add: Any) -> None:
    item = _last_item(reply)
    at = {"item_id": item["id"], "output_index": index}
    begun = {**item, "arguments": "", "status": "in_progress"}
    add("response.output_item.added", {"output_index": index, "item": begun})
    for piece in reply.answer.pieces:
        add("response.function_call_arguments.delta", {**at, "delta": piece}, 1)
    done = {**at, "name": item["name"], "arguments": item["arguments"]}
    add("response.function_call_arguments.done", done)
    add("response.output_item.done", {"output_index": index, "item": item})


def _ended(reply: Reply) -> dict[str, Any]:
    output = [_reasoning(reply)] if reply.answer.reasoning_tokens else []
    output.append(_last_item(reply))
    status = "incomplete" if reply.answer.cut else "completed"
    return {**_response(reply, status=status, output=output), "usage": usage(reply)}


def _response(reply: Reply, *, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"resp_{reply.request_id}",
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": reply.ask.output_tokens_max,
        "model": reply.version,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": reply.ask.effort, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


def _reasoning(reply: Reply) -> dict[str, Any]:
    return {"id": f"rs_{reply.request_id}", "type": "reasoning", "summary": []}


def _last_item(reply: Reply) -> dict[str, Any]:
    status = "incomplete" if reply.answer.cut else "completed"
    call = reply.answer.call
    if call is None:
        return _message(reply, status=status, text=reply.answer.text)
    return {
        "id": f"fc_{reply.request_id}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{reply.request_id}",
        "name": call.name,
        "arguments": call.arguments,
    }


def _message(reply: Reply, *, status: str, text: str | None) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.request_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [_part(text)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
