"""Requests whose end two parsers could see in different places: none of them is ever forwarded."""

import asyncio
import json

import pytest

from telemetry.records import Dialect
from tests import streams, wire
from tests.faults.answers import whole
from tests.faults.house import CALLER_CANARY, PROMPT_CANARY, ask, house

PATH = streams.PATHS[Dialect.CHAT]
SMUGGLED = json.dumps({"model": "tierwise/default", "messages": []}).encode()
INNER = (
    f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CALLER_CANARY}\r\n"
    f"content-type: application/json\r\ncontent-length: {len(SMUGGLED)}\r\n\r\n"
).encode() + SMUGGLED
BODY = ask("alone", stream=False)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"content-length: %d\r\n" % len(BODY)
TE = b"transfer-encoding: chunked\r\n"
# What stands after the head's usual lines, and what follows the head.
CORPUS = {
    "length and chunked": (LENGTH + TE, CHUNKED + INNER),
    "chunked and length": (TE + b"content-length: 5\r\n", b"0\r\n\r\n" + INNER),
    "two lengths": (LENGTH + b"content-length: 3\r\n", BODY + INNER),
    "one length of two": (b"content-length: 3, %d\r\n" % len(BODY), BODY + INNER),
    "negative length": (b"content-length: -1\r\n", BODY + INNER),
    "length with a sign": (b"content-length: +%d\r\n" % len(BODY), BODY + INNER),
    "length in hex": (b"content-length: 0x%x\r\n" % len(BODY), BODY + INNER),
    "length with a tail": (b"content-length: %d x\r\n" % len(BODY), BODY + INNER),
    "length beyond numbers": (b"content-length: 99999999999999999999999\r\n", BODY + INNER),
    "another encoding": (b"transfer-encoding: xchunked\r\n", CHUNKED + INNER),
    "chunked not last": (b"transfer-encoding: chunked, identity\r\n", CHUNKED + INNER),
    "chunked twice": (TE + b"transfer-encoding: identity\r\n", CHUNKED + INNER),
    "name with a space": (b"content-length : %d\r\n" % len(BODY), BODY + INNER),
    "folded line": (LENGTH + b"transfer-encoding:\r\n chunked\r\n", CHUNKED + INNER),
    "chunk size garbage": (TE, b"zz\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER),
    "chunk size negative": (TE, b"-5\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER),
    "chunk size endless": (TE, b"f" * 40 + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER),
    "chunk longer than said": (TE, b"5\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER),
    "chunk end without a line end": (TE, b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n" + INNER),
    "bare line feed after a chunk": (TE, b"%x\n%s\n0\n\n" % (len(BODY), BODY) + INNER),
    "bare carriage return in a head": (b"x-odd: a\rb\r\n" + LENGTH, BODY + INNER),
    "nul in a head": (b"x-odd: a\x00b\r\n" + LENGTH, BODY + INNER),
}


@pytest.mark.parametrize("name", CORPUS)
async def test_a_request_with_two_ends_is_refused_and_its_connection_closed(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines, rest = CORPUS[name]
    async with house("ok", caplog) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.at.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CALLER_CANARY}\r\n"
        writer.write(head.encode() + b"content-type: application/json\r\n" + lines + b"\r\n" + rest)
        async with asyncio.timeout(wire.READ_SECONDS):
            said = await reader.read()  # to the end: the connection is closed
        writer.close()
        assert [
            int(line.split()[1]) // 100 for line in said.split(b"\r\n") if b"HTTP/1.1 " in line
        ] == [4]
        assert PROMPT_CANARY.encode() not in said
        assert at.contacts() == []
        await at.check(None, [])


async def test_the_same_request_with_one_end_is_served_and_so_is_the_one_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house("ok", caplog) as at:
        for lines, rest in ((LENGTH, BODY), (TE, CHUNKED)):
            reader, writer = await asyncio.open_connection("127.0.0.1", at.at.port)
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CALLER_CANARY}\r\n"
            begun = head.encode() + b"content-type: application/json\r\n" + lines
            writer.write(begun + b"\r\n" + rest + INNER)
            async with asyncio.timeout(wire.READ_SECONDS):
                replies = [await wire.read_reply(reader) for _ in range(2)]
            writer.close()
            assert [reply.body for reply in replies] == [whole(Dialect.CHAT)] * 2
            assert at.contacts() == ["ok", "ok"]
            await at.recorded(2)
