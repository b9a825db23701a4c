"""An agent that goes in circles: the same tool call, or failing ones, again and again.

The rule is LiteLLM's: three identical or erring tool calls among the last six. It is read from the
conversation that each request carries, so nothing has to be remembered.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from telemetry.records import Dialect

CALLS_LOOKED_AT: Final = 6
CALLS_ALIKE: Final = 3
_MARKS: Final = (b'"tool_use"', b'"arguments"')  # one of them stands once in every call


class _Call(msgspec.Struct):
    """One tool call and whether its result was an error."""

    name: str
    arguments: str
    id: str
    failed: bool = False


def stalled(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> bool:
    """Say whether the newest tool call is at least the third of its kind, or of failing ones.

    ``fields`` are a request's top-level values; anything odd in them means no.
    """
    conversation = fields.get("input" if dialect is Dialect.RESPONSES else "messages")
    if conversation is None or "tools" not in fields or not _has_calls(conversation):
        return False
    try:
        turns = msgspec.json.decode(conversation)
    except (msgspec.MsgspecError, RecursionError):
        return False
    if not isinstance(turns, list):
        return False
    calls = list(islice(_newest_first(turns, dialect), CALLS_LOOKED_AT))
    if len(calls) < CALLS_ALIKE:
        return False
    alike = Counter((call.name, call.arguments) for call in calls)
    failing = sum(call.failed for call in calls)
    newest = calls[0]
    return alike[newest.name, newest.arguments] >= CALLS_ALIKE or (
        newest.failed and failing >= CALLS_ALIKE
    )


def _has_calls(conversation: msgspec.Raw) -> bool:
    """Say whether reading it is worth the time: too few calls, and it cannot be a stall."""
    raw = bytes(conversation)
    return sum(raw.count(mark) for mark in _MARKS) >= CALLS_ALIKE


def _newest_first(turns: list[Any], dialect: Dialect) -> Iterator[_Call]:
    """Yield tool calls, newest first, each with what its result said."""
    errors: set[str] = set()
    for turn in reversed(turns):
        if not isinstance(turn, dict):
            continue
        errors |= set(_errors(turn, dialect))
        for call in reversed(list(_calls(turn, dialect))):
            call.failed = call.id in errors
            yield call


def _calls(turn: dict[str, Any], dialect: Dialect) -> Iterator[_Call]:
    if dialect is Dialect.RESPONSES:
        if turn.get("type") == "function_call":
            yield _made(turn.get("name"), turn.get("arguments"), turn.get("call_id"))
    elif dialect is Dialect.MESSAGES:
        for block in _objects(turn.get("content")):
            if block.get("type") == "tool_use":
                yield _made(block.get("name"), block.get("input"), block.get("id"))
    else:
        for entry in _objects(turn.get("tool_calls")):
            function = entry.get("function")
            if isinstance(function, dict):
                yield _made(function.get("name"), function.get("arguments"), entry.get("id"))


def _errors(turn: dict[str, Any], dialect: Dialect) -> Iterator[str]:
    """Yield the ids of calls whose result is marked as an error; only Messages marks them."""
    if dialect is Dialect.MESSAGES:
        for block in _objects(turn.get("content")):
            if block.get("type") == "tool_result" and block.get("is_error") is True:
                yield str(block.get("tool_use_id"))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _made(name: Any, arguments: Any, call_id: Any) -> _Call:
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return _Call(name=str(name), arguments=text, id=str(call_id))
