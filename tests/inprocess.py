"""The gateway's data path without sockets: steps driven over ASGI, a provider that is a script."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from router import step
from router.gateway import Gateway
from router.request import ENDPOINTS, Message
from telemetry.errors import StepError
from tests.harness import POLICY, Kept, config_for, make_gateway

Piece = bytes | StepError | asyncio.Event
JSON = (b"Content-Type", b"application/json")
EVENTS = (b"Content-Type", b"text/event-stream; charset=utf-8")


@dataclass(kw_only=True)
class Script:
    """One answer: its pieces come in turn, an error is raised, an event is waited for."""

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = (JSON,)
    closed: bool = False
    _begun: list[bytes] = field(default_factory=list)
    _left: list[Piece] | None = None

    async def _fresh(self) -> AsyncIterator[bytes]:
        if self._left is None:
            self._left = list(self.pieces)
        while self._left:
            piece = self._left.pop(0)
            if isinstance(piece, StepError):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def read(self, bytes_max: int) -> bytes | None:
        async for piece in self._fresh():
            self._begun.append(piece)
            if sum(map(len, self._begun)) > bytes_max:
                return None
        return b"".join(self._begun)

    async def pieces_(self) -> AsyncIterator[bytes]:
        begun, self._begun = self._begun, []
        for piece in begun:
            yield piece
        async for piece in self._fresh():
            yield piece

    def close(self) -> None:
        self.closed = True


class _Answer:
    """A script as the upstream protocol's ``Answer``."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.status = script.status
        self.headers = script.headers

    async def read(self, bytes_max: int) -> bytes | None:
        return await self._script.read(bytes_max)

    def pieces(self) -> AsyncIterator[bytes]:
        return self._script.pieces_()

    def close(self) -> None:
        self._script.close()


class Scripted:
    """An upstream whose answers are given; it keeps what it was sent."""

    def __init__(self) -> None:
        self.scripts: list[Script | StepError | Exception | asyncio.Event] = []
        self.sent: list[tuple[URL, tuple[tuple[str, str], ...], bytes]] = []

    async def send(
        self, url: URL, headers: Sequence[tuple[str, str]], body: bytes, *, once: bool = False
    ) -> _Answer:
        self.sent.append((url, tuple(headers), body))
        script = self.scripts.pop(0)
        if isinstance(script, asyncio.Event):
            await script.wait()
            raise AssertionError("nobody waits for this answer any more")
        if isinstance(script, Exception):
            raise script
        return _Answer(script)

    async def close(self) -> None:
        return


@dataclass(kw_only=True)
class Delivered:
    """What the caller got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        """All pieces joined."""
        return b"".join(self.pieces)


@dataclass(kw_only=True)
class Bench:
    """A gateway with a scripted provider and a recorder."""

    gateway: Gateway
    upstream: Scripted
    kept: Kept

    async def post(
        self,
        path: str,
        body: bytes | Sequence[bytes],
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        hung_up: asyncio.Event | None = None,
        on_piece: Callable[[Delivered], None] | None = None,
    ) -> Delivered:
        """Serve one step; the caller hangs up when ``hung_up`` is set."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        delivered = Delivered()
        gone = hung_up or asyncio.Event()

        async def receive() -> Message:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert not delivered.status, "a reply may begin only once"
                delivered.status = message["status"]
                delivered.headers = {
                    name.decode(): value.decode("latin-1") for name, value in message["headers"]
                }
                return
            assert not delivered.ended, "a reply may end only once"
            delivered.pieces.append(message.get("body", b""))
            delivered.ended = not message.get("more_body", False)
            if on_piece is not None:
                on_piece(delivered)

        scope = scope_of(path, headers or {"content-type": "application/json"}, method=method)
        await step.serve(self.gateway, ENDPOINTS[path], scope, receive, send)
        return delivered


def scope_of(path: str, headers: Mapping[str, str], *, method: str = "POST") -> dict[str, Any]:
    """Return an ASGI scope with lower-case header names, as servers make it."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
    }


def make_bench(policy: bytes = POLICY, *, config: bytes | None = None, **options: Any) -> Bench:
    """Return a bench; ``options`` are those of ``make_gateway``."""
    kept, upstream = Kept(), Scripted()
    gateway = make_gateway(config or config_for(9), policy, upstream=upstream, kept=kept, **options)
    return Bench(gateway=gateway, upstream=upstream, kept=kept)
