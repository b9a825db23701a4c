"""The console's application: health, metrics and the JSON API that pages and the CLI read."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from collector.intake import Intake
from collector.meters import Meters
from collector.store import Store
from telemetry.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the console shows and serves."""

    store: Store
    intake: Intake
    meters: Meters
    clock: Clock
    healthy: Callable[[], str | None]  # None, or why the collector cannot keep data


def console(parts: Parts) -> FastAPI:
    """Return the application behind the console's port."""
    app = FastAPI(title="tierwise", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = parts.healthy()
        if trouble is None and parts.intake.draining:
            trouble = "shutting down"
        status = "ok" if trouble is None else "unavailable"
        body = {"status": status, "collector": trouble or "ok"}
        return JSONResponse(body, status_code=200 if trouble is None else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(parts.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app
