"""The gateway's web application: the data path in front, a few quiet routes behind it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from router import aliases, envelopes, step
from router.callers import Caller
from router.feedback import FEEDBACK_BYTES_MAX, FEEDBACK_PATH
from router.gateway import Gateway
from router.judge import disabled_checks
from router.quiet import PLACE, Quiet
from router.request import ENDPOINTS
from telemetry.errors import Internal, InvalidRequest, Overloaded, StepError

SERVICE: Final = "tierwise"


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What the quiet routes tell."""

    version: str
    worker: str
    metrics: Callable[[], bytes]
    reload_error: Callable[[], str | None]
    warnings: Callable[[], tuple[str, ...]]
    revision: Callable[[], Mapping[str, object]] = dict  # which one decides, and how fresh that is


def create_app(gateway: Gateway, health: Health) -> FastAPI:
    """Return the application; it owns nothing that needs to be closed."""
    app = GatewayApp(gateway)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(StepError, _refused)
    app.add_exception_handler(Exception, _broken)
    _add_health(app, gateway, health)
    _add_models(app, gateway)
    _add_feedback(app, gateway)
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
            send = Quiet(self._gateway, scope).marked(send)
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
        policy = gateway.loaded().policy
        return JSONResponse(
            {
                "service": SERVICE,
                "status": "draining" if draining else "ready",
                "policy": policy.hash,
                "revision": health.revision(),
                "reload_error": error,
                "warnings": [*health.warnings(), *disabled_checks(policy)],
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
        _caller(gateway, request)
        return aliases.listing(gateway.loaded().policy)

    @app.get("/v1/models/{name:path}")
    async def model(name: str, request: Request) -> dict[str, Any]:
        _caller(gateway, request)
        return aliases.find(gateway.loaded().policy, name)


def _add_feedback(app: FastAPI, gateway: Gateway) -> None:
    @app.post(FEEDBACK_PATH)
    async def feedback(request: Request) -> Response:
        caller = _caller(gateway, request)
        content = await _body(gateway, request)
        if gateway.feedback is None:
            raise Overloaded(
                "collector_away",
                "this gateway has no collector to keep feedback",
                hint="start it with `tierwise serve`, or name one with collector.console",
            )
        quiet = _quiet(request)
        began = gateway.clock.monotonic()
        try:
            kept = await gateway.feedback.forward(
                content, known=caller is not None, traceparent=quiet.traceparent
            )
        finally:
            quiet.waited(gateway.clock.monotonic() - began)
        body = kept.body
        if kept.error is not None:
            body = envelopes.relayed(kept.error, quiet.dialect, request_id=quiet.id)
        return _json(body, status=kept.status, retry_after_seconds=kept.retry_after_seconds)


async def _body(gateway: Gateway, request: Request) -> bytes:
    """Return a small body.

    Raises:
        InvalidRequest: it is over 64 KiB or does not arrive in time.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(gateway.limits.body_seconds):
            async for piece in request.stream():
                content += piece
                if len(content) > FEEDBACK_BYTES_MAX:
                    raise InvalidRequest(
                        "body_too_large",
                        f"the body is over {FEEDBACK_BYTES_MAX // 1024} KiB",
                        hint="send less: one piece of feedback is a few hundred bytes",
                    )
    except (TimeoutError, ClientDisconnect) as error:
        raise InvalidRequest(
            "request_timeout",
            "the body did not arrive in time",
            hint="send it whole; gateway.timeouts says how long it may take",
        ) from error
    return bytes(content)


def _caller(gateway: Gateway, request: Request) -> Caller | None:
    """Return who calls; raise ``Unauthorized`` unless that is known where it has to be."""
    authorization = request.headers.get("authorization")
    api_key = request.headers.get("x-api-key")
    return gateway.loaded().callers.identify(
        authorization.encode("latin-1") if authorization else None,
        api_key.encode("latin-1") if api_key else None,
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StepError)
    return _enveloped(request, error)


def _broken(request: Request, _: Exception) -> Response:
    """Answer what nobody foresaw; the server logs it."""
    return _enveloped(
        request,
        Internal(
            "internal",
            "tierwise could not answer this because of a fault of its own",
            hint="the gateway's log has the details",
        ),
    )


def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 405:
        reply = _enveloped(
            request,
            InvalidRequest(
                "method_not_allowed",
                f"{path} takes no {request.method}",
                hint=f"send {(error.headers or {}).get('Allow', 'GET')}",
            ),
        )
        reply.headers.update(error.headers or {})
        return reply
    return _enveloped(
        request, InvalidRequest("not_found", f"no route {path}", hint=_nearest_route(path))
    )


def _nearest_route(path: str) -> str:
    for route in ENDPOINTS:
        if path.endswith(route.removeprefix("/v1")):
            return f"did you mean {route}? the base URL seems to be wrong"
    return f"steps go to {', '.join(ENDPOINTS)}"


def _enveloped(request: Request, error: StepError) -> Response:
    body = _quiet(request).body(error)
    return _json(body, status=error.status, retry_after_seconds=error.retry_after_seconds)


def _json(body: bytes, *, status: int, retry_after_seconds: int | None) -> Response:
    headers = {} if retry_after_seconds is None else {"retry-after": str(retry_after_seconds)}
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _quiet(request: Request) -> Quiet:
    found = request.scope[PLACE]
    assert isinstance(found, Quiet)
    return found
