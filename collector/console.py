"""The console's application: health, metrics and the JSON API that pages and the CLI read."""

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from collector import queries
from collector.access import STRANGER, TOKEN, Access
from collector.budgets import budget_routes
from collector.control import Control
from collector.decode import BadBody
from collector.explain import explain, recent
from collector.feedback import Feedback, feedback_row
from collector.guard import Guard
from collector.intake import Busy, Intake
from collector.meters import Meters
from collector.normalising import Normaliser
from collector.pages import page_routes
from collector.quota import Quota
from collector.refusals import Refusal, body_of, envelope
from collector.rows import EvaluationRow
from collector.scoreboard import scoreboard
from collector.store import Store, StoreError, StoreRefused, own_fault
from telemetry.clock import Clock
from telemetry.errors import ApiError
from telemetry.nearest import nearest_name

QUERY_SECONDS_MAX: Final = 10.0
ROWS_MAX: Final = 10_000
EXPORT_ROWS_MAX: Final = 1_000_000
DAY_SECONDS: Final = 86_400.0
KINDS: Final = {
    401: "unauthorized", 429: "rate_limited", 500: "internal", 503: "overloaded",
}  # fmt: skip
FIELDS: Final = "docs/collector.md says what each route takes"
# What people send to the console though another port of ours takes it, by the path's end.
ELSEWHERE: Final = dict.fromkeys(
    ("/v1/traces", "/v1/logs", "/v1/metrics"),
    "OTLP goes to the collector's own port, 4318 at first",
) | dict.fromkeys(
    ("/chat/completions", "/responses", "/messages", "/embeddings", "/models"),
    "that is the gateway's, on port 8080 at first",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the console shows and serves."""

    store: Store
    intake: Intake
    meters: Meters
    clock: Clock
    access: Access
    normaliser: Normaliser
    exports: Path  # a directory that the store may write to
    healthy: Callable[[], str | None]  # None, or why the collector cannot keep data
    control: Control
    quota: Quota  # of sources that show no token


class SqlBody(BaseModel):
    """The body of ``POST /api/sql``."""

    model_config = ConfigDict(extra="forbid")

    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    rows_max: Annotated[int, Field(ge=1, le=ROWS_MAX)] = 1_000


def console(parts: Parts) -> FastAPI:
    """Return the application behind the console's port."""
    app = FastAPI(title="tierwise", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    app.add_middleware(Guard, access=parts.access)
    _add_errors(app)
    _add_health(app, parts)
    _add_board(app, parts)
    _add_feedback(app, parts)
    _add_data(app, parts)
    ledger = parts.exports.with_suffix(".budgets.json")
    parted = [
        budget_routes(path=ledger, clock=parts.clock, access=parts.access),
        *parts.control.routes,
        page_routes(),
    ]
    app.state.known = _known([*app.routes, *chain.from_iterable(one.routes for one in parted)])
    for routes in parted:
        app.include_router(routes)
    return app


def _known(routes: Iterable[BaseRoute]) -> dict[str, set[str]]:
    """Return the methods that each path takes."""
    found: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, APIRoute):
            found.setdefault(route.path, set()).update(route.methods or ())
    return found


def _refused(
    status: int, code: str, message: str, *, hint: str, retry_seconds: int | None = None
) -> JSONResponse:
    kind = KINDS.get(status, "invalid_request")
    wait = 1 if status == 503 else retry_seconds
    headers = None if wait is None else {"retry-after": str(wait)}
    body = envelope(kind, code, ApiError(message, hint=hint))
    return JSONResponse(body, status_code=status, headers=headers)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _refused(422, "invalid_field", _faults(error.errors()), hint=FIELDS)

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return JSONResponse(body_of(error), status_code=error.status)

    @app.exception_handler(StoreError)
    async def unavailable(_: Request, error: StoreError) -> JSONResponse:
        if isinstance(error, StoreRefused):
            return _refused(400, "refused", error.message, hint=error.hint)
        return _refused(503, "store_unavailable", error.message, hint=error.hint)

    @app.exception_handler(HTTPException)
    async def nowhere(request: Request, error: HTTPException) -> JSONResponse:
        return _no_route(app, request, error)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:  # the server logs it
        fault = own_fault(error)
        return _refused(500, "internal", fault.message, hint=fault.hint)


def _faults(found: Sequence[Any]) -> str:
    """Return in words what is wrong with the fields of a request, at most five of them."""
    missing = [str(fault["loc"][-1]) for fault in found if fault["type"] == "missing"]
    words = []
    for fault in found[:5]:
        place, kind = ".".join(str(part) for part in fault["loc"][1:]), fault["type"]
        if kind == "missing":
            what = "is missing"
        elif kind == "extra_forbidden":
            what = f"unknown field{nearest_name(str(fault['loc'][-1]), missing)}"
        elif not place:
            what = "not a JSON object under `content-type: application/json`"
        else:
            what = str(fault["msg"]).removeprefix("Value error, ")
        words.append(f"{place or 'body'}: {what}")
    return "; ".join(words)


def _no_route(app: FastAPI, request: Request, error: HTTPException) -> JSONResponse:
    path = request.url.path[:200]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        answer = _refused(
            405, "method_not_allowed", f"{path} takes no {request.method}", hint=f"send {allowed}"
        )
        answer.headers["allow"] = allowed
        return answer
    elsewhere = next((where for end, where in ELSEWHERE.items() if path.endswith(end)), None)
    near = get_close_matches(path, app.state.known, n=1, cutoff=0.75)
    hint = elsewhere or (
        f"did you mean {near[0]}?" if near else "docs/collector.md lists the routes"
    )
    return _refused(404, "not_found", f"the console has no route {path}", hint=hint)


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        trouble = parts.healthy()
        if trouble is None and parts.intake.draining:
            trouble = "shutting down"
        body = {"status": "ok" if trouble is None else "unavailable", "collector": trouble or "ok"}
        return JSONResponse(body, status_code=200 if trouble is None else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(parts.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_board(app: FastAPI, parts: Parts) -> None:
    @app.get("/api/roles")
    def roles(
        window_seconds: Annotated[float, Query(ge=60, le=400 * DAY_SECONDS)] = DAY_SECONDS,
    ) -> dict[str, Any]:
        now_ns = parts.clock.now_ns()
        return scoreboard(parts.store, now_ns=now_ns, window_seconds=window_seconds).plain()

    @app.get("/api/decisions")
    def decisions(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
        before_ns: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
        role: Annotated[str | None, Query(max_length=200)] = None,
        task: Annotated[str | None, Query(max_length=256)] = None,
    ) -> dict[str, Any]:
        before = 2**63 - 1 if before_ns is None else before_ns
        rows = recent(parts.store, limit=limit, before_ns=before, role=role, task=task)
        following = rows[-1]["start_ns"] if len(rows) == limit else None
        return {"decisions": rows, "next_before_ns": following}

    @app.get("/api/decisions/{decision_id}")
    def decision(decision_id: str) -> JSONResponse:
        found = explain(parts.store, decision_id)
        if found is None:
            return _refused(
                404, "not_found", f"no decision {decision_id[:100]!r}",
                hint="its span may be on its way: ask again in a few seconds",
            )  # fmt: skip
        return JSONResponse(found)


def _add_feedback(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/feedback")
    async def feedback(body: Feedback, request: Request) -> JSONResponse:
        authorization = request.headers.get("authorization", "").encode()
        if authorization and parts.access.required and not parts.access.allows(authorization):
            return _refused(401, "unknown_key", STRANGER, hint=TOKEN)
        authenticated = parts.access.required and bool(authorization)
        try:
            row = feedback_row(
                body, normaliser=parts.normaliser, now_ns=parts.clock.now_ns(),
                authenticated=authenticated,
            )  # fmt: skip
        except ValueError as error:
            return _refused(422, "invalid_field", str(error), hint=FIELDS)
        return await _kept(parts, row)


async def _kept(parts: Parts, row: EvaluationRow) -> JSONResponse:
    """Commit one piece of feedback, once."""
    known = await asyncio.to_thread(parts.store.read, queries.EVALUATION, {"id": row.evaluation_id})
    if known:
        if known[0] == {"score_raw": row.score_raw, "label": row.label}:
            return JSONResponse({"status": "duplicate", "id": row.evaluation_id})
        return _refused(
            409, "already_graded",
            f"{row.source} has said something else about this under {row.name!r} before",
            hint="its first word stands; another source or another name may say more",
        )  # fmt: skip
    wait = None
    if not row.authenticated:
        wait = parts.quota.wait_seconds(row.source, now_ns=row.received_ns)
    if wait is not None:
        parts.meters.feedback_capped.inc()
        return _refused(
            429, "too_much_feedback",
            f"{row.source} has given what one source may in an hour without the collector's "
            "token (collector.feedback_per_hour)",
            hint="show the token, or send the rest when Retry-After has passed",
            retry_seconds=wait,
        )  # fmt: skip
    try:
        await parts.intake.keep([row])
    except Busy as error:
        return _refused(503, "overloaded", str(error), hint="try again shortly")
    except BadBody as error:
        return _refused(400, "refused", str(error), hint=FIELDS)
    return JSONResponse({"status": "accepted", "id": row.evaluation_id}, status_code=202)


def _add_data(app: FastAPI, parts: Parts) -> None:
    @app.post("/api/sql")
    def sql(body: SqlBody) -> dict[str, Any]:
        found = parts.store.query(body.sql, rows_max=body.rows_max, seconds_max=QUERY_SECONDS_MAX)
        rows = [[_jsonable(value) for value in row] for row in found.rows]
        return {"columns": found.columns, "rows": rows, "truncated": found.truncated}

    @app.get("/api/export/{table}")
    def export(
        table: str,
        form: Literal["parquet", "ndjson"] = "ndjson",
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        rows_max: Annotated[int, Query(ge=1, le=EXPORT_ROWS_MAX)] = 100_000,
    ) -> Response:
        with tempfile.TemporaryDirectory(dir=parts.exports) as folder:
            path = Path(folder) / f"page.{form}"
            following = parts.store.export(table, path, form=form, cursor=cursor, rows_max=rows_max)
            if following is None:
                return Response(status_code=204)
            content = path.read_bytes()
        kind = "application/vnd.apache.parquet" if form == "parquet" else "application/x-ndjson"
        return Response(content, media_type=kind, headers={"x-tierwise-cursor": following})


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)
