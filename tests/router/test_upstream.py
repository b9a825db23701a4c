"""The client for providers against servers that answer, dawdle, break off and lie."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from router.config import GatewayConfig, TimeoutsConfig
from router.upstream import AiohttpUpstream
from telemetry.errors import UpstreamError, UpstreamTimeout
from tests import wire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CONTENT = ("content-type", "application/json")


@contextlib.asynccontextmanager
async def quick(*, first_byte: float = 30.0, idle: float = 30.0) -> AsyncIterator[AiohttpUpstream]:
    timeouts = TimeoutsConfig(
        connect_seconds=30.0, first_byte_seconds=first_byte, idle_seconds=idle, body_seconds=5.0
    )
    upstream = AiohttpUpstream(GatewayConfig(timeouts=timeouts))
    try:
        yield upstream
    finally:
        await upstream.close()


def url(port: int) -> URL:
    return URL(f"http://127.0.0.1:{port}/v1/chat/completions")


async def ask(port: int, upstream: AiohttpUpstream, body: bytes = b"{}") -> bytes | None:
    answer = await upstream.send(url(port), [CONTENT], body)
    try:
        return await answer.read(1_000_000)
    finally:
        answer.close()


async def test_the_bytes_that_are_sent_are_the_bytes_that_arrive() -> None:
    bodies = [b"{}", b"\x00\xff" * 1_000, b"x" * 1_048_576, b"y" * 1_048_577, b"z" * 3_000_000]
    async with wire.provider(wire.whole(b"ok")) as provider, quick() as upstream:
        for body in bodies:
            assert await ask(provider.port, upstream, body) == b"ok"
    assert [got.body for got in provider.got] == bodies
    assert [got.header(b"content-length") for got in provider.got] == [
        str(len(body)).encode() for body in bodies
    ]
    assert provider.connections == 1


async def test_nothing_is_added_to_the_headers_but_what_http_wants() -> None:
    async with wire.provider(wire.whole(b"ok")) as provider, quick() as upstream:
        answer = await upstream.send(
            url(provider.port), [CONTENT, ("x-b", "1"), ("x-b", "2")], b"{}"
        )
        answer.close()
    assert sorted(provider.got[0].headers) == [
        (b"content-length", b"2"),
        (b"content-type", b"application/json"),
        (b"host", f"127.0.0.1:{provider.port}".encode()),
        (b"x-b", b"1"),
        (b"x-b", b"2"),
    ]


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    serve = wire.whole(b"moved", status=307, headers="location: http://127.0.0.1:1/\r\n")
    async with wire.provider(serve) as provider, quick() as upstream:
        answer = await upstream.send(url(provider.port), [CONTENT], b"{}")
        assert answer.status == 307
        assert await answer.read(100) == b"moved"
        answer.close()
    assert len(provider.got) == 1


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    async with quick() as upstream:
        with pytest.raises(UpstreamError) as failed:
            await ask(port, upstream)
    assert (failed.value.code, failed.value.status) == ("upstream_unreachable", 502)
    assert f"127.0.0.1:{port}" in str(failed.value)


async def wait_for_ever(got: wire.Got, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_silence_before_the_headers_is_a_timeout_and_the_provider_is_let_go() -> None:
    async with wire.provider(wait_for_ever) as provider, quick(first_byte=0.05) as upstream:
        with pytest.raises(UpstreamTimeout) as failed:
            await ask(provider.port, upstream)
        assert (failed.value.code, failed.value.status) == ("upstream_timeout", 504)


@pytest.mark.parametrize("begun", [b"", b"abc"])
async def test_silence_inside_the_body_is_a_timeout(begun: bytes) -> None:
    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 10\r\n\r\n" + begun)
        await writer.drain()
        await asyncio.Event().wait()

    async with wire.provider(serve) as provider, quick(idle=0.05) as upstream:
        with pytest.raises(UpstreamTimeout):
            await ask(provider.port, upstream)


BROKEN = {
    "no answer at all": b"",
    "cut in the headers": HEAD,
    "not HTTP": b"SSH-2.0-OpenSSH_9\r\n",
    "shorter than it said": HEAD + b"content-length: 10\r\n\r\nabc",
    "cut in a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\na\r\nabc",
    "no last chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "a chunk of no size": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "a header of 100 KB": HEAD + b"x: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_an_upstream_error_and_nothing_else(name: str) -> None:
    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        writer.write(BROKEN[name])
        await writer.drain()
        writer.close()

    async with wire.provider(serve) as provider, quick() as upstream:
        with pytest.raises(UpstreamError) as failed:
            await ask(provider.port, upstream)
        assert failed.value.code == "upstream_broken"


async def test_an_answer_too_long_to_keep_is_handed_out_from_its_beginning() -> None:
    body = bytes(range(256)) * 4_000
    async with wire.provider(wire.whole(body)) as provider, quick() as upstream:
        answer = await upstream.send(url(provider.port), [CONTENT], b"{}")
        assert await answer.read(1_000) is None
        assert b"".join([piece async for piece in answer.pieces()]) == body
        answer.close()
        answer.close()


async def test_letting_go_of_half_an_answer_hangs_up() -> None:
    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.STREAM_HEAD + wire.chunk(b"data: 1\n\n"))
        await writer.drain()
        await asyncio.Event().wait()

    async with wire.provider(serve) as provider, quick() as upstream:
        answer = await upstream.send(url(provider.port), [CONTENT], b"{}")
        assert await anext(answer.pieces()) == b"data: 1\n\n"
        answer.close()
        for _ in range(1_000):
            if provider.hangups:
                break
            await asyncio.sleep(0.005)
        assert provider.hangups == 1


async def test_an_idle_connection_that_the_provider_closed_costs_no_step() -> None:
    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()  # without a word: the client believes that it stays open

    async with wire.provider(serve) as provider, quick() as upstream:
        for _ in range(20):
            assert await ask(provider.port, upstream) == b"ok"
    assert len(provider.got) == 20
