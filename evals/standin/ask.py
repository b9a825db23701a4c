"""One request in any dialect, read into what a model would see of it."""

from dataclasses import dataclass
from typing import Any

import msgspec

from evals.standin.tokenizer import count
from telemetry.records import Dialect

IMAGE_TOKENS = 258
MESSAGE_TOKENS = 3  # what a provider adds around each message
CACHE_TOKENS_MIN = 1_024


class BadRequest(Exception):
    """The request is not one that this dialect allows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A function that the caller offers."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What was asked, whatever the dialect."""

    model: str
    dialect: Dialect
    text: str  # the last thing the user said
    system: str
    tool_result: str | None  # set when the last message hands back a tool's result
    tools: tuple[Tool, ...]
    tool_choice: str  # none, auto, required or the name of a tool
    schema: dict[str, Any] | None
    json_only: bool
    stream: bool
    include_usage: bool
    logprobs: bool
    thinking: bool
    effort: str | None
    output_tokens_max: int | None
    input_tokens: int  # cached ones included
    prefix: str  # what a prompt cache could hold; empty when too short or not asked for
    prefix_tokens: int


def read_chat(body: dict[str, Any]) -> Ask:
    """Return an OpenAI chat body as an ``Ask``; raise ``BadRequest``."""
    messages = _list(body, "messages")
    turns = [_turn(message) for message in messages]
    tools = tuple(
        Tool(name=str(t["function"]["name"]), schema=t["function"].get("parameters") or {})
        for t in body.get("tools") or ()
        if isinstance(t, dict)
        and t.get("type") == "function"
        and isinstance(t.get("function"), dict)
    )
    form = body.get("response_format") or {}
    kind = form.get("type")
    stream_options = body.get("stream_options") or {}
    return _ask(
        body,
        dialect=Dialect.CHAT,
        turns=turns,
        tools=tools,
        tool_choice=_openai_choice(body.get("tool_choice")),
        schema=(form.get("json_schema") or {}).get("schema") if kind == "json_schema" else None,
        json_only=kind == "json_object",
        include_usage=bool(stream_options.get("include_usage")),
        logprobs=bool(body.get("logprobs")),
        thinking=False,
        effort=body.get("reasoning_effort"),
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        cache=None,
    )


def read_responses(body: dict[str, Any]) -> Ask:
    """Return an OpenAI Responses body as an ``Ask``; raise ``BadRequest``."""
    given = body.get("input")
    if isinstance(given, str):
        turns = [("user", given, 0)]
    elif isinstance(given, list) and given:
        turns = [_item(item) for item in given]
    else:
        raise BadRequest("Missing required parameter: 'input'.")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        turns.insert(0, ("system", instructions, 0))
    tools = tuple(
        Tool(name=str(t["name"]), schema=t.get("parameters") or {})
        for t in body.get("tools") or ()
        if isinstance(t, dict) and t.get("type") == "function" and "name" in t
    )
    form = (body.get("text") or {}).get("format") or {}
    kind = form.get("type")
    return _ask(
        body,
        dialect=Dialect.RESPONSES,
        turns=turns,
        tools=tools,
        tool_choice=_openai_choice(body.get("tool_choice")),
        schema=form.get("schema") if kind == "json_schema" else None,
        json_only=kind == "json_object",
        include_usage=True,
        logprobs=False,
        thinking=False,
        effort=(body.get("reasoning") or {}).get("effort"),
        limit=body.get("max_output_tokens"),
        cache=None,
    )


def read_messages(body: dict[str, Any], *, counting: bool = False) -> Ask:
    """Return an Anthropic body as an ``Ask``; raise ``BadRequest``."""
    messages = _list(body, "messages")
    if not counting and not isinstance(body.get("max_tokens"), int):
        raise BadRequest("max_tokens: Field required")
    turns = [_turn(message) for message in messages]
    if body.get("system"):
        turns.insert(0, ("system", *_content(body["system"])))
    tools = tuple(
        Tool(name=str(t["name"]), schema=t.get("input_schema") or {})
        for t in body.get("tools") or ()
        if isinstance(t, dict) and "name" in t and "input_schema" in t
    )
    choice = body.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    form = (body.get("output_config") or {}).get("format") or {}
    thinking = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    return _ask(
        body,
        dialect=Dialect.MESSAGES,
        turns=turns,
        tools=tools,
        tool_choice=str(choice.get("name"))
        if kind == "tool"
        else {"any": "required"}.get(kind, kind),
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        json_only=False,
        include_usage=True,
        logprobs=False,
        thinking=thinking,
        effort=(body.get("output_config") or {}).get("effort") if thinking else "none",
        limit=body.get("max_tokens"),
        cache=_breakpoint(body),
    )


Turn = tuple[str, str, int]  # role, text, images


def _ask(  # noqa: PLR0913 - the one place where three dialects meet
    body: dict[str, Any],
    *,
    dialect: Dialect,
    turns: list[Turn],
    tools: tuple[Tool, ...],
    tool_choice: str,
    schema: Any,
    json_only: bool,
    include_usage: bool,
    logprobs: bool,
    thinking: bool,
    effort: Any,
    limit: Any,
    cache: str | None,
) -> Ask:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("you must provide a model parameter")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise BadRequest(f"the largest number of output tokens must be at least 1, not {limit!r}")
    last_role, last_text, _ = turns[-1]
    users = [text for role, text, _ in turns if role == "user"]
    declared = msgspec.json.encode(body["tools"]).decode() if body.get("tools") else ""
    head = declared + "\n".join(text for _, text, _ in turns[:-1]) if cache is None else cache
    tokens = (
        count(declared)
        + sum(count(t) + MESSAGE_TOKENS + IMAGE_TOKENS * images for _, t, images in turns)
    )  # fmt: skip
    prefix_tokens = min(count(head), tokens) // 128 * 128
    cached = prefix_tokens >= CACHE_TOKENS_MIN
    return Ask(
        model=model,
        dialect=dialect,
        text=users[-1] if users else last_text,
        system="\n".join(text for role, text, _ in turns if role in ("system", "developer")),
        tool_result=last_text if last_role == "tool" else None,
        tools=tools,
        tool_choice=tool_choice,
        schema=schema if isinstance(schema, dict) else None,
        json_only=json_only,
        stream=body.get("stream") is True,
        include_usage=include_usage,
        logprobs=logprobs,
        thinking=thinking,
        effort=effort if isinstance(effort, str) else None,
        output_tokens_max=limit,
        input_tokens=tokens,
        prefix=head if cached else "",
        prefix_tokens=prefix_tokens if cached else 0,
    )


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if not isinstance(value, list) or not value:
        raise BadRequest(f"Missing required parameter: '{key}'.")
    return value


def _turn(message: Any) -> Turn:
    """Read a message of either dialect; a tool's result becomes a turn of role ``tool``."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequest("each message must be an object with a role")
    role = message["role"]
    content = message.get("content")
    text, images = _content(content)
    last = content[-1] if isinstance(content, list) and content else None
    if isinstance(last, dict) and last.get("type") == "tool_result":
        return "tool", _content(last.get("content"))[0], images
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        text += msgspec.json.encode(calls).decode()
    return role, text, images


def _content(content: Any) -> tuple[str, int]:
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        raise BadRequest("content must be a string or a list of parts")
    texts: list[str] = []
    images = 0
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("image_url", "image", "input_image"):
            images += 1
        elif kind in ("text", "input_text", "output_text", "thinking"):
            texts.append(str(part.get("text", part.get("thinking", ""))))
        elif kind is None:
            raise BadRequest("each content part must be an object with a type")
        else:
            texts.append(msgspec.json.encode(part).decode())
    return "\n".join(texts), images


def _item(item: Any) -> Turn:
    if not isinstance(item, dict):
        raise BadRequest("each input item must be an object")
    kind = item.get("type", "message")
    if kind == "message":
        return _turn(item)
    if kind == "function_call_output":
        output = item.get("output")
        return "tool", output if isinstance(output, str) else _content(output)[0], 0
    return "assistant", msgspec.json.encode(item).decode(), 0


def _openai_choice(choice: Any) -> str:
    if isinstance(choice, str):
        return choice
    if isinstance(choice, dict):
        function = choice.get("function")
        return str((function if isinstance(function, dict) else choice).get("name", "auto"))
    return "auto"


def _breakpoint(body: dict[str, Any]) -> str:
    """Return the text up to the last block that carries ``cache_control``; empty without one."""
    blocks: list[Any] = list(body.get("tools") or [])
    if isinstance(body.get("system"), list):
        blocks += body["system"]
    elif body.get("system"):
        blocks.append(body["system"])
    for message in body.get("messages") or []:
        content = message.get("content") if isinstance(message, dict) else None
        blocks += content if isinstance(content, list) else [content]
    marked = [n for n, b in enumerate(blocks) if isinstance(b, dict) and b.get("cache_control")]
    return msgspec.json.encode(blocks[: marked[-1] + 1]).decode() if marked else ""
