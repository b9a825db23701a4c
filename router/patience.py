"""uvicorn's HTTP protocol, with a limit on how slowly and how long a request's head may come."""

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 131_072
_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


class PatientProtocol(HttpToolsProtocol):
    """Serves as its parent does, but hangs up on callers that only pretend to ask.

    uvicorn itself waits without end for a head and keeps whatever has come of it.
    """

    head_seconds: ClassVar[float]
    connections_max: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, _TIMEOUT)
        if len(self.connections) > self.connections_max:
            self._refuse(_BUSY)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        if not self._in_head:  # a further request on a connection that was kept
            self._in_head = True
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, _TIMEOUT)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_timer.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _refuse(self, answer: bytes) -> None:
        self._head_timer.cancel()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


def patient(*, head_seconds: float, connections_max: int) -> type[PatientProtocol]:
    """Return the protocol with its limits; uvicorn makes one for each connection."""
    limits = {"head_seconds": head_seconds, "connections_max": connections_max}
    return type("Patient", (PatientProtocol,), limits)
