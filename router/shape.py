"""The shape of a request: a few cheap facts, read without understanding the request.

Nothing here may refuse a request: a field of an odd type counts as absent, and the provider, who
knows better, sees it unchanged.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from router.body import Body
from telemetry.records import Dialect, Shape

LATEST_TURNS = 3  # a question, the answer before it, and what stood between them
LOOK_BACK_MESSAGES = 16  # how far the last user text is looked for

_IMAGE = re.compile(rb'"type"\s*:\s*"(?:image|image_url|input_image)"')
# Fences, hunks of a unified diff, and patches as coding agents write them; the one character is
# looked for first because that costs a twentieth.
_CODE_MARKS = (("`", "```"), ("@", "\n@@ -"), ("*", "*** Begin Patch"))
_CONVERSATION = {
    Dialect.CHAT: "messages",
    Dialect.RESPONSES: "input",
    Dialect.MESSAGES: "messages",
    Dialect.EMBEDDINGS: "input",
}
# What shows that a model has answered before: turns of its own and what its tools returned, or,
# in Responses, that the provider holds the conversation.
_ANSWERING = ("assistant", "tool", "function")
_ANSWERED = ("function_call", "function_call_output", "reasoning")
_STORED_CONVERSATION = ("previous_response_id", "conversation")
OUTPUT_LIMITS = {
    Dialect.CHAT: ("max_completion_tokens", "max_tokens"),
    Dialect.RESPONSES: ("max_output_tokens",),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.EMBEDDINGS: (),
}

T = TypeVar("T")


class _Turn(msgspec.Struct):
    """A message, its content unread."""

    role: str = ""
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


_ANY = msgspec.json.Decoder(Any)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TURN = msgspec.json.Decoder(_Turn)


class Measure:
    """A step's shape, read from its body when somebody first asks for it."""

    __slots__ = ("_body", "_dialect", "_shape")

    def __init__(self, body: Body, dialect: Dialect) -> None:
        self._body = body
        self._dialect = dialect
        self._shape: Shape | None = None

    def __call__(self) -> Shape:
        """Return the shape."""
        if self._shape is None:
            self._shape = shape_of(self._body.fields, self._dialect, len(self._body.raw))
        return self._shape


def shape_of(fields: Mapping[str, msgspec.Raw], dialect: Dialect, body_bytes: int) -> Shape:
    """Return the shape of a body whose top-level values are ``fields``, as raw JSON.

    Whatever cannot be read counts as absent; nothing is raised.
    """
    conversation = fields.get(_CONVERSATION[dialect], msgspec.Raw(b""))
    turns = _read(_LIST, conversation)
    schema = _schema(fields, dialect)
    return Shape(
        body_bytes=body_bytes,
        messages_count=_messages_count(turns, conversation, dialect),
        tools_count=_tools_count(fields),
        tool_choice_forced=_forced(fields),
        schema=schema is not None,
        choices_count=None if schema is None else _choices_count(schema),
        images=_IMAGE.search(conversation) is not None,
        code=dialect is not Dialect.EMBEDDINGS and _is_code(_last_user_text(turns, conversation)),
        output_tokens_max=output_tokens_max(fields, dialect),
        continues=dialect is not Dialect.EMBEDDINGS and _continues(fields, turns),
    )


def last_user_text(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> str:
    """Return what a person or an agent said last; "" when there is no telling. Never raises."""
    conversation = fields.get(_CONVERSATION[dialect], msgspec.Raw(b""))
    return _last_user_text(_read(_LIST, conversation), conversation)


def _read(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _value(fields: Mapping[str, msgspec.Raw], key: str) -> Any:
    raw = fields.get(key)
    return None if raw is None else _read(_ANY, raw)


def _within(value: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _messages_count(
    turns: list[msgspec.Raw] | None, conversation: msgspec.Raw, dialect: Dialect
) -> int:
    """Count messages; of embeddings, the texts, where a list of numbers is one tokenised text."""
    if turns is None:
        return 1 if _first(conversation) == b'"' else 0
    if dialect is Dialect.EMBEDDINGS and turns and _first(turns[0]) not in (b'"', b"["):
        return 1
    return len(turns)


def _continues(fields: Mapping[str, msgspec.Raw], turns: list[msgspec.Raw] | None) -> bool:
    """Say whether a model has answered in this conversation before, by its latest turns."""
    for key in _STORED_CONVERSATION:
        if key in fields and bytes(fields[key]) != b"null":
            return True
    for raw in (turns or ())[-LATEST_TURNS:]:
        turn = _read(_TURN, raw)
        if turn is not None and (turn.role in _ANSWERING or turn.type in _ANSWERED):
            return True
    return False


def _first(raw: msgspec.Raw) -> bytes:
    return memoryview(raw)[:1].tobytes()


def _tools_count(fields: Mapping[str, msgspec.Raw]) -> int:
    raw = fields.get("tools") or fields.get("functions")
    tools = None if raw is None else _read(_LIST, raw)
    return len(tools or ())


def _forced(fields: Mapping[str, msgspec.Raw]) -> bool:
    if "tool_choice" not in fields:
        return isinstance(_value(fields, "function_call"), dict)
    choice = _value(fields, "tool_choice")
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind == "allowed_tools":
            mode = choice.get("mode", _within(choice, "allowed_tools", "mode"))
            return bool(mode == "required")
        return kind not in ("auto", "none")
    return bool(choice == "required")


def _schema(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> dict[str, Any] | None:
    """Return the JSON schema that the answer must follow."""
    if dialect is Dialect.CHAT:
        form = _value(fields, "response_format")
        found = _within(form, "json_schema", "schema")
    elif dialect is Dialect.RESPONSES:
        form = _within(_value(fields, "text"), "format")
        found = _within(form, "schema")
    elif dialect is Dialect.MESSAGES:
        form = _within(_value(fields, "output_config"), "format") or _value(fields, "output_format")
        found = _within(form, "schema")
    else:
        return None
    if _within(form, "type") != "json_schema":
        return None
    return found if isinstance(found, dict) else {}


def _choices_count(schema: dict[str, Any]) -> int | None:
    """Return how many answers there are, when the schema is one closed set or wraps just one."""
    properties = schema.get("properties")
    answer: Any = schema
    if isinstance(properties, dict):
        if len(properties) != 1:
            return None
        answer = next(iter(properties.values()))
    answer = _resolved(answer, schema)
    values = _within(answer, "enum")
    if isinstance(values, list) and values:
        return len(values)
    if isinstance(answer, dict) and "const" in answer:
        return 1
    return 2 if _within(answer, "type") == "boolean" else None


def _resolved(answer: Any, schema: dict[str, Any]) -> Any:
    """Follow one reference inside the schema, which is how enumerations are often written."""
    reference = _within(answer, "$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        return _within(schema, *reference[2:].split("/"))
    return answer


def _last_user_text(turns: list[msgspec.Raw] | None, conversation: msgspec.Raw) -> str:
    if turns is None:
        plain = _read(_ANY, conversation)
        return plain if isinstance(plain, str) else ""
    for raw in reversed(turns[-LOOK_BACK_MESSAGES:]):
        turn = _read(_TURN, raw)
        if turn is not None and turn.role == "user":
            text = "\n".join(_texts(_read(_ANY, turn.content)))
            if text:
                return text
    return ""


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            text = _within(part, "text")
            if isinstance(text, str):
                yield text


def _is_code(text: str) -> bool:
    return any(rare in text and mark in text for rare, mark in _CODE_MARKS)


def output_tokens_max(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> int | None:
    """Return the most output tokens that a body allows; None when it states no limit."""
    for key in OUTPUT_LIMITS[dialect]:
        value = _value(fields, key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
