"""A real upstream that misbehaves on purpose, over raw sockets on loopback.

Which behaviour a request meets is named by the first part of its path
(``server.base_url("silent_mid_stream")``) or, below any path, by its model's name
(``fault-silent_mid_stream``). Each contact records when its peer went away. Two faults need no
server at all: ``refused_port`` and ``blackhole``.
"""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import httptools

from telemetry.records import Dialect

MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"/]*/)?fault-([a-z0-9_]+)"')
BODY_BYTES_MAX = 128 * 1_048_576


@dataclass(eq=False)
class Contact:
    """One request that the server met, and what became of its peer."""

    behaviour: str
    path: str
    headers: dict[str, str]
    body: bytes
    started: float  # time.monotonic()
    finished: float | None = None  # when the behaviour had done all it does
    bytes_sent: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    gone_at: float | None = None  # when the peer closed, reset or half-closed

    @property
    def dialect(self) -> Dialect:
        """The dialect, told by the path."""
        if self.path.endswith("/responses"):
            return Dialect.RESPONSES
        return Dialect.MESSAGES if self.path.endswith("/messages") else Dialect.CHAT

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return re.search(rb'"stream"\s*:\s*true', self.body) is not None


class Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: "FaultServer") -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.contact: Contact | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # uvloop's is no asyncio.Transport
        self.server.wires.add(self)
        self.server.connections_count += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self._writable.set()
        self.transport = None
        self.server.wires.discard(self)

    def eof_received(self) -> bool:
        self._left()
        return True  # keep the way back open; the peer may only have closed its half

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        assert len(self._body) <= BODY_BYTES_MAX, "a test sent more than the server takes"

    def on_message_complete(self) -> None:
        path = self._path.decode("latin-1")
        named = MODEL.search(self._body)
        asked = named.group(1).decode() if named else path.split("/")[1]
        name = self.server.switched.get(asked, asked)
        contact = Contact(
            behaviour=name,
            path=path,
            headers=self._headers,
            body=bytes(self._body),
            started=time.monotonic(),
        )
        self.contact = contact
        self.server.contacts.append(contact)
        self._task = asyncio.get_running_loop().create_task(self._behave(name, contact))
        self.server.tasks.add(self._task)
        self._task.add_done_callback(self.server.tasks.discard)

    async def _behave(self, name: str, contact: Contact) -> None:
        await self.server.behaviours[name](self, contact)
        contact.finished = time.monotonic()

    def _left(self) -> None:
        if self.contact is not None and self.contact.gone_at is None:
            self.contact.gone_at = time.monotonic()
            self.contact.gone.set()

    async def send(self, content: bytes) -> None:
        """Write, at the pace the peer takes it; a peer that is gone takes nothing."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(content)
        if self.contact is not None:
            self.contact.bytes_sent += len(content)
        await self._writable.wait()

    async def chunks(self, *contents: bytes) -> None:
        """Write each of ``contents`` as a chunk of its own."""
        for content in contents:
            await self.send(b"%x\r\n%s\r\n" % (len(content), content))

    def close(self) -> None:
        """Close in the usual way."""
        if self.transport is not None:
            self.transport.close()

    def half_close(self) -> None:
        """Close the sending half only."""
        if self.transport is not None:
            self.transport.write_eof()

    async def reset(self) -> None:
        """Send RST: linger zero, then close."""
        await asyncio.sleep(0.05)  # what was written must be on its way first
        if self.transport is None:
            return
        own = self.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


Behaviour = Callable[[Wire, Contact], Awaitable[None]]


class FaultServer:
    """The server; ``contacts`` is every request it met, in order."""

    def __init__(self, behaviours: "Mapping[str, Behaviour]") -> None:
        self.behaviours = behaviours
        self.contacts: list[Contact] = []
        self.connections_count = 0
        self.switched: dict[str, str] = {}  # behaviour asked for -> behaviour met
        self.redirect_to: str | None = None  # where `redirect` sends its peers
        self.wires: set[Wire] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    def base_url(self, behaviour: str) -> str:
        """The provider's base URL under which every request meets ``behaviour``."""
        assert behaviour in self.behaviours, f"no behaviour {behaviour!r}"
        return f"{self.origin}/{behaviour}/v1"

    def switch(self, asked: str, *, to: str) -> None:
        """From now on answer requests for one behaviour with another: failures that end."""
        assert to in self.behaviours, f"no behaviour {to!r}"
        self.switched[asked] = to


@contextlib.asynccontextmanager
async def serve(behaviours: Mapping[str, Behaviour]) -> AsyncIterator[FaultServer]:
    """Serve ``behaviours`` from the running event loop on a free port of 127.0.0.1."""
    faults = FaultServer(behaviours)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Wire(faults), "127.0.0.1", 0, backlog=1_024)
    faults.port = server.sockets[0].getsockname()[1]
    try:
        yield faults
    finally:
        server.close()
        for task in list(faults.tasks):
            task.cancel()
        await asyncio.gather(*faults.tasks, return_exceptions=True)
        for wire in list(faults.wires):
            if wire.transport is not None:
                wire.transport.abort()
        await server.wait_closed()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """Hold a port that refuses connections: bound, so that nobody else gets it, never listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """Hold a port on which connecting neither succeeds nor fails.

    Linux drops a SYN for a listener whose accept queue is full, on loopback too. So: listen with
    the smallest backlog, never accept, and connect until one attempt hangs.
    """
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(16):
            filler = held.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        else:
            raise RuntimeError("this kernel accepts connections past a full accept queue")
        yield address[1]
