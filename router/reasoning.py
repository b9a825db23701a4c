"""Reasoning that a provider signed, taken out before another provider would refuse it.

Signed or encrypted reasoning is bound to the provider that wrote it: Anthropic's ``thinking`` and
``redacted_thinking`` blocks, OpenAI's ``reasoning`` items, and the ``thinking_blocks`` and
``reasoning_details`` that chat-shaped servers add to messages.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from telemetry.records import Dialect

_BLOCKS: Final = ("thinking", "redacted_thinking")
_CHAT_KEYS: Final = ("thinking_blocks", "reasoning_details")
_TURNS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def conversation(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> msgspec.Raw | None:
    """Return the turns of a request, as JSON; None when it has none."""
    return fields.get(_key(dialect))


def count_turns(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> int:
    """Return how many turns a conversation has; 0 when it is no list of them."""
    raw = conversation(fields, dialect)
    try:
        return 0 if raw is None else len(_TURNS.decode(raw))
    except (msgspec.MsgspecError, RecursionError):
        return 0


def without_signed(
    fields: Mapping[str, msgspec.Raw], dialect: Dialect, *, turns_max: int | None = None
) -> dict[str, bytes]:
    """Return the top-level values that change when signed reasoning goes, as JSON; mostly none.

    Turns that hold none stay as they are, byte for byte. With ``turns_max`` only so many turns,
    the oldest, lose theirs; a conversation that has become shorter than that was written anew,
    and nothing is known of it: it stays.
    """
    key = _key(dialect)
    raw = fields.get(key)
    if raw is None or not _smells(bytes(raw)):
        return {}
    try:
        turns = _TURNS.decode(raw)
        if turns_max is not None and turns_max > len(turns):
            return {}
        kept: list[bytes | None] = [bytes(turn) for turn in turns]
        kept[:turns_max] = [_cleaned(bytes(turn), dialect) for turn in turns[:turns_max]]
    except (msgspec.MsgspecError, RecursionError):
        return {}
    if all(was == bytes(turn) for was, turn in zip(kept, turns, strict=True)):
        return {}
    return {key: b"[" + b",".join(turn for turn in kept if turn is not None) + b"]"}


def _key(dialect: Dialect) -> str:
    return "input" if dialect is Dialect.RESPONSES else "messages"


def _smells(raw: bytes) -> bool:
    return b"thinking" in raw or b"reasoning" in raw


def _cleaned(raw: bytes, dialect: Dialect) -> bytes | None:
    """Return the turn without signed reasoning; None when nothing is left of it."""
    if not _smells(raw):
        return raw
    turn = msgspec.json.decode(raw)
    kept = _kept(turn, dialect) if isinstance(turn, dict) else turn
    if kept == turn:
        return raw
    return None if kept is None else msgspec.json.encode(kept)


def _kept(turn: dict[str, Any], dialect: Dialect) -> dict[str, Any] | None:
    if dialect is Dialect.RESPONSES:
        return None if turn.get("type") == "reasoning" else turn
    if dialect is Dialect.CHAT:
        return {name: value for name, value in turn.items() if name not in _CHAT_KEYS}
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    blocks = [block for block in content if not _is_signed(block)]
    return {**turn, "content": blocks} if blocks or not content else None


def _is_signed(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in _BLOCKS
