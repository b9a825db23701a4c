"""Reasoning that a provider signed, taken out before another provider would refuse it.

Signed or encrypted reasoning is bound to the provider that wrote it: Anthropic's ``thinking`` and
``redacted_thinking`` blocks, OpenAI's ``reasoning`` items, and the ``thinking_blocks`` and
``reasoning_details`` that chat-shaped servers add to messages.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from telemetry.records import Dialect

_BLOCKS: Final = frozenset({"thinking", "redacted_thinking"})
_CHAT_KEYS: Final = ("thinking_blocks", "reasoning_details")


def without_signed(fields: Mapping[str, msgspec.Raw], dialect: Dialect) -> dict[str, bytes]:
    """Return the top-level values that change when signed reasoning goes, as JSON; mostly none."""
    key = "input" if dialect is Dialect.RESPONSES else "messages"
    raw = fields.get(key)
    if raw is None or not _smells(bytes(raw)):
        return {}
    try:
        turns = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    if not isinstance(turns, list):
        return {}
    kept = [turn for turn in (_cleaned(turn, dialect) for turn in turns) if turn is not None]
    return {} if kept == turns else {key: msgspec.json.encode(kept)}


def _smells(raw: bytes) -> bool:
    return b"thinking" in raw or b"reasoning" in raw


def _cleaned(turn: Any, dialect: Dialect) -> Any:
    """Return the turn without signed reasoning; None when nothing is left of it."""
    if not isinstance(turn, dict):
        return turn
    if dialect is Dialect.RESPONSES:
        return None if turn.get("type") == "reasoning" else turn
    if dialect is Dialect.CHAT:
        return {key: value for key, value in turn.items() if key not in _CHAT_KEYS}
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    kept = [b for b in content if not (isinstance(b, dict) and b.get("type") in _BLOCKS)]
    if not kept:
        return None
    return turn if len(kept) == len(content) else {**turn, "content": kept}
