"""The named ways in which an upstream goes wrong; ``fault_server`` serves them all."""

import asyncio
import contextlib
import gzip
import time
from contextlib import AbstractAsyncContextManager
from email.utils import formatdate

from tests.faults.answers import error_frame, frames, whole
from tests.faults.server import Behaviour, Contact, FaultServer, Wire, serve

FRAMES_BEFORE_FAULT = 6
LATE_SECONDS = 0.2


def head(status_code: int, reason: str, *lines: str) -> bytes:
    """Return an answer's head."""
    return "\r\n".join([f"HTTP/1.1 {status_code} {reason}", *lines, "", ""]).encode("latin-1")


STREAM_HEAD = head(
    200, "OK", "content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked"
)


def status(code: int, body: bytes, *lines: str) -> Behaviour:
    """Return a behaviour that answers with ``code``."""

    async def behave(wire: Wire, contact: Contact) -> None:
        length = f"content-length: {len(body)}"
        top = head(code, "Status", "content-type: application/json", length, *lines)
        await wire.send(top + body)

    return behave


async def ok(wire: Wire, contact: Contact) -> None:
    """Answer as a healthy provider would."""
    if contact.stream:
        await wire.send(STREAM_HEAD)
        await wire.chunks(*frames(contact.dialect))
        await wire.send(b"0\r\n\r\n")
        return
    await status(200, whole(contact.dialect))(wire, contact)


async def late(wire: Wire, contact: Contact) -> None:
    """Answer as a healthy provider would, after a while."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(contact.gone.wait(), LATE_SECONDS)
        return
    await ok(wire, contact)


async def silent(wire: Wire, contact: Contact) -> None:
    """Take the request and never say anything."""
    await contact.gone.wait()


async def headers_then_silent(wire: Wire, contact: Contact) -> None:
    """Send the head of an answer and nothing more."""
    if contact.stream:
        await wire.send(STREAM_HEAD)
    else:
        await wire.send(head(200, "OK", "content-type: application/json", "content-length: 500"))
    await contact.gone.wait()


async def _begin(wire: Wire, contact: Contact) -> None:
    await wire.send(STREAM_HEAD)
    await wire.chunks(*frames(contact.dialect)[:FRAMES_BEFORE_FAULT])


async def silent_mid_stream(wire: Wire, contact: Contact) -> None:
    """Send some frames and then nothing more."""
    await _begin(wire, contact)
    await contact.gone.wait()


async def reset_mid_stream(wire: Wire, contact: Contact) -> None:
    """Send some frames and then RST."""
    await _begin(wire, contact)
    await wire.reset()


async def reset_before_headers(wire: Wire, contact: Contact) -> None:
    """Take the request and send RST."""
    await wire.reset()


async def close_before_headers(wire: Wire, contact: Contact) -> None:
    """Take the request and close."""
    wire.close()


async def clean_eof(wire: Wire, contact: Contact) -> None:
    """End the stream as HTTP wants it but without the dialect's last event."""
    await _begin(wire, contact)
    await wire.send(b"0\r\n\r\n")


async def truncated_eof(wire: Wire, contact: Contact) -> None:
    """Close in the middle of a stream, without HTTP's last chunk."""
    await _begin(wire, contact)
    wire.close()


async def half_close(wire: Wire, contact: Contact) -> None:
    """Answer in full and close the sending half; go on reading."""
    body = whole(contact.dialect)
    lines = ("content-type: application/json", f"content-length: {len(body)}", "connection: close")
    await wire.send(head(200, "OK", *lines) + body)
    wire.half_close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(contact.gone.wait(), 5)
    wire.close()


async def error_first_event(wire: Wire, contact: Contact) -> None:
    """Answer 200 with a stream whose first event is an error."""
    await wire.send(STREAM_HEAD)
    await wire.chunks(error_frame(contact.dialect))
    await wire.send(b"0\r\n\r\n")


async def error_mid_stream(wire: Wire, contact: Contact) -> None:
    """Send some frames, then an error event, then end."""
    await _begin(wire, contact)
    await wire.chunks(error_frame(contact.dialect))
    await wire.send(b"0\r\n\r\n")


def usage(value: str | None) -> Behaviour:
    """Return a behaviour whose usage figures are all ``value``, raw JSON; None leaves them out."""

    async def behave(wire: Wire, contact: Contact) -> None:
        if contact.stream:
            await wire.send(STREAM_HEAD)
            await wire.chunks(*frames(contact.dialect, usage=value))
            await wire.send(b"0\r\n\r\n")
            return
        await status(200, whole(contact.dialect, usage=value))(wire, contact)

    return behave


def huge_line(size_bytes: int = 10 * 1_048_576) -> Behaviour:
    """Return a behaviour that streams one SSE line of ``size_bytes`` between healthy frames."""

    async def behave(wire: Wire, contact: Contact) -> None:
        healthy = frames(contact.dialect)
        await wire.send(STREAM_HEAD)
        await wire.chunks(*healthy[:FRAMES_BEFORE_FAULT])
        piece = b"x" * 65_536
        await wire.chunks(b": ")
        for _ in range(size_bytes // len(piece)):
            await wire.chunks(piece)
        await wire.chunks(b"\n\n", *healthy[FRAMES_BEFORE_FAULT:])
        await wire.send(b"0\r\n\r\n")

    return behave


def one_byte_chunks(count: int) -> Behaviour:
    """Return a behaviour that streams about ``count`` bytes, each as a chunk of its own."""

    async def behave(wire: Wire, contact: Contact) -> None:
        healthy = frames(contact.dialect)
        middle = b"".join(healthy[1:FRAMES_BEFORE_FAULT])
        text = healthy[0] + middle * max(1, (count - len(healthy[0])) // len(middle))
        text += b"".join(healthy[FRAMES_BEFORE_FAULT:])
        await wire.send(STREAM_HEAD)
        batch = bytearray()
        for byte in text:
            batch += b"1\r\n%c\r\n" % byte
            if len(batch) >= 6_000:
                await wire.send(bytes(batch))
                batch.clear()
                await asyncio.sleep(0)
        await wire.send(bytes(batch) + b"0\r\n\r\n")

    return behave


def drip(gap_seconds: float) -> Behaviour:
    """Return a behaviour that waits before each frame."""

    async def behave(wire: Wire, contact: Contact) -> None:
        await wire.send(STREAM_HEAD)
        for frame in frames(contact.dialect):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(contact.gone.wait(), gap_seconds)
                return
            await wire.chunks(frame)
        await wire.send(b"0\r\n\r\n")

    return behave


def wrong_length(difference: int) -> Behaviour:
    """Return a behaviour whose content-length is off by ``difference``, and then closes."""

    async def behave(wire: Wire, contact: Contact) -> None:
        body = whole(contact.dialect)
        length = f"content-length: {len(body) + difference}"
        await wire.send(head(200, "OK", "content-type: application/json", length) + body)
        wire.close()

    return behave


async def gzip_unasked(wire: Wire, contact: Contact) -> None:
    """Compress although identity was asked for."""
    body = gzip.compress(whole(contact.dialect))
    await status(200, body, "content-encoding: gzip")(wire, contact)


async def redirect(wire: Wire, contact: Contact) -> None:
    """Send the caller to ``server.redirect_to``, or to a healthy answer of this server."""
    target = wire.server.redirect_to or f"{wire.server.origin}/redirected{contact.path}"
    await wire.send(head(302, "Found", f"location: {target}", "content-length: 0"))


async def garbage(wire: Wire, contact: Contact) -> None:
    """Answer with bytes that are no HTTP."""
    await wire.send(b"\x16\x03\x01\x00\xa5\x00hello, this is not HTTP\r\n\r\n")
    wire.close()


async def retry_after_date(wire: Wire, contact: Contact) -> None:
    """Answer 429 with Retry-After as a date two seconds ahead."""
    line = f"retry-after: {formatdate(time.time() + 2, usegmt=True)}"
    await status(429, RATE_LIMITED, line)(wire, contact)


def denied(code: int) -> Behaviour:
    """Return a behaviour that refuses the key it was sent, and quotes it."""

    async def behave(wire: Wire, contact: Contact) -> None:
        quoted = contact.headers.get("authorization", "") + contact.headers.get("x-api-key", "")
        body = b'{"error":{"message":"Incorrect API key provided: %s"}}' % quoted.encode()
        await status(code, body)(wire, contact)

    return behave


RATE_LIMITED = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}'
BROKEN = b'{"error":{"message":"upstream trouble","type":"server_error","code":null}}'

BEHAVIOURS: dict[str, Behaviour] = {
    "ok": ok,
    "redirected": ok,
    "late": late,
    "silent": silent,
    "headers_then_silent": headers_then_silent,
    "silent_mid_stream": silent_mid_stream,
    "reset_before_headers": reset_before_headers,
    "reset_mid_stream": reset_mid_stream,
    "close_before_headers": close_before_headers,
    "clean_eof": clean_eof,
    "truncated_eof": truncated_eof,
    "half_close": half_close,
    "rate_limited": status(429, RATE_LIMITED),
    "rate_limited_seconds": status(429, RATE_LIMITED, "retry-after: 2"),
    "rate_limited_date": retry_after_date,
    "rate_limited_negative": status(429, RATE_LIMITED, "retry-after: -5"),
    "rate_limited_huge": status(429, RATE_LIMITED, "retry-after: 1000000000"),
    "rate_limited_garbage": status(429, RATE_LIMITED, "retry-after: soon\t(maybe)"),
    **{f"status_{code}": status(code, BROKEN) for code in (500, 502, 503, 504, 529)},
    **{f"denied_{code}": denied(code) for code in (401, 402, 403)},
    "error_first_event": error_first_event,
    "error_mid_stream": error_mid_stream,
    "usage_missing": usage(None),
    "usage_negative": usage("-5"),
    "usage_huge": usage("1e308"),
    "usage_absurd": usage("9007199254740993"),
    "usage_text": usage('"many"'),
    "usage_null": usage("null"),
    "huge_line": huge_line(),
    "one_byte_chunks": one_byte_chunks(20_000),
    "million_one_byte_chunks": one_byte_chunks(1_000_000),
    "drip": drip(0.02),
    "length_too_long": wrong_length(100),
    "length_too_short": wrong_length(-20),
    "gzip_unasked": gzip_unasked,
    "redirect": redirect,
    "garbage": garbage,
}


def fault_server() -> AbstractAsyncContextManager[FaultServer]:
    """Serve every behaviour on a free port of 127.0.0.1."""
    return serve(BEHAVIOURS)
