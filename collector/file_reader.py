"""Reads a store whose collector does not run."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Self

from collector import revision_book
from collector.desk import Desk, desk_path
from collector.duckdb_file import exports_folder
from collector.duckdb_store import DuckDBStore
from collector.explain import explain, recent
from collector.reader import SQL_SECONDS_MAX, Form, Plain
from collector.scoreboard import scoreboard
from collector.store import Table


class FileReader:
    """Reads the file itself, and holds it until closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = DuckDBStore(path, now_ns=time.time_ns())
        while self._store.roll_up(time.time_ns()):
            pass

    def roles(self, *, window_seconds: float) -> Plain:
        now_ns = time.time_ns()
        return scoreboard(self._store, now_ns=now_ns, window_seconds=window_seconds).plain()

    def decisions(self, *, limit: int, role: str | None = None, task: str | None = None) -> Plain:
        rows = recent(self._store, limit=limit, before_ns=2**63 - 1, role=role, task=task)
        following = rows[-1]["start_ns"] if len(rows) == limit else None
        return {"decisions": rows, "next_before_ns": following}

    def explain(self, decision_id: str) -> Plain | None:
        return explain(self._store, decision_id)

    def revision(self, name: str) -> Plain | None:
        path = desk_path(self._path)
        if not path.exists():
            return None
        desk = Desk(path)
        try:
            with desk.transaction() as change:
                record = revision_book.find(change, name)
        finally:
            desk.close()
        if record is None:
            return None
        return record.plain() | {
            "shares": record.revision.shares,
            "evidence": record.revision.evidence,
        }

    def sql(self, sql: str, *, rows_max: int) -> Table:
        return self._store.query(sql, rows_max=rows_max, seconds_max=SQL_SECONDS_MAX)

    def export(
        self, table: str, path: Path, *, form: Form, cursor: str | None, rows_max: int
    ) -> str | None:
        with tempfile.TemporaryDirectory(dir=exports_folder(self._path)) as folder:
            page = Path(folder) / "page"
            following = self._store.export(table, page, form=form, cursor=cursor, rows_max=rows_max)
            if following is not None:
                shutil.move(page, path)
        return following

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
