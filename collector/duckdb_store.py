"""The store in one DuckDB file; beside ``duckdb_file`` nothing else here imports duckdb."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import duckdb
import msgspec

from collector import learning_queries, queries, rolling, rollup_queries, views
from collector.dedupe import drop_known, memories
from collector.duckdb_file import DuckDBFile, first_line, hopeless, worded
from collector.lineage import NODES_MAX, OPEN_MAX, Lineage, Node, Open
from collector.migrations import migrate
from collector.rolling import DAY_NS, LATE_NS, Runner
from collector.rows import Batch, CallRow, DecisionRow, EvaluationRow, LogRow, SpanRow, TextRow
from collector.store import (
    SQL_HELP,
    Parameters,
    Rows,
    StoreRefused,
    StoreUnavailable,
    Table,
    Written,
    parse_cursor,
    remedy,
    sql_hint,
)
from telemetry.errors import TierwiseError

log = logging.getLogger("tierwise.collector")

_TABLES: Final = (
    ("calls", CallRow),
    ("decisions", DecisionRow),
    ("spans", SpanRow),
    ("logs", LogRow),
    ("evaluations", EvaluationRow),
    ("texts", TextRow),
)


class DuckDBStore:
    """A ``Store``: made, written and closed by one thread, read by any."""

    def __init__(
        self,
        path: Path,
        *,
        now_ns: int,
        memory_mb: int = 1_024,
        threads: int = 2,
        keep_days: tuple[int, int] = (30, 400),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or create the file; ``keep_days`` are for spans and logs, and for calls.

        Raises:
            StoreLocked: another process has the file; the message names it.
            StoreUnavailable: the file cannot be opened, read or written.
            ConfigError: a newer tierwise wrote it.
        """
        self._keep_days = keep_days
        self._lineage = Lineage()
        self._arrival_ns = 0
        self._joined_ns = 0
        self._file = DuckDBFile(path, memory_mb=memory_mb, threads=threads, monotonic=monotonic)
        try:
            migrate(self._connection, now_ns=now_ns)
            for statement in views.VIEWS:
                self._connection.execute(statement)
            self._arrival_ns = self._row(queries.LAST_ARRIVAL)[0]
            self._seen = memories(self._connection)
            self._restore(now_ns)
        except (duckdb.Error, TierwiseError) as error:
            self.close()
            if isinstance(error, TierwiseError):
                raise
            raise StoreUnavailable(
                f"{path}: {first_line(error)}", hint=remedy(str(error))
            ) from error

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return self._file.connection

    def mend(self) -> bool:
        return self._file.mend(lambda: self._restore(self._arrival_ns))

    def write(self, batches: Sequence[Batch], *, now_ns: int) -> Written:
        # Strictly rising, whatever the clock does: exports go on from the last row's arrival.
        self._arrival_ns = max(now_ns, self._arrival_ns + 1)
        self.mend()
        whole = [replace(batch) for batch in batches]
        try:
            return self._write(whole)
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            self._recover(error)
            said = f"a value cannot be stored: {first_line(error)}"
            raise StoreRefused(said, hint="mend the sender: again it fails again") from error
        except duckdb.Error as error:
            self._recover(error)
            raise worded(error) from error
        except MemoryError as error:  # it passes: its senders may try again
            self._recover(error)
            raise StoreUnavailable(
                "there is not enough memory to commit this now",
                hint="senders keep it and try again; give the collector more memory if it stays so",
            ) from error
        except Exception as error:
            self._recover(error)  # a fault of ours costs its batch, never the only writer
            log.exception("a commit failed by a fault of the collector's own")
            passing = worded(error)
            if self._file.broken:  # there is more at fault than this batch
                raise passing from error
            raise StoreRefused(passing.message, hint=passing.hint) from error

    def _write(self, batches: Sequence[Batch]) -> Written:
        """Commit copies of batches: those that failed may be tried again with all their rows."""
        started = time.perf_counter()
        connection = self._connection
        connection.execute("BEGIN")
        duplicates = drop_known(connection, batches, seen=self._seen)
        known = time.perf_counter()
        corrections = self._lineage.apply(batches)
        related = time.perf_counter()
        records = 0
        for name, kind in _TABLES:
            rows = [row for batch in batches for row in getattr(batch, name)]
            if rows:
                records += len(rows)
                for row in rows:
                    row.received_ns = self._arrival_ns
                self._append(name, kind, rows)
        appended = time.perf_counter()
        self._correct(corrections)
        self._mark(batches, corrections)
        connection.execute("COMMIT")
        self._file.worked()
        return Written(
            records=records,
            duplicates=duplicates,
            corrections=len(corrections),
            seconds={
                "known": known - started,
                "lineage": related - known,
                "append": appended - related,
                "commit": time.perf_counter() - appended,
            },
        )

    def _append(self, name: str, kind: type[msgspec.Struct], rows: Iterable[Any]) -> None:
        tuples = map(msgspec.structs.astuple, rows)
        appender = self._connection.appender(name, columns=list(kind.__struct_fields__))
        with appender:
            appender.append_rows(tuples)

    def _correct(self, corrections: list[Open]) -> None:
        if not corrections:
            return
        rows = [
            (*c.key, c.role, c.role_from, c.awaits, c.counted, c.uncounted_reason)
            for c in corrections
        ]
        with self._connection.appender("temp.corrections") as appender:
            appender.append_rows(rows)
        starts = [correction.start_ns for correction in corrections]
        self._connection.execute(queries.CORRECT, {"low": min(starts), "high": max(starts)})
        self._connection.execute(queries.CLEAR_CORRECTIONS)

    def _mark(self, batches: Sequence[Batch], corrections: list[Open]) -> None:
        minutes = {call.start_ns // queries.MINUTE_NS for b in batches for call in b.calls}
        minutes |= {made.start_ns // queries.MINUTE_NS for b in batches for made in b.decisions}
        minutes |= {correction.start_ns // queries.MINUTE_NS for correction in corrections}
        if minutes:
            self._connection.execute(queries.MARK_DIRTY, {"minutes": list(minutes)})
        biased = sum(batch.biased for batch in batches)
        if biased:
            bound = {"name": "biased_sampling", "at_ns": self._arrival_ns, "amount": biased}
            self._connection.execute(queries.NOTE, bound)

    def _recover(self, cause: Exception) -> None:
        """Leave the failed transaction and forget what was deduced from its rows.

        Where that fails too, the file is opened anew before it is used again.
        """
        if hopeless(cause):
            self._file.broke(cause)
            return
        try:
            with suppress(duckdb.TransactionException):  # there was none
                self._connection.execute("ROLLBACK")
            self._restore(self._arrival_ns)
        except Exception as error:
            log.exception("the store could not recover from an error")
            self._file.broke(error)

    def _restore(self, now_ns: int) -> None:
        lineage = Lineage()
        bound = {"since": now_ns - DAY_NS, "limit": NODES_MAX}
        nodes = self._connection.execute(queries.RECENT_NODES, bound).fetchall()
        bound = {"since": now_ns - DAY_NS, "limit": OPEN_MAX}
        calls = self._connection.execute(queries.OPEN_CALLS, bound)
        fields = CallRow.__struct_fields__
        rows = [
            CallRow(**dict(zip(fields, row, strict=False))) for row in reversed(calls.fetchall())
        ]
        lineage.restore(
            [((t, s), Node(parent, role, call)) for t, s, parent, role, call, _ in reversed(nodes)],
            rows,
        )
        self._lineage = lineage

    def roll_up(self, now_ns: int) -> int:
        self.mend()
        oldest = now_ns - LATE_NS
        unjoined, newest = self._row(rollup_queries.UNJOINED, {"oldest": oldest})
        # Without news there is nothing to find for words that found nothing before.
        join = unjoined and self._arrival_ns > self._joined_ns
        if not join and not self._row(rollup_queries.DIRTY)[0]:
            return 0
        with self._transaction() as run:
            if join:
                seen = 0 if newest > self._joined_ns else self._joined_ns
                bound = {"oldest": oldest, "seen": seen}
                run(rollup_queries.JOIN_EVALUATIONS, bound)
                run(learning_queries.JOIN_TASKS, bound)
            kept = (now_ns - self._keep_days[1] * DAY_NS) // queries.MINUTE_NS
            minutes = rolling.roll_up(run, self._row, kept_minute=kept)
            run((rollup_queries.MARK_ROLLED_UP,), {"arrival": self._arrival_ns})
        if join:
            self._joined_ns = self._arrival_ns
        return minutes

    def prune(self, now_ns: int) -> int:
        with self._transaction() as run:
            removed = rolling.prune(run, self._row, now_ns=now_ns, keep_days=self._keep_days)
        if removed:
            with self._file.guarded():
                self._connection.execute("CHECKPOINT")
        return removed

    def _row(self, sql: str, bound: Parameters | None = None) -> tuple[Any, ...]:
        """Return the one row of an aggregate."""
        with self._file.guarded():
            row = self._connection.execute(sql, dict(bound) if bound else None).fetchone()
        assert row is not None
        return row

    def _run(self, statements: Sequence[str], bound: Parameters) -> int:
        """Run statements, each with those of the values that it names; return rows changed."""
        changed = 0
        for statement in statements:
            used = {name: value for name, value in bound.items() if f"${name}" in statement}
            result = self._connection.execute(statement, used)
            if statement.lstrip().startswith("DELETE"):
                row = result.fetchone()
                changed += int(row[0]) if row is not None else 0
        return changed

    @contextmanager
    def _transaction(self) -> Iterator[Runner]:
        self.mend()
        with self._file.guarded():
            self._connection.execute("BEGIN")
            try:
                yield self._run
                self._connection.execute("COMMIT")
            except Exception as error:
                self._recover(error)
                raise

    def read(self, sql: str, parameters: Parameters | None = None) -> Rows:
        with self._file.cursor() as cursor:
            found = cursor.execute(sql, dict(parameters) if parameters else None)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def query(self, sql: str, *, rows_max: int, seconds_max: float) -> Table:
        with self._file.cursor() as cursor:
            try:
                statements = cursor.extract_statements(sql)
            except duckdb.Error as error:
                raise StoreRefused(first_line(error), hint=sql_hint(str(error))) from error
            allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
            if len(statements) != 1 or statements[0].type not in allowed:
                raise StoreRefused("only one SELECT at a time can be run here", hint=SQL_HELP)
            timer = threading.Timer(seconds_max, cursor.interrupt)
            timer.start()
            try:
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                found = cursor.execute(statements[0])
                columns = tuple(column[0] for column in found.description or ())
                rows = found.fetchmany(rows_max + 1)
            except duckdb.InterruptException as error:
                raise StoreRefused(
                    f"the query took longer than {seconds_max:g} s",
                    hint="ask for a shorter time or for fewer columns, or export the table",
                ) from error
            except duckdb.Error as error:
                raise StoreRefused(first_line(error), hint=sql_hint(str(error))) from error
            finally:
                timer.cancel()
        return Table(columns=columns, rows=rows[:rows_max], truncated=len(rows) > rows_max)

    def export(
        self, table: str, path: Path, *, form: Literal["parquet", "ndjson"], cursor: str | None,
        rows_max: int,
    ) -> str | None:  # fmt: skip
        if table not in queries.EXPORTS:
            raise StoreRefused(
                f"no table {table[:100]!r} can be exported",
                hint=f"known: {', '.join(queries.EXPORTS)}",
            )
        since = parse_cursor(cursor)
        with self._file.cursor() as connection:
            bound: dict[str, Any] = {"received": since[0], "id": since[1]}
            sql = queries.EXPORT_EDGE[table]
            edge = connection.execute(sql, {**bound, "limit": rows_max}).fetchone()
            if edge is None or edge[0] is None:
                return None
            bound |= {"to": edge[0], "to_id": edge[1], "path": str(path)}
            connection.execute(queries.EXPORTS[table][form], bound)
        return f"{edge[0]}-{edge[1]}"

    def close(self) -> None:
        self._file.close()
