"""Plain sockets for tests: a client that sends exact bytes and a provider that says exact bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

READ_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One HTTP answer, its body taken out of the transfer coding."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True  # the body ended as its framing says


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """One request as a provider received it."""

    line: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return a header's last value by its lower-case name."""
        return dict(self.headers).get(name)


def post(
    path: str, body: bytes, *, headers: dict[str, str] | None = None, host: str = "gateway"
) -> bytes:
    """Return a whole POST request; ``headers`` replace the usual ones."""
    given = {"host": host, "content-type": "application/json", "content-length": str(len(body))}
    given |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


async def send(port: int, request: bytes) -> Reply:
    """Send exact bytes to a local port and return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(read_reply(reader), READ_SECONDS)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Return the next answer of a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    headers = dict(parse_headers(rest))
    named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    status = int(first.split()[1])
    try:
        body = await _read_body(reader, headers)
    except asyncio.IncompleteReadError as error:
        return Reply(status=status, headers=named, body=error.partial, complete=False)
    return Reply(status=status, headers=named, body=body)


def parse_headers(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return header lines as pairs under lower-case names."""
    found = (line.partition(b":") for line in lines.split(b"\r\n") if line)
    return tuple((name.strip().lower(), value.strip()) for name, _, value in found)


async def _read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        pieces: list[bytes] = []
        while True:
            try:
                size = int(await reader.readuntil(b"\r\n"), 16)
                piece = await reader.readexactly(size + 2)
            except asyncio.IncompleteReadError as error:
                raise asyncio.IncompleteReadError(b"".join(pieces) + error.partial, None) from error
            if size == 0:
                return b"".join(pieces)
            pieces.append(piece[:-2])
    return await reader.readexactly(int(headers.get(b"content-length", b"0")))


Serve = Callable[[Got, asyncio.StreamWriter], Awaitable[None]]


@dataclass(kw_only=True)
class Provider:
    """A provider that answers with exact bytes, and remembers what it was sent."""

    serve: Serve
    port: int = 0
    got: list[Got] = field(default_factory=list)
    hangups: int = 0  # connections that the gateway closed while an answer was under way
    connections: int = 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await _head(reader):
                line, _, rest = head.partition(b"\r\n")
                headers = parse_headers(rest)
                body = await _read_body(reader, dict(headers))
                got = Got(line=line, headers=headers, body=body)
                self.got.append(got)
                await self._answer(got, reader, writer)
                if writer.is_closing():
                    return
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(
        self, got: Got, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        serve = asyncio.ensure_future(self.serve(got, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({serve, gone}, return_when=asyncio.FIRST_COMPLETED)
            if serve.done():
                serve.result()
                await writer.drain()
                return
            self.hangups += 1
        finally:
            for task in (serve, gone):
                task.cancel()
            await asyncio.gather(serve, gone, return_exceptions=True)
        if not writer.is_closing():
            writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@contextlib.asynccontextmanager
async def provider(serve: Serve) -> AsyncIterator[Provider]:
    """Run a provider whose answers ``serve`` writes."""
    found = Provider(serve=serve)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with contextlib.suppress(asyncio.CancelledError):  # the test is over
            await found._connected(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def whole(
    body: bytes, *, status: int = 200, kind: str = "application/json", headers: str = ""
) -> Serve:
    """Return a provider's behaviour: the same whole answer to everything.

    ``headers`` are further complete lines.
    """
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"

    async def serve(got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{head}{headers}\r\n".encode("latin-1") + body)

    return serve


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(content: bytes) -> bytes:
    """Return ``content`` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(content), content)
