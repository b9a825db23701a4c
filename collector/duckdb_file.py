"""One DuckDB file and the connections to it, opened anew after what left them useless."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from collector import queries
from collector.store import StoreError, StoreLocked, StoreUnavailable, own_fault, remedy

TRY_SECONDS_FIRST: Final = 0.25  # after a try to open it anew failed, doubled each time
TRY_SECONDS_MAX: Final = 30.0

log = logging.getLogger("tierwise.collector")


class DuckDBFile:
    """Made, mended and closed by the thread that writes; ``cursor`` is for any."""

    def __init__(
        self, path: Path, *, memory_mb: int, threads: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Open or create the file.

        Raises:
            StoreLocked: another process has the file; the message names it.
            StoreUnavailable: the file cannot be opened.
        """
        self._path = path
        self._limits = (memory_mb, threads)
        self._monotonic = monotonic
        self._cursors = threading.Lock()
        self._trouble: StoreUnavailable | None = None  # why it has to be opened anew
        self._tries = 0  # to open it anew, since a commit worked
        self._next_try = 0.0
        self._connect()

    @property
    def broken(self) -> bool:
        """Whether nothing can be done before ``mend`` has worked."""
        return self._trouble is not None

    def broke(self, error: Exception) -> None:
        """Have the file opened anew before it is used again: at once, but not over and over."""
        if self._trouble is None:
            self._trouble = worded(error)
            wait = self._plan()
            log.error("the store has to be opened anew (in %g s): %s", wait, self._trouble)

    def worked(self) -> None:
        """Take it for sound: a commit worked."""
        self._tries = 0

    def _plan(self) -> float:
        """Set when to try next; return in how many seconds that is."""
        wait = 0.0
        if self._tries:
            # The exponent is bounded: a disk may be full for days.
            wait = min(TRY_SECONDS_FIRST * 2.0 ** min(self._tries - 1, 16), TRY_SECONDS_MAX)
        self._next_try = self._monotonic() + wait
        return wait

    def mend(self, restore: Callable[[], None]) -> bool:
        """Open the file anew if it broke, and ``restore`` what stands on it; say if that was due.

        Each try is followed by a longer pause, up to ``TRY_SECONDS_MAX``, until a commit works. In
        these pauses all that is asked of a broken store is refused.

        Raises:
            StoreUnavailable: it is not mended; it may be asked for again at any time.
        """
        if self._trouble is None:
            return False
        if self._monotonic() < self._next_try:
            raise StoreUnavailable(self._trouble.message, hint=self._trouble.hint)
        self._tries += 1
        try:
            self._reopen()
            restore()
        except Exception as error:
            self._failed(error)
            raise StoreUnavailable(self._trouble.message, hint=self._trouble.hint) from error
        log.warning("the store is open again, at try %d", self._tries)
        self._trouble = None
        return True

    def _failed(self, error: Exception) -> None:
        wait = self._plan()
        cause = worded(error)
        self._trouble = StoreUnavailable(
            f"the store cannot be opened again: {cause.message}", hint=cause.hint
        )
        log.error("%s (try %d, the next one in %g s)", self._trouble, self._tries, wait)

    def _reopen(self) -> None:
        with self._cursors:
            for each in (self._reader, self.connection):
                with suppress(duckdb.Error):  # it is of no use any more, and may say so
                    each.close()
            if not self._path.exists():  # an empty store in its place would hide that
                raise StoreUnavailable(
                    f"{self._path} is gone",
                    hint="put it back, or start the collector anew with an empty store",
                )
            self._connect()

    def _connect(self) -> None:
        memory_mb, threads = self._limits
        connection = connect(self._path, memory_mb=memory_mb, threads=threads)
        self.connection, self._reader = connection, connection.cursor()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection of its own for this thread; sharing one is not safe."""
        with wording():
            with self._cursors:
                cursor = self._reader.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the engine's errors into the store's, and note those that leave it useless."""
        try:
            yield
        except duckdb.Error as error:
            if hopeless(error):
                self.broke(error)
            raise worded(error) from error

    def close(self) -> None:
        """Write everything out and give the file up."""
        with wording():
            self._reader.close()
            self.connection.close()


@contextmanager
def wording() -> Iterator[None]:
    """Turn the engine's errors into the store's."""
    try:
        yield
    except duckdb.Error as error:
        raise worded(error) from error


def worded(error: Exception) -> StoreUnavailable:
    """Return an error as one that may pass."""
    if isinstance(error, StoreError):
        return StoreUnavailable(error.message, hint=error.hint)
    if isinstance(error, duckdb.Error):
        return StoreUnavailable(first_line(error), hint=remedy(str(error)))
    return own_fault(error)


def hopeless(error: Exception) -> bool:
    """Say whether an error leaves the engine useless until the file is opened anew."""
    fatal = isinstance(error, duckdb.FatalException | duckdb.InternalException)
    return fatal or "invalidated" in str(error)


def first_line(error: Exception) -> str:
    """Return what an error of the engine says, without the statement that it points into."""
    return str(error).partition("\n")[0][:300]


def exports_folder(path: Path) -> Path:
    """Return the one folder that the store at ``path`` may write other files to."""
    return path.with_name(path.name + ".exports").absolute()


def connect(path: Path, *, memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Return the connection that writes, with the tables that are its own.

    Raises:
        StoreLocked: another process has the file; the message names it.
        StoreUnavailable: the file cannot be opened.
    """
    exports = exports_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        exports.mkdir(mode=0o700, exist_ok=True)
        connection = duckdb.connect(path)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}", hint=remedy(str(error))) from error
    except duckdb.Error as error:
        holder = re.search(r"lock is held in (.+?) \(PID (\d+)\)", str(error))
        if holder is not None:
            raise StoreLocked(
                f"{path} is in use by process {holder[2]} ({holder[1]})",
                hint="stop that collector first, or name another store file",
            ) from error
        raise StoreUnavailable(f"{path}: {first_line(error)}", hint=remedy(str(error))) from error
    try:
        _set_up(connection, path, memory_mb=memory_mb, threads=threads)
    except duckdb.Error as error:
        connection.close()  # left open, it would be what the next try is given
        raise StoreUnavailable(f"{path}: {first_line(error)}", hint=remedy(str(error))) from error
    return connection


def _set_up(
    connection: duckdb.DuckDBPyConnection, path: Path, *, memory_mb: int, threads: int
) -> None:
    settings = {
        "memory": f"{memory_mb}MB",
        "spill": str(path) + ".spill",
        "threads": threads,
        "exports": [str(exports_folder(path))],
    }
    for statement in queries.SETTINGS:
        used = {name: value for name, value in settings.items() if f"${name}" in statement}
        connection.execute(statement, used)
    connection.execute(queries.CORRECTIONS)
