"""The routes by which the policy in force is asked for."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from collector.access import Access
from collector.refusals import Refusal
from collector.revisions import Revisions

WAIT_SECONDS_MAX: Final = 30.0

Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX)]


def active_routes(revisions: Revisions, *, access: Access) -> APIRouter:
    """Return the route by which gateways learn what to decide by."""
    routes = APIRouter()

    @routes.get("/api/policy/active")
    async def active(request: Request, wait: Wait = 0.0) -> Response:
        shown = request.headers.get("authorization", "").encode()
        if not access.allows(shown) and not (access.keyed and access.person(shown)):
            raise Refusal("unknown_key", "this is neither the collector's token nor a key")
        known = request.headers.get("if-none-match", "").strip()
        found = await revisions.wait_async(known, seconds=wait if known else 0.0)
        headers = {"etag": found.standing.etag, "cache-control": "no-cache"}
        if found.standing.etag == known:
            return Response(status_code=304, headers=headers)
        return Response(found.standing.text, media_type="application/json", headers=headers)

    return routes
