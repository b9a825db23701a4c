"""The tables of the desk, in numbered steps: a step that was released never changes."""

from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # Small facts that outlive a restart, by name: cursors, when a sink was last tested ...
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
)
