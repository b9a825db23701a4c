"""The door of the console's API: which routes want which key, and who is at the door."""

import json
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.access import LOCAL, Access, Level, Person, is_loopback
from collector.refusals import Refusal, body_of

GUARDED: Final = "/api/"
BODY_BYTES_MAX: Final = 8_388_608
# Gateways use these, with the senders' token; the routes look at it themselves.
SENDERS: Final = frozenset({"/api/budgets/lease", "/api/policy/active"})
# Sums over roles and time: no single step, no text of anybody.
SUMS: Final = frozenset({"/api/roles", "/api/savings", "/api/drift"})


class Guard:
    """Lets requests under /api/ through that show a key of the level the route wants."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            try:
                self._look(scope)
            except Refusal as refusal:
                await _refuse(refusal, send)
                return
        await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        _refuse_large(headers)
        if scope["path"] in SENDERS or not self._access.keyed:
            return
        wanted = Level.ANALYTICS if scope["path"] in SUMS else Level.VIEWER
        if scope["method"] not in ("GET", "HEAD") and scope["path"] != "/api/sql":
            wanted = Level.APPROVER
        require(self._access.person(headers.get(b"authorization", b"")), wanted)


def require(person: Person | None, wanted: Level) -> Person:
    """Return ``person`` if their key opens ``wanted``.

    Raises:
        Refusal: they showed no key of ours, or one that opens less.
    """
    if person is None:
        raise Refusal(
            "unknown_key",
            "this needs one of the keys of [[collector.keys]]",
            hint="send it as Authorization: Bearer KEY; commands take it from TIERWISE_KEY",
        )
    if person.level < wanted:
        raise Refusal(
            "not_allowed",
            f"this needs {wanted.word} access, {person.name} has {person.level.word}",
            hint="[[collector.keys]] in tierwise.toml says who may do what",
        )
    return person


def acting(request: Request, access: Access) -> Person:
    """Return who makes a change.

    Without keys only the collector's own machine may: a console that listens elsewhere takes no
    change, and neither does one that a browser was led to under another name.

    Raises:
        Refusal: they may not.
    """
    authorization = request.headers.get("authorization", "").encode()
    person = require(access.person(authorization), Level.APPROVER)
    if person.name == LOCAL:
        asked = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        origin = request.headers.get("origin")
        led = origin is not None and not is_loopback(urlsplit(origin).hostname or "")
        if led or not is_loopback(asked):
            raise Refusal(
                "not_allowed",
                f"without keys, changes are taken from this machine only, not through {asked!r}",
                hint="add [[collector.keys]] to tierwise.toml",
            )
    return person


def _refuse_large(headers: dict[bytes, bytes]) -> None:
    length = headers.get(b"content-length", b"0")
    unstated = b"transfer-encoding" in headers
    if unstated or not length.isdigit() or int(length) > BODY_BYTES_MAX:
        raise Refusal(
            "too_large",
            f"at most {BODY_BYTES_MAX} bytes, with their length stated",
            hint="send less, with Content-Length and not in chunks",
        )


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps(body_of(refusal)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
