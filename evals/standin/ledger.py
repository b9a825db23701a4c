"""What a stand-in billed, request by request: the other side of every cost a test compares."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

ENTRIES_MAX = 100_000


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. Tokens are those billed: input holds cached, output holds reasoning tokens."""

    request_id: str
    response_id: str | None
    dialect: str
    model: str
    streamed: bool
    status: int
    finished: bool = False  # false: the peer went away before the last byte was written
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    step: str | None = None
    right: bool | None = None


class Ledger:
    """The last ``ENTRIES_MAX`` requests, and how many older ones were let go."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self.requests_count = 0

    def add(self, entry: Entry) -> None:
        """Take an entry; it may still be completed while its stream runs."""
        self.entries.append(entry)
        self.requests_count += 1

    def reset(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self.requests_count = 0

    def as_json(self) -> dict[str, Any]:
        """Return the entries and the number that no longer fit."""
        return {
            "requests": self.requests_count,
            "dropped": self.requests_count - len(self.entries),
            "entries": [asdict(entry) for entry in self.entries],
        }
