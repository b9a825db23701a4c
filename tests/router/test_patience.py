"""Callers that only pretend to ask: slow heads, endless heads, too many connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from router.patience import HEAD_BYTES_MAX, patient

READ_SECONDS = 10.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which are the test runner's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serving(*, head_seconds: float = 5.0, connections_max: int = 100) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=patient(head_seconds=head_seconds, connections_max=connections_max),
        lifespan="off",
        log_config=None,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def said(port: int, *pieces: bytes) -> bytes:
    """Send the pieces and return all that comes until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(READ_SECONDS):
            return await reader.read()
    finally:
        writer.close()


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(READ_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"ok"
    return head


async def test_a_head_that_does_not_end_is_hung_up_on_while_others_are_served() -> None:
    async with serving(head_seconds=0.3) as port:
        slow = asyncio.create_task(said(port, b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: "))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")
        assert (await slow).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_connection_that_says_nothing_is_hung_up_on() -> None:
    async with serving(head_seconds=0.2) as port:
        assert (await said(port)).startswith(b"HTTP/1.1 408")


async def test_a_kept_connection_may_rest_longer_than_a_head_may_take() -> None:
    async with serving(head_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)
        assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nhost:")  # a second head that never ends
        async with asyncio.timeout(READ_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_an_endless_head_is_refused_before_it_fills_the_memory() -> None:
    line = b"x-long: " + b"a" * 4_000 + b"\r\n"
    lines = [line] * (HEAD_BYTES_MAX // len(line) + 2)
    async with serving() as port:
        assert (await said(port, b"GET / HTTP/1.1\r\n", *lines)).startswith(b"HTTP/1.1 431")


async def test_connections_over_the_limit_are_told_to_come_back() -> None:
    async with serving(connections_max=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")
        refused = await said(port)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in refused
        writer.close()
