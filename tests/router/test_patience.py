"""Callers that only pretend to ask: slow heads, endless heads, too many connections."""

import asyncio
import contextlib
import http.client
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from router.patience import CONNECTION, HEAD_BYTES_MAX, patient

READ_SECONDS = 10.0


class Slow:
    """An application that answers when it is let go, and hears of callers that leave."""

    def __init__(self) -> None:
        self.arrived, self.left, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.arrived.set()
        listening = asyncio.create_task(self._listen(receive))
        waiting = asyncio.create_task(self.let_go.wait())
        await asyncio.wait({listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        waiting.cancel()
        head = {"type": "http.response.start", "status": 200, "headers": []}
        await send(head | {"headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _listen(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


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
async def serving(
    application: Any = app,
    *,
    head_seconds: float = 5.0,
    write_seconds: float = 5.0,
    connections_max: int = 100,
    keep_alive_seconds: int = 5,
) -> AsyncIterator[int]:
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        http=patient(
            head_seconds=head_seconds, write_seconds=write_seconds, connections_max=connections_max
        ),
        timeout_keep_alive=keep_alive_seconds,
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


ASKED = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@contextlib.asynccontextmanager
async def half_closed(
    port: int, asked: bytes = ASKED
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send a request and close the sending half."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    writer.write_eof()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("wait_seconds", [0.0, 0.3])
async def test_a_caller_that_closes_its_sending_half_gets_its_answer(wait_seconds: float) -> None:
    slow = Slow()
    async with serving(slow) as port, half_closed(port) as (reader, _):
        await slow.arrived.wait()
        await asyncio.sleep(wait_seconds)
        assert not slow.left.is_set()
        slow.let_go.set()
        async with asyncio.timeout(READ_SECONDS):
            said = await reader.read()  # up to the server's own end: nothing more can be asked
    interim, _, answer = said.rpartition(CONTINUE)
    assert interim.replace(CONTINUE, b"") == b""
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    assert b"connection: close" in answer


async def test_a_client_of_the_standard_library_passes_over_the_interim_answers() -> None:
    slow = Slow()

    def ask(port: int) -> tuple[int, bytes]:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=READ_SECONDS)
        link.request("POST", "/", b"{}")
        link.sock.shutdown(socket.SHUT_WR)
        answer = link.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            link.close()

    async with serving(slow) as port:
        asked = asyncio.create_task(asyncio.to_thread(ask, port))
        await slow.arrived.wait()
        await asyncio.sleep(0.4)  # for more than one of them
        slow.let_go.set()
        assert await asked == (200, b"ok")


@pytest.mark.parametrize("how", ["close", "reset", "half, then close", "half, then reset"])
async def test_a_caller_that_leaves_while_it_waits_is_noticed(how: str) -> None:
    slow = Slow()
    async with serving(slow) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await slow.arrived.wait()
        if how.startswith("half"):
            writer.write_eof()
            await asyncio.sleep(0.2)
            assert not slow.left.is_set()
        if how.endswith("reset"):
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        async with asyncio.timeout(READ_SECONDS):
            await slow.left.wait()


@pytest.mark.parametrize(
    "asked",
    [
        ASKED[:-1],  # the body is not whole
        ASKED.replace(b"HTTP/1.1", b"HTTP/1.0"),  # no interim answer can be sent
    ],
)
async def test_an_end_that_cannot_be_asked_about_means_that_the_caller_left(asked: bytes) -> None:
    slow = Slow()
    async with serving(slow) as port, half_closed(port, asked) as (reader, _):
        async with asyncio.timeout(READ_SECONDS):
            await slow.left.wait()
            assert b"100 Continue" not in await reader.read()


async def test_of_requests_sent_in_one_go_each_is_answered_before_the_end() -> None:
    slow = Slow()
    async with serving(slow) as port, half_closed(port, ASKED + ASKED) as (reader, _):
        await slow.arrived.wait()
        slow.let_go.set()
        async with asyncio.timeout(READ_SECONDS):
            said = await reader.read()
    assert said.count(b"HTTP/1.1 200 OK") == 2


async def test_a_half_closed_connection_without_a_request_is_closed() -> None:
    async with serving() as port, half_closed(port, b"") as (reader, _):
        async with asyncio.timeout(READ_SECONDS):
            assert await reader.read() == b""


async def test_whoever_watches_a_connection_hears_of_its_end_and_only_while_it_watches() -> None:
    heard: list[str] = []
    watching = asyncio.Event()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        connection = scope[CONNECTION]
        assert connection.watch(lambda: heard.append("first"))
        connection.unwatch()
        assert connection.watch(lambda: heard.append("second"))
        watching.set()
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        assert not connection.watch(lambda: heard.append("late"))
        heard.append("over")

    async with serving(watched) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED)
        await watching.wait()
        writer.close()
        async with asyncio.timeout(READ_SECONDS):
            while "over" not in heard:
                await asyncio.sleep(0.01)
    assert heard == ["second", "over"]


# Callers that do not read -----------------------------------------------------------------------

MIB = 1_048_576


class Endless:
    """An application that writes until somebody hangs up; it counts what was taken off it."""

    def __init__(self) -> None:
        self.written = 0
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listening = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not listening.done():
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
            self.written += 1
        listening.cancel()
        self.ended.set()


@contextlib.asynccontextmanager
async def unread(
    port: int, *, asking: bytes = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", room: int = 4_096
) -> AsyncIterator[socket.socket]:
    """Ask, and leave it to the block whether the answer is read; what is not waits in small."""
    loop = asyncio.get_running_loop()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        caller.setblocking(False)
        await loop.sock_connect(caller, ("127.0.0.1", port))
        await loop.sock_sendall(caller, asking)
        yield caller


async def test_a_caller_that_takes_nothing_is_hung_up_on() -> None:
    endless = Endless()
    async with serving(endless, write_seconds=0.3) as port, unread(port):
        async with asyncio.timeout(READ_SECONDS):
            await endless.ended.wait()
        assert endless.written < 64 * MIB // 65_536


async def test_a_caller_that_reads_slowly_is_waited_for() -> None:
    endless = Endless()
    loop = asyncio.get_running_loop()
    async with serving(endless, write_seconds=0.4) as port, unread(port) as caller:
        for _ in range(15):  # three times as long as one that takes nothing would be given
            await asyncio.sleep(0.1)
            taken = 0
            while taken < MIB:
                taken += len(await loop.sock_recv(caller, MIB))
        assert not endless.ended.is_set()


async def until_the_pipe_is_full(scope: Any, receive: Any, send: Any) -> None:
    """Answer with as much as lies between the two and a little more, which our side must keep."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not scope[CONNECTION].transport.get_write_buffer_size():
        await send({"type": "http.response.body", "body": bytes(8_192), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("reads", [True, False])
async def test_an_answer_that_nobody_reads_is_given_up_when_its_connection_rests_too_long(
    reads: bool,
) -> None:
    loop = asyncio.get_running_loop()
    app = until_the_pipe_is_full
    async with (
        serving(app, keep_alive_seconds=1, write_seconds=0.3) as port,
        unread(port) as caller,
    ):
        await asyncio.sleep(0.0 if reads else 2.0)
        got = bytearray()
        async with asyncio.timeout(READ_SECONDS):
            while piece := await loop.sock_recv(caller, MIB):
                got += piece
        assert got.endswith(b"\r\n0\r\n\r\n") == reads


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    """Answer with 8 MiB in one piece: more than lies between the two."""
    await receive()
    head = [(b"content-length", str(8 * MIB).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": bytes(8 * MIB)})


async def test_an_answer_that_is_still_read_arrives_whole_though_its_connection_rests() -> None:
    loop = asyncio.get_running_loop()
    async with (
        serving(at_once, keep_alive_seconds=1) as port,
        unread(port, room=65_536) as caller,
    ):
        await asyncio.sleep(1.5)  # longer than a connection may rest, shorter than a stall
        got = 0
        async with asyncio.timeout(READ_SECONDS):
            while piece := await loop.sock_recv(caller, MIB):
                got += len(piece)
        assert got > 8 * MIB


async def test_a_caller_that_takes_nothing_of_the_last_answer_is_hung_up_on() -> None:
    """The connection closes after it, and too little is unread for the writer to be paused."""
    loop = asyncio.get_running_loop()
    app = until_the_pipe_is_full
    last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(app, write_seconds=0.3) as port, unread(port, asking=last) as caller:
        await asyncio.sleep(2.0)
        got = bytearray()
        async with asyncio.timeout(READ_SECONDS):
            while piece := await loop.sock_recv(caller, MIB):
                got += piece
        assert not got.endswith(b"\r\n0\r\n\r\n")
