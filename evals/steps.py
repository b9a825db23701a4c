"""The request side of one step, read the same way from all three dialects.

Nothing here raises on what a caller sent: the provider judges the request, we only read what our
checks and code functions need. What cannot be read is absent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from telemetry.records import Dialect

TOOLS_MAX: Final = 512
MESSAGES_MAX: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """One tool that the caller declared and runs itself."""

    name: str
    schema: bytes | None = None  # JSON schema of its arguments, as sent; None when it has none


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the conversation, its text parts joined by newlines."""

    role: str  # system, developer, user, assistant, tool ... as sent
    text: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One model call that an agent asks for: ``fields`` are the body's top-level values, as sent.

    Everything else is read from ``fields`` on first use and kept.
    """

    role: str
    dialect: Dialect
    fields: Mapping[str, msgspec.Raw]

    @cached_property
    def schema(self) -> bytes | None:
        """The JSON schema the answer must follow, as sent; None when the caller asks for none."""
        if self.dialect is Dialect.CHAT:
            return _schema_of(_inside(self.fields.get("response_format"), "json_schema"))
        if self.dialect is Dialect.RESPONSES:
            return _schema_of(_inside(self.fields.get("text"), "format"))
        for place in (
            _inside(self.fields.get("output_config"), "format"),
            _members(self.fields.get("output_format")),
        ):
            if (schema := _schema_of(place)) is not None:
                return schema
        return None

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that the caller declared and runs itself, in order, at most ``TOOLS_MAX``."""
        entries = [*_items(self.fields.get("tools")), *_items(self.fields.get("functions"))]
        found = (_tool(_members(entry)) for entry in entries[:TOOLS_MAX])
        return tuple(tool for tool in found if tool is not None)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """Every message that holds text, in order; the system prompt first."""
        return tuple(_messages(self.body()))

    @property
    def last_user_text(self) -> str:
        """What the user said last; empty when no user message holds text."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        return ""

    @property
    def text(self) -> str:
        """All messages' text, joined by newlines."""
        return "\n".join(message.text for message in self.messages)

    def body(self) -> dict[str, Any]:
        """Return the request's fields, parsed anew: the caller owns the result."""
        return {name: _decoded(raw) for name, raw in self.fields.items()}


def read_step(body: bytes, *, role: str, dialect: Dialect) -> Step:
    """Return the step of a whole request body; a body that is no JSON object has no fields."""
    return Step(role=role, dialect=dialect, fields=_members(msgspec.Raw(body)))


_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def _members(raw: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    """Return the members of an object; none when it is no object."""
    if raw is None:
        return {}
    try:
        return _RAW_OBJECT.decode(raw)
    except _UNREADABLE:
        return {}


def _inside(raw: msgspec.Raw | None, name: str) -> dict[str, msgspec.Raw]:
    return _members(_members(raw).get(name))


def _items(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    if raw is None:
        return []
    try:
        return _RAW_LIST.decode(raw)
    except _UNREADABLE:
        return []


def _decoded(raw: msgspec.Raw | None) -> Any:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except _UNREADABLE:
        return None


def _schema_of(members: Mapping[str, msgspec.Raw]) -> bytes | None:
    raw = members.get("schema")
    if raw is None:
        return None
    content = bytes(raw).strip()
    return content if content.startswith(b"{") else None


def _tool(members: Mapping[str, msgspec.Raw]) -> Tool | None:
    """Return a declared tool; None for one that the provider runs, or an odd entry."""
    inner = next((members[key] for key in ("function", "custom") if key in members), None)
    place = members if inner is None else _members(inner)
    name = _decoded(place.get("name"))
    kind = _decoded(members.get("type"))
    if not isinstance(name, str) or not name or kind not in (None, "function", "custom"):
        return None
    schema = next((place[key] for key in ("parameters", "input_schema") if key in place), None)
    content = bytes(schema).strip() if schema is not None else b""
    return Tool(name=name, schema=content if content.startswith(b"{") else None)


def _messages(body: Mapping[str, Any]) -> Iterator[Message]:
    for key in ("system", "instructions"):
        if text := text_of(body.get(key)):
            yield Message(role="system", text=text)
    said = body.get("messages", body.get("input"))
    if isinstance(said, str) and said:
        yield Message(role="user", text=said)
    if not isinstance(said, list):
        return
    for item in said[:MESSAGES_MAX]:
        if not isinstance(item, dict):
            continue
        role = item.get("role")
        text = text_of(item.get("content", item.get("output")))
        if text:
            yield Message(role=role if isinstance(role, str) else "tool", text=text)


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or its text parts joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") if isinstance(part, dict) else part for part in content)
    return "\n".join(part for part in parts if isinstance(part, str))
