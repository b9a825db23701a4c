"""What the collector asks of a store; a larger engine can stand behind the same promises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from collector.rows import Batch
from telemetry.errors import ApiError

Parameters = Mapping[str, Any]
Rows = list[dict[str, Any]]
# What to do where a person's query failed.
_GUESSES: Final = ("Did you mean", "Candidate")  # how lines of the engine begin that help
SQL_HELP: Final = "write one SELECT; SHOW TABLES lists what there is, DESCRIBE calls its columns"


class StoreError(ApiError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """A passing trouble (full disk, read-only disk, broken file): the same data may work later."""


class StoreRefused(StoreError):
    """The data itself cannot be stored; sending it again changes nothing."""


class StoreLocked(StoreError):
    """Another process holds the file; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What one commit did."""

    records: int = 0
    duplicates: int = 0
    corrections: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage


class Store(Protocol):
    """Appends batches, keeps roll-ups, answers queries.

    ``write``, ``mend``, ``roll_up``, ``prune`` and ``close`` belong to one thread; ``read`` to any.
    """

    def write(self, batches: Sequence[Batch], *, now_ns: int) -> Written:
        """Commit all ``batches`` or none; spans that are stored already are counted as duplicates.

        ``received_ns`` of every row becomes the commit's own time, which always rises.

        Raises:
            StoreUnavailable: nothing was stored; try again later.
            StoreRefused: nothing was stored; the data is at fault.
        """
        ...

    def mend(self) -> bool:
        """Make the store usable again after what left it useless; say whether that was needed.

        The others do so themselves before they begin. A store that cannot be mended is tried again
        after ever longer pauses, and refuses everything meanwhile.

        Raises:
            StoreUnavailable: it is still of no use; the message says why.
        """
        ...

    def roll_up(self, now_ns: int) -> int:
        """Compute minutes that changed again, newest first; return how many, 0 when none are left.

        One call takes a bounded step: a long backlog needs several.
        """
        ...

    def prune(self, now_ns: int) -> int:
        """Remove what is older than its retention; return the rows removed."""
        ...

    def read(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Return the rows of one of our own queries; values are bound, never spliced."""
        ...

    def query(self, sql: str, *, rows_max: int, seconds_max: float) -> "Table":
        """Return the result of one read-only statement that a person wrote.

        Raises:
            StoreRefused: it is not exactly one SELECT, it failed, or it took too long.
        """
        ...

    def export(
        self, table: str, path: Path, *, form: Literal["parquet", "ndjson"], cursor: str | None,
        rows_max: int,
    ) -> str | None:  # fmt: skip
        """Write a page of a table's rows, in order of arrival, to ``path``; return its cursor.

        None says that there is nothing after ``cursor``. ``path`` must lie in the store's folder
        for exports; it is the only place that the database may write to.

        Raises:
            StoreRefused: unknown table or a cursor that is none of ours.
        """
        ...

    def close(self) -> None:
        """Write everything out and give the file up."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The result of a query a person wrote."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool


def parse_cursor(cursor: str | None) -> tuple[int, str]:
    """Return the place after which an export goes on.

    Raises:
        StoreRefused: when it is no cursor that an export returned.
    """
    if not cursor:
        return 0, ""
    at, _, last = cursor.partition("-")
    if not at.isdecimal() or len(at) > 19:
        raise StoreRefused(
            f"{cursor!r} is not a cursor of an earlier export",
            hint="send what the header x-tierwise-cursor held, or none to begin",
        )
    return int(at), last


def sql_hint(text: str) -> str:
    """Return what to write instead of a person's query that failed, as the engine guesses."""
    guess = next((line for line in text.splitlines() if line.startswith(_GUESSES)), None)
    return SQL_HELP if guess is None else f"{SQL_HELP}; {guess[:300]}"


def own_fault(error: Exception) -> StoreUnavailable:
    """Return an error that nobody foresaw, as those who wait are told it."""
    return StoreUnavailable(
        f"a fault of the collector's own: {error!r:.200}",
        hint="the collector's log has the details; please report it",
    )


def remedy(text: str) -> str:
    """Return what a person can do about an engine's error, as far as its text tells."""
    if "No space left" in text:
        return "make room on the disk; senders keep their data and try again"
    if "Permission denied" in text or "Read-only file system" in text or "read-only" in text:
        return "the store's directory must be writable"
    if "not a valid DuckDB database file" in text or "WAL" in text:
        return (
            "the file is damaged: restore a copy, or move it aside and start with an empty store; "
            "if it never was a store, name another"
        )
    if "Is a directory" in text:
        return "name a store's file, .tierwise/tierwise.duckdb unless told otherwise"
    return "the collector's log has the details; `tierwise doctor` looks at the disk"
