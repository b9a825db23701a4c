"""Pages of the table ``calls``, in Parquet: from `tierwise export`, a console or a store's file."""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from collector.duckdb_file import exports_folder
from collector.duckdb_store import DuckDBStore
from collector.reader import ConsoleReader
from collector.rows import CallRow
from collector.store import Store, StoreLocked, StoreUnavailable
from telemetry.errors import ConfigError

PAGE_ROWS: Final = 100_000
READ_ROWS: Final = 20_000
_COLUMNS: Final = "SELECT name FROM parquet_schema($path) WHERE name IN (SELECT unnest($known))"
_FIELDS: Final = CallRow.__struct_fields__
_NEEDED: Final = ("trace_id", "span_id", "start_ns", "counted")

Record = dict[str, Any]


class NotCalls(Exception):
    """A Parquet file that is no page of the table calls."""


def parquet_rows(path: Path, store: Store, folder: Path) -> Iterator[list[Record]]:
    """Yield the rows of a Parquet page; ``folder`` is where ``store`` may read files.

    Raises:
        NotCalls: its columns are those of something else.
        StoreUnavailable: it is damaged.
    """
    inside = folder / "page.parquet"
    inside.unlink(missing_ok=True)
    _brought(path, inside)
    try:
        known = store.read(_COLUMNS, {"path": str(inside), "known": list(_FIELDS)})
        names = sorted({row["name"] for row in known}, key=_FIELDS.index)
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise NotCalls(f"no column {missing[0]!r}: only exports of the table calls hold calls")
        # Names of our own struct, so nothing foreign is spliced in.
        sql = (
            f"SELECT {', '.join(names)} "  # noqa: S608 - columns of CallRow
            "FROM read_parquet($path, file_row_number = true) "
            "WHERE file_row_number >= $low AND file_row_number < $high"
        )
        for low in range(0, 2**62, READ_ROWS):
            rows = store.read(sql, {"path": str(inside), "low": low, "high": low + READ_ROWS})
            if not rows:
                return
            yield rows
    finally:
        inside.unlink(missing_ok=True)


def _brought(path: Path, inside: Path) -> None:
    """Put a file where the database may read it: it follows no link out of its folder."""
    try:
        inside.hardlink_to(path)
    except OSError:  # another file system, or none that has links
        shutil.copyfile(path, inside)


def console_pages(url: str, folder: Path, *, key: str | None) -> Iterator[Path]:
    """Yield pages of a running collector's calls, one file at a time; ``key`` is shown there.

    Raises:
        ConfigError: the URL is none of a console.
        StoreUnavailable: nobody answers there, or it stopped answering.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError as error:
        raise ConfigError(f"{url}: {error}", hint="write it like http://127.0.0.1:8081") from error
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"{url}: not http://host:port", hint="the console listens on plain HTTP")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    reader = ConsoleReader(f"{host}:{port}", key=key)
    trouble = reader.trouble()
    if trouble is not None:
        raise StoreUnavailable(
            f"no collector answers at {url} ({trouble})",
            hint="`tierwise doctor` says where the console listens; 8081 unless told otherwise",
        )
    yield from _exported(reader.export, folder)


def store_pages(path: Path, folder: Path) -> Iterator[Path]:
    """Yield pages of a store's file that no collector holds; the file itself is never opened.

    A copy is, because opening a store may bring it to a newer format.

    Raises:
        StoreLocked: a collector holds the file.
        StoreUnavailable: it is damaged, or there is no room for the copy.
    """
    copy = folder / "copy.duckdb"
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            shutil.copyfile(path, copy)
            log = path.with_name(path.name + ".wal")
            if log.exists():
                shutil.copyfile(log, copy.with_name(copy.name + ".wal"))
    except BlockingIOError as error:
        raise StoreLocked(
            f"{path} is held by a running collector",
            hint="give its console instead: tierwise audit http://127.0.0.1:8081",
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror or error}", hint="name a store's file that this user may read"
        ) from error
    store = DuckDBStore(copy, now_ns=time.time_ns())
    try:
        yield from _exported(store.export, exports_folder(copy))
    finally:
        store.close()


def _exported(export: Callable[..., str | None], folder: Path) -> Iterator[Path]:
    cursor: str | None = None
    page = folder / "exported.parquet"
    while True:
        cursor = export("calls", page, form="parquet", cursor=cursor, rows_max=PAGE_ROWS)
        if cursor is None:
            return
        yield page
        page.unlink(missing_ok=True)
