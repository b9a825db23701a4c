"""Loads dumps into a store of their own, through the code that the collector's store runs on.

Doubles, nesting, ancestors and late evaluations are settled exactly as a collector settles them,
so a dump and the store that received the same spans give the same totals.
"""

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector.decode import Reception
from collector.duckdb_file import exports_folder
from collector.duckdb_store import DuckDBStore
from collector.dumps import pages, sources
from collector.dumps.counted import facts_of
from collector.dumps.pieces import Piece, Rows, add_record, rows_of, start_worker, unpacked, work
from collector.dumps.sources import Fault, Form
from collector.normalising import Normaliser
from collector.pricing import BookPricing
from collector.rows import Batch
from collector.store import StoreUnavailable
from evals.audit.facts import Facts, Reading
from telemetry.errors import ConfigError
from telemetry.prices import PriceBook

COMMIT_ROWS: Final = 20_000
PARALLEL_BYTES: Final = 33_554_432  # below this, starting processes takes longer than they save
WORKERS_MAX: Final = 4
MEMORY_MB: Final = 768
_REFUSALS: Final = {
    "trace_id": "a trace id that is none",
    "span_id": "a span id that is none",
    "time": "a time that is unset, before 2000 or in the future",
    "value": "an evaluation without a name, or without a score or a label",
}

Progress = Callable[[int, int], None]  # bytes of files done, records


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What loading needs besides its input: prices, the policy's evaluators and the time."""

    book: PriceBook
    normaliser: Normaliser
    now_ns: int
    key: str | None = None  # for consoles that want one


def load(
    places: Sequence[str], folder: Path, *, means: Means, progress: Progress = lambda *_: None
) -> Facts:
    """Return the facts of all ``places`` (files, folders, consoles' URLs) together.

    ``folder`` is an empty one for the working store; its owner removes it.

    Raises:
        ConfigError: a place that is not there, or an URL that is none.
        StoreLocked: a store's file that a collector holds.
        StoreUnavailable: a console that does not answer, or no room for the working store.
    """
    with ExitStack() as stack:
        stack.enter_context(_uncollected())
        store = DuckDBStore(folder / "audit.duckdb", now_ns=means.now_ns, memory_mb=MEMORY_MB)
        stack.callback(store.close)
        loading = _Loading(store, folder, means, progress, stack)
        for place in places:
            loading.add(place)
        return loading.finish()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the cycle collector still: rows come by the million and make no cycles."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def size_of(places: Sequence[str]) -> int:
    """Return the bytes of all files among ``places``; consoles have none."""
    return sum(
        file.stat().st_size
        for place in places
        if not is_url(place)
        for file in sources.files_of(Path(place))
        if file.exists()
    )


def is_url(place: str) -> bool:
    """Say whether a place is a console's URL."""
    return place.startswith(("http://", "https://"))


class _Loading:
    """One load: rows gather until a commit is worth its while."""

    def __init__(
        self, store: DuckDBStore, folder: Path, means: Means, progress: Progress, stack: ExitStack
    ) -> None:
        self._store = store
        self._folder = folder
        self._means = means
        self._progress = progress
        self._stack = stack
        self._reception = Reception(received_ns=means.now_ns, pricing=BookPricing(means.book))
        self._reading = Reading()
        self._batches: list[Batch] = []
        self._held = 0
        self._done = 0  # bytes of files before this one
        self._pool: ProcessPoolExecutor | None = None

    def add(self, place: str) -> None:
        """Read one place, whatever it is."""
        self._reading.sources.append(place)
        if is_url(place):
            for page in pages.console_pages(place, self._folder, key=self._means.key):
                self._add_parquet(page, name=place)
            return
        path = Path(place)
        if not path.exists():
            raise ConfigError(
                f"{place}: there is no such file or folder",
                hint="name a file or folder of exported telemetry, or http://host:8081",
            )
        for file in sources.files_of(path):
            self._add_file(file)
            self._done += file.stat().st_size
            self._told(0)

    def finish(self) -> Facts:
        """Commit what is held, settle evaluations and count."""
        self._commit()
        if self._reading.evaluations:
            self._store.roll_up(self._means.now_ns)  # its first step joins all evaluations
        return facts_of(self._store, self._reading)

    def _add_file(self, file: Path) -> None:
        try:
            form = sources.form_of(file)
            if form is Form.EMPTY:
                self._reading.refuse("an empty file", where=str(file))
            elif form is Form.PARQUET:
                self._add_parquet(file, name=str(file))
            elif form is Form.STORE:
                for page in pages.store_pages(file, self._folder):
                    self._add_parquet(page, name=str(file))
            elif form is Form.CSV:
                self._add_table(file)
            else:
                self._add_pieces(file, form)
        except OSError as error:
            raise ConfigError(
                f"{file}: {error.strerror or error}", hint="name files that this user may read"
            ) from error

    def _add_table(self, file: Path) -> None:
        rows = Rows()
        for line, record in sources.table(file, read=self._told):
            if isinstance(record, Fault):
                rows.refuse(record.reason, record.where)
                continue
            add_record(rows, record, self._reception, where=f"{file}:{line}")
            if rows.batch.records >= COMMIT_ROWS:
                self._take(rows)
                rows = Rows()
        self._take(rows)

    def _add_parquet(self, file: Path, *, name: str) -> None:
        try:
            for page in pages.parquet_rows(file, self._store, exports_folder(self._path)):
                rows = Rows()
                for number, record in enumerate(page):
                    add_record(rows, record, self._reception, where=f"{name}[{number}]")
                self._take(rows)
        except (pages.NotCalls, StoreUnavailable) as error:
            self._reading.refuse(f"not a page of calls: {error}", where=name)

    @property
    def _path(self) -> Path:
        return self._folder / "audit.duckdb"

    def _add_pieces(self, file: Path, form: Form) -> None:
        found = sources.pieces(file, form, read=self._told)
        size = file.stat().st_size
        if size < PARALLEL_BYTES and self._pool is None:
            for piece in found:
                if isinstance(piece, Fault):
                    self._reading.refuse(piece.reason, where=piece.where)
                else:
                    self._take(rows_of(piece, self._reception))
            return
        for rows in self._decoded(found):
            self._take(rows)

    def _decoded(self, found: Iterator[Piece | Fault]) -> Iterator[Rows]:
        """Decode pieces in other processes, a few ahead, and yield their rows in order."""
        pool = self._workers()
        ahead: deque[Future[bytes]] = deque()
        for piece in found:
            if isinstance(piece, Fault):
                self._reading.refuse(piece.reason, where=piece.where)
                continue
            ahead.append(pool.submit(work, piece))
            if len(ahead) > 2 * WORKERS_MAX:
                yield unpacked(ahead.popleft().result())
        while ahead:
            yield unpacked(ahead.popleft().result())

    def _workers(self) -> ProcessPoolExecutor:
        """Return the pool; processes are spawned, since the database must not be forked."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=min(os.cpu_count() or 1, WORKERS_MAX),
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(self._means.book, self._means.now_ns),
            )
            self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        return self._pool

    def _take(self, rows: Rows) -> None:
        reading, batch = self._reading, rows.batch
        for reason, count in rows.refused.items():
            reading.refuse(reason, count=count)
        for example in rows.examples:
            reading.name(example)
        for form, count in rows.forms.items():
            reading.forms[form] = reading.forms.get(form, 0) + count
        for refusal, count in batch.rejected.items():
            reading.refuse(_REFUSALS[refusal], count=count)
        if batch.points:
            reading.refuse("a metric's data point: metrics hold no calls", count=batch.points)
        reading.uncoerced += batch.uncoerced
        reading.biased += batch.biased
        reading.records += batch.records
        reading.evaluations += len(batch.evaluations)
        batch.logs.clear()  # calls that came as log records are calls already
        self._means.normaliser.fill(batch.evaluations)
        if batch.records:
            self._batches.append(batch)
            self._held += batch.records
        if self._held >= COMMIT_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self._batches:
            written = self._store.write(self._batches, now_ns=self._means.now_ns)
            self._reading.duplicates += written.duplicates
            self._batches, self._held = [], 0
        self._told(0)

    def _told(self, within: int) -> None:
        self._reading.bytes_read = self._done + within
        self._progress(self._done + within, self._reading.records)
