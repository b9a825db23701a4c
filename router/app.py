"""The gateway's web application: the data path in front, a few quiet routes behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from router import aliases, envelopes, step
from router.gateway import Gateway
from router.request import ENDPOINTS
from telemetry.errors import InvalidRequest, StepError
from telemetry.records import Dialect

SERVICE: Final = "tierwise"


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What the quiet routes tell."""

    version: str
    worker: str
    metrics: Callable[[], bytes]
    reload_error: Callable[[], str | None]
    warnings: Callable[[], tuple[str, ...]]


def create_app(gateway: Gateway, health: Health) -> FastAPI:
    """Return the application; it owns nothing that needs to be closed."""
    app = GatewayApp(gateway)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(StepError, _refused)
    _add_health(app, gateway, health)
    _add_models(app, gateway)
    return app


class GatewayApp(FastAPI):
    """FastAPI for the quiet routes; steps are served before its middleware and routing."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(title=SERVICE, docs_url=None, redoc_url=None, openapi_url=None)
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            endpoint = ENDPOINTS.get(path) or ENDPOINTS.get(path.rstrip("/"))
            if endpoint is not None:
                await step.serve(self._gateway, endpoint, scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def _add_health(app: FastAPI, gateway: Gateway, health: Health) -> None:
    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {
            "service": SERVICE,
            "status": "ok",
            "version": health.version,
            "worker": health.worker,
        }

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        error, draining = health.reload_error(), gateway.load.draining
        return JSONResponse(
            {
                "service": SERVICE,
                "status": "draining" if draining else "ready",
                "policy": gateway.loaded().policy.hash,
                "reload_error": error,
                "warnings": list(health.warnings()),
                "steps": gateway.load.steps,
            },
            status_code=503 if draining else 200,
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(health.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_models(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        loaded = gateway.loaded()
        loaded.callers.identify(*_keys(request))
        return aliases.listing(loaded.policy)

    @app.get("/v1/models/{name:path}")
    async def model(name: str, request: Request) -> dict[str, Any]:
        loaded = gateway.loaded()
        loaded.callers.identify(*_keys(request))
        return aliases.find(loaded.policy, name)


def _keys(request: Request) -> tuple[bytes | None, bytes | None]:
    authorization = request.headers.get("authorization")
    api_key = request.headers.get("x-api-key")
    return (
        authorization.encode("latin-1") if authorization else None,
        api_key.encode("latin-1") if api_key else None,
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StepError)
    return _enveloped(request, error)


def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 405:
        return _enveloped(
            request, InvalidRequest("method_not_allowed", f"{path} takes another method")
        )
    return _enveloped(
        request, InvalidRequest("not_found", f"no route {path}", hint=_nearest_route(path))
    )


def _nearest_route(path: str) -> str:
    for route in ENDPOINTS:
        if path.endswith(route.removeprefix("/v1")):
            return f"did you mean {route}? the base URL seems to be wrong"
    return f"steps go to {', '.join(ENDPOINTS)}"


def _enveloped(request: Request, error: StepError) -> Response:
    dialect = Dialect.MESSAGES if "anthropic-version" in request.headers else Dialect.CHAT
    return Response(
        envelopes.body(error, dialect, request_id=""),
        status_code=error.status,
        media_type="application/json",
    )
