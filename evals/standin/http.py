"""A small HTTP/1.1 server on asyncio and httptools; it must never be what a benchmark measures."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

BODY_BYTES_MAX = 64 * 1_048_576
HEADER_BYTES_MAX = 65_536
PIPELINE_MAX = 64
CONNECTIONS_MAX = 8_192

REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found",
    405: b"Method Not Allowed", 413: b"Content Too Large", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 529: b"Overloaded",
}  # fmt: skip


class Request:
    """One request, whole."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path")

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True


class Handler(Protocol):
    """Answers requests; it calls exactly one of the connection's ``answer`` and ``stream``."""

    def __call__(self, request: Request, connection: "Connection") -> None:
        """Answer now, or start a task that will."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered one at a time and in order."""

    def __init__(self, handler: Handler, connections: "set[Connection]") -> None:
        self._handler = handler
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._header_bytes = 0
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self._keep_alive = True
        self.on_lost: Callable[[], object] | None = None  # called once when the peer goes away

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._connections.add(self)
        if len(self._connections) > CONNECTIONS_MAX:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        self._writable.set()
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(400)

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._request = Request()
        self._parts = []
        self._body_bytes = self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._request.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            self._refuse(431)
            return
        self._request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method()
        self._request.keep_alive = self._parser.should_keep_alive()
        if self._request.headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._parts.clear()
            self._refuse(413)
            return
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._request.body = b"".join(self._parts)
        self._parts = []
        if self._busy:
            self._waiting.append(self._request)
            if len(self._waiting) >= PIPELINE_MAX and self._transport is not None:
                self._transport.pause_reading()
            return
        self._serve(self._request)

    # what the handler uses

    @property
    def alive(self) -> bool:
        """Whether the peer is still there."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, content: bytes) -> None:
        """Send raw bytes, if the peer is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    async def drained(self) -> None:
        """Wait until the peer has taken what was written, or has gone away."""
        await self._writable.wait()

    def answer(self, status: int, body: bytes, *, headers: bytes = b"") -> None:
        """Send a whole JSON answer; ``headers`` are complete lines with their ends."""
        self.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s"
            % (status, REASONS.get(status, b"Status"), len(body), self._closing(headers), body)
        )
        self.finish()

    def stream_head(self, *, headers: bytes = b"") -> bytes:
        """Return the head of an event stream; its frames follow as chunks."""
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n%s\r\n"
            % self._closing(headers)
        )

    def finish(self) -> None:
        """End the request and serve the next one that waits."""
        self.on_lost = None
        self._busy = False
        if not self._keep_alive:
            if self._transport is not None:
                self._transport.close()
            return
        if self._waiting:
            following = self._waiting.popleft()
            if self._transport is not None:
                self._transport.resume_reading()
            self._serve(following)

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self, request: Request) -> None:
        self._busy = True
        self._keep_alive = request.keep_alive
        self._handler(request, self)

    def _closing(self, headers: bytes) -> bytes:
        return headers if self._keep_alive else headers + b"connection: close\r\n"

    def _refuse(self, status: int) -> None:
        reason = REASONS[status]
        self.write(
            b"HTTP/1.1 %d %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (status, reason)
        )
        if self._transport is not None:
            self._transport.close()


def chunk(content: bytes) -> bytes:
    """Return ``content`` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(content), content)


LAST_CHUNK = b"0\r\n\r\n"
