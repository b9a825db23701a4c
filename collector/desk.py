"""The desk: one SQLite file for what is decided, beside the DuckDB file for what happened.

Revisions, reviews, alerts, silences, what must still be sent and what the learner carries over are
few rows in many small transactions, each of which must survive a kill the moment it is done.
SQLite commits one in a millisecond, from any thread; DuckDB's single writer groups thousands of
facts into one commit. Losing the desk loses no fact: the declared policy holds and evidence is
counted again from the store.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from collector.desk_tables import MIGRATIONS
from collector.store import StoreUnavailable
from telemetry.errors import ConfigError

BUSY_SECONDS: Final = 10.0
WRITABLE: Final = "the store's directory must be writable and have room; then try again"
SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit that returned is on the disk
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 1000",
)

Row = dict[str, Any]
Bound = Mapping[str, Any]


def desk_path(store: Path) -> Path:
    """Return where the desk of the store at ``store`` stands."""
    return store.with_name(store.name + ".desk")


class Transaction:
    """Statements that take effect together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, bound: Bound | None = None) -> int:
        """Run one statement with values by name; return how many rows it changed."""
        return self._connection.execute(sql, dict(bound or {})).rowcount

    def rows(self, sql: str, bound: Bound | None = None) -> list[Row]:
        """Return the rows of one SELECT."""
        found = self._connection.execute(sql, dict(bound or {}))
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def row(self, sql: str, bound: Bound | None = None) -> Row | None:
        """Return the first row of one SELECT, or None."""
        return next(iter(self.rows(sql, bound)), None)


class Desk:
    """The open file; safe to use from any thread, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at ``path`` and bring its tables up to date.

        Raises:
            StoreUnavailable: it cannot be opened, read or written.
            ConfigError: a newer tierwise wrote it.
        """
        self._path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            for setting in SETTINGS:
                self._connection.execute(setting)
            self._migrate(MIGRATIONS)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror or error}", hint=WRITABLE) from error
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"{path}: {error}",
                hint="move the file away to start with the declared policy and an empty history",
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit what is run inside when the block ends, nothing of it when it raises.

        A transaction holds the only writer's place: no network and no solving inside one. Within
        one, the same thread may not begin another.

        Raises:
            StoreUnavailable: the file cannot be written; nothing of the block took effect.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Transaction(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.IntegrityError:
                raise  # a rule of the tables; whoever wrote the statement knows what it means
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}", hint=WRITABLE) from error

    def rows(self, sql: str, bound: Bound | None = None) -> list[Row]:
        """Return the rows of one SELECT outside any transaction."""
        with self._lock:
            try:
                return Transaction(self._connection).rows(sql, bound)
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}", hint=WRITABLE) from error

    def row(self, sql: str, bound: Bound | None = None) -> Row | None:
        """Return the first row of one SELECT outside any transaction, or None."""
        return next(iter(self.rows(sql, bound)), None)

    def close(self) -> None:
        """Close the file; the desk is of no use afterwards."""
        with self._lock:
            self._connection.close()

    def _migrate(self, migrations: Sequence[Sequence[str]]) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(migrations):
            raise ConfigError(
                f"{self._path} was written by a newer tierwise (version {version} of its tables)",
                hint="run that version, or name another store file",
            )
        for number, statements in enumerate(migrations[version:], start=version + 1):
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {number}")
            self._connection.execute("COMMIT")
