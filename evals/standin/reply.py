"""What a dialect's renderer is given, and what it gives back."""

from dataclasses import dataclass
from typing import Any

import msgspec

from evals.standin.ask import Ask
from evals.standin.thinking import Answer

JSON_BYTES = msgspec.json.encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer with everything that is new for each request."""

    ask: Ask
    answer: Answer
    request_id: str  # 24 hex digits, unique
    created: int  # unix seconds
    version: str  # the dated model name
    cache_read: int
    cache_write: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE event (or a few that stand together) and the output tokens it carries."""

    content: bytes
    tokens: int = 0


def sse(name: str, body: dict[str, Any]) -> bytes:
    """Return one named server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + JSON_BYTES(body) + b"\n\n"
