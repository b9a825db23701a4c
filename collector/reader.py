"""What `tierwise roles`, `explain`, `export` and `sql` read: the running collector, else its file.

DuckDB lets one process have the file, so while a collector runs it is asked over its console.
"""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote, urlencode

from collector.store import StoreLocked, StoreRefused, StoreUnavailable, Table

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0
SQL_SECONDS_MAX: Final = 30.0
GATEWAYS: Final = "x-tierwise-decision"  # a header that only gateways answer with
AWAY: Final = "start `tierwise serve`, or name the right --console (8081 unless told otherwise)"
ELSEWHERE: Final = "is it a tierwise collector's console, of this version?"

Plain = dict[str, Any]
Form = Literal["parquet", "ndjson"]


class Reader(Protocol):
    """Answers as plain dictionaries, the same whichever way they come."""

    def roles(self, *, window_seconds: float) -> Plain:
        """Return the scoreboard, as `GET /api/roles` does."""
        ...

    def decisions(self, *, limit: int, role: str | None = None, task: str | None = None) -> Plain:
        """Return the newest decisions, as `GET /api/decisions` does."""
        ...

    def explain(self, decision_id: str) -> Plain | None:
        """Return one decision, whole, or None when it is not known (yet)."""
        ...

    def revision(self, name: str) -> Plain | None:
        """Return one revision with its shares and evidence by cell, or None when it is unknown."""
        ...

    def sql(self, sql: str, *, rows_max: int) -> Table:
        """Return the result of one SELECT.

        Raises:
            StoreRefused: it is none, it failed or it took too long.
        """
        ...

    def export(
        self, table: str, path: Path, *, form: Form, cursor: str | None, rows_max: int
    ) -> str | None:
        """Write the page after ``cursor`` to ``path`` and return its cursor; None when all is out.

        Raises:
            StoreRefused: unknown table or a cursor that no export returned.
        """
        ...

    def close(self) -> None:
        """Give the file or the connection up."""
        ...


def open_reader(*, console: str, store: Path | None, key: str | None = None) -> Reader:
    """Return a reader of the collector at ``console`` (host:port), else of the file ``store``.

    ``key`` is one of the collector's keys, where it wants one. Without ``store`` only the collector
    will do.

    Raises:
        StoreUnavailable: no collector answers and there is no file.
        StoreLocked: no collector answers at that address, but a process holds the file.
    """
    asked = ConsoleReader(console, key=key)
    trouble = asked.trouble()
    if trouble is None:
        return asked
    away = f"no collector answers on {console} ({trouble})"
    if store is None:
        raise StoreUnavailable(away, hint=AWAY)
    if not store.exists():
        raise StoreUnavailable(
            f"{away} and there is no store at {store}",
            hint="start `tierwise serve`, or name the right --console or --store",
        )
    from collector.file_reader import FileReader  # noqa: PLC0415 - DuckDB is large, and only here

    try:
        return FileReader(store)
    except StoreLocked as error:
        raise StoreLocked(
            f"{away}, and {error.message}",
            hint="name that collector's console: --console, or collector.console in tierwise.toml",
        ) from error


class ConsoleReader:
    """Asks a running collector; a question is one request on a connection of its own."""

    def __init__(self, address: str, *, key: str | None = None) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def trouble(self) -> str | None:
        """Say why no collector can be asked at the address; None when one lives there."""
        try:
            status, headers, _ = self._ask("GET", "/livez", seconds=CONNECT_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            return why(error)
        if GATEWAYS in headers:
            return "a gateway does"
        return None if status == 200 else f"something else does, with {status}"

    def roles(self, *, window_seconds: float) -> Plain:
        return self._get("/api/roles", {"window_seconds": window_seconds})

    def decisions(self, *, limit: int, role: str | None = None, task: str | None = None) -> Plain:
        asked = {"limit": limit, "role": role, "task": task}
        return self._get("/api/decisions", {k: v for k, v in asked.items() if v is not None})

    def explain(self, decision_id: str) -> Plain | None:
        path = f"/api/decisions/{quote(decision_id, safe='')}"
        status, _, body = self._reach("GET", path)
        return None if status == 404 else _read(status, body)

    def revision(self, name: str) -> Plain | None:
        path = f"/api/policy/revisions/{quote(name, safe='')}"
        status, _, body = self._reach("GET", path)
        return None if status == 404 else _read(status, body)

    def sql(self, sql: str, *, rows_max: int) -> Table:
        sent = json.dumps({"sql": sql, "rows_max": rows_max}).encode()
        status, _, body = self._reach("POST", "/api/sql", sent)
        found = _read(status, body)
        return Table(
            columns=tuple(found["columns"]),
            rows=[tuple(row) for row in found["rows"]],
            truncated=found["truncated"],
        )

    def export(
        self, table: str, path: Path, *, form: Form, cursor: str | None, rows_max: int
    ) -> str | None:
        asked = {"form": form, "rows_max": rows_max} | ({"cursor": cursor} if cursor else {})
        status, headers, body = self._reach(
            "GET", f"/api/export/{quote(table, safe='')}?{urlencode(asked)}"
        )
        if status == 204:
            return None
        if status != 200:
            _read(status, body)
        path.write_bytes(body)
        return headers["x-tierwise-cursor"]

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _get(self, path: str, query: Mapping[str, Any]) -> Plain:
        status, _, body = self._reach("GET", f"{path}?{urlencode(query)}")
        return _read(status, body)

    def _reach(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            return self._ask(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(
                f"the collector at {self._host}:{self._port} stopped answering: {why(error)}",
                hint=AWAY,
            ) from error

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self._host.strip("[]"), self._port, timeout=seconds)
        try:
            kind = {"content-type": "application/json"} if body is not None else {}
            connection.request(method, path, body, kind | self._headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def _read(status: int, body: bytes) -> Plain:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise StoreUnavailable(
            f"the collector answered {status} without JSON", hint=ELSEWHERE
        ) from error
    if status == 200 and isinstance(found, dict):
        return found
    message, hint = refusal_of(found, status)
    if status >= 500:
        raise StoreUnavailable(message, hint=hint)
    raise StoreRefused(message, hint=hint)


def why(error: OSError | http.client.HTTPException) -> str:
    """Return in words why nobody could be asked."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def refusal_of(body: Any, status: int) -> tuple[str, str]:
    """Return what went wrong and what to do next, of the body of an answer that says no."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or "message" not in error:
        return f"the collector answered {status} without saying why", ELSEWHERE
    hint = str(error.get("hint", ""))
    message = str(error["message"])
    return (message.removesuffix(f"; {hint}"), hint) if hint else (message, ELSEWHERE)
