"""The console's pages: one HTML document and the scripts and the style that it asks for.

The browser renders what the JSON API answers, so nothing here holds data and nothing needs a key.
The headers let a page load and call this console only, and run no script but these files.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from collector.refusals import envelope
from telemetry.errors import ApiError

FOLDER: Final = Path(__file__).with_suffix("")  # the folder of the same name
DOCUMENT: Final = "console.html"
PAGES: Final = ("/", "/decisions", "/alerts", "/policy", "/savings")
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CONTENT_SECURITY: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
))  # fmt: skip
HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # Asked for again each time and answered by 304: an upgrade never meets yesterday's scripts.
    "cache-control": "no-cache",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    kind: str
    etag: str


def assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Return every file of the pages by its name.

    Raises:
        OSError: the folder is not there, as in a package that was built without it.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in KINDS:
            body = path.read_bytes()
            tag = hashlib.sha256(body).hexdigest()[:32]
            found[path.name] = Asset(body=body, kind=KINDS[path.suffix], etag=f'"{tag}"')
    return found


def page_routes() -> APIRouter:
    """Return the routes of the pages, which are no part of the API; the files are read now."""
    routes = APIRouter(include_in_schema=False)
    found = assets()

    async def page(request: Request) -> Response:
        return _sent(request, found[DOCUMENT])

    for path in PAGES:
        routes.add_api_route(path, page, methods=["GET", "HEAD"])

    @routes.api_route("/pages/{name}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name not in found:
            error = ApiError(
                f"the console has no file {name[:100]!r}",
                hint="load the page again: it may be of another version",
            )
            return JSONResponse(envelope("invalid_request", "not_found", error), status_code=404)
        return _sent(request, found[name])

    return routes


def _sent(request: Request, asset: Asset) -> Response:
    headers = HEADERS | {"etag": asset.etag}
    if request.headers.get("if-none-match", "").removeprefix("W/") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.kind, headers=headers)
