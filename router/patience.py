"""uvicorn's HTTP protocol, more patient with callers that half-close, less with slow heads.

A caller that has sent its request may close its sending half and still read. To TCP that looks like
a caller that left: one FIN. The difference shows when bytes are sent: who left refuses them with a
reset. So before an answer has begun, an interim `100 Continue`, which every HTTP/1.1 client must
pass over (RFC 9110, 15.2), is sent now and then, and the socket is looked at for that reset.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION: Final = "tierwise.connection"  # in a request's scope
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
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LOOK_SECONDS_MIN: Final = 0.05  # between two looks at a half-closed caller, doubled each time
_LOOK_SECONDS_MAX: Final = 5.0


class PatientProtocol(HttpToolsProtocol):
    """Serves as its parent does, but hangs up on callers that only pretend to ask.

    uvicorn itself waits without end for a head and keeps whatever has come of it, waits without
    end for a caller that does not read, and takes a half-closed connection for a lost one.
    """

    head_seconds: ClassVar[float]
    write_seconds: ClassVar[float]
    connections_max: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, _TIMEOUT)
        self._lost: Callable[[], None] | None = None
        self._look_timer: asyncio.TimerHandle | None = None  # set once the caller half-closed
        self._write_timer: asyncio.TimerHandle | None = None  # while the caller reads too slowly
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
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]

    def watch(self, lost: Callable[[], None]) -> bool:
        """Have ``lost`` called when the caller is gone; False when it is gone already."""
        if self.parser is None or self.transport.is_closing():
            return False
        self._lost = lost
        return True

    def unwatch(self) -> None:
        """Forget whom to tell."""
        self._lost = None

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_timer.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        for timer in (self._look_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._lost is not None:
            self._lost()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Say whether the connection stays open although the caller will send nothing more."""
        if self._look_timer is None and self._may_still_read():
            self.cycle.keep_alive = False
            self._look(_LOOK_SECONDS_MIN)
        return self._look_timer is not None

    def _may_still_read(self) -> bool:
        """Say whether a whole request waits for an answer of which nothing is out.

        Within an answer nothing can be sent that is not the answer's: there an end means "left".
        HTTP/1.0 has no interim answers.
        """
        cycle = self.cycle
        return (
            cycle is not None
            and not cycle.more_body
            and not cycle.response_started
            and cycle.scope["http_version"] == "1.1"
        )

    def _look(self, seconds: float) -> None:
        """Hang up if the caller has refused what it was sent; else send, and look again later."""
        if self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        if not self.pipeline and not self.cycle.response_started:
            self.transport.write(_CONTINUE)
        longer = min(2.0 * seconds, _LOOK_SECONDS_MAX)
        self._look_timer = self.loop.call_later(seconds, self._look, longer)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_rest()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_rest()

    def _await_rest(self) -> None:
        """See to it that a close does not wait without end for the last answer to be read."""
        unread = self.transport.get_write_buffer_size()
        if unread and self._write_timer is None:
            self._await_reader(unread)

    def _await_reader(self, unread: int) -> None:
        self._write_timer = self.loop.call_later(self.write_seconds, self._press, unread)

    def _press(self, before: int) -> None:
        """Hang up if the caller has taken nothing of what was written to it; else look again."""
        unread = self.transport.get_write_buffer_size()
        if unread >= before:
            self.transport.abort()
        else:
            self._await_reader(unread)

    def _refuse(self, answer: bytes) -> None:
        self._head_timer.cancel()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


def patient(
    *, head_seconds: float, write_seconds: float, connections_max: int
) -> type[PatientProtocol]:
    """Return the protocol with its limits; uvicorn makes one for each connection."""
    limits = {
        "head_seconds": head_seconds,
        "write_seconds": write_seconds,
        "connections_max": connections_max,
    }
    return type("Patient", (PatientProtocol,), limits)
