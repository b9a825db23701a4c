"""A closed-loop load generator: raw HTTP over asyncio, far cheaper than what it measures."""

import asyncio
import re
import time
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.I)
REQUEST_SECONDS_MAX = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round saw; times in seconds, ascending, one per request."""

    whole: tuple[float, ...]  # to the answer's last byte
    first: tuple[float, ...]  # to the first byte of its body
    seconds: float

    def quantile(self, share: float, *, first: bool = False) -> float:
        """Return the time that ``share`` of the requests stayed within, in milliseconds."""
        times = self.first if first else self.whole
        return times[min(len(times) - 1, int(len(times) * share))] * 1e3

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return len(self.whole) / self.seconds


def request_bytes(port: int, path: str, body: bytes) -> bytes:
    """Return a POST as an official client would send it, headers included."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: application/json\r\n"
        "content-type: application/json\r\naccept-encoding: gzip, deflate\r\n"
        "user-agent: OpenAI/Python 3.54.0\r\nauthorization: Bearer benchmark-client\r\n"
        "x-stainless-lang: python\r\nx-stainless-os: Linux\r\nx-stainless-async: async:asyncio\r\n"
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(port: int, content: bytes, *, callers: int, requests: int) -> Round:
    """Send ``requests`` in all from ``callers`` that each wait for their answer.

    Raises:
        RuntimeError: an answer other than 200.
    """
    whole: list[float] = []
    first: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(
        *(_call(port, content, requests // callers, whole, first) for _ in range(callers))
    )
    seconds = time.perf_counter() - began
    return Round(whole=tuple(sorted(whole)), first=tuple(sorted(first)), seconds=seconds)


async def _call(
    port: int, content: bytes, count: int, whole: list[float], first: list[float]
) -> None:
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_connection(_Caller, "127.0.0.1", port)
    try:
        for _ in range(count):
            caller.done = loop.create_future()
            sent = time.perf_counter()
            transport.write(content)
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                await caller.done
            whole.append(time.perf_counter() - sent)
            first.append(caller.first_at - sent)
    finally:
        transport.close()


class _Caller(asyncio.Protocol):
    """Reads one answer at a time, no further than to know where it ends."""

    done: "asyncio.Future[None]"
    first_at: float

    def __init__(self) -> None:
        self._seen = b""
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self._head:
            head, end, rest = self._seen.partition(b"\r\n\r\n")
            if not end:
                return
            self._head, self._seen = head, rest
            self.first_at = 0.0
        if self._seen and not self.first_at:
            self.first_at = time.perf_counter()
        if self._is_whole():
            ok = self._head.startswith(b"HTTP/1.1 200")
            answer = self._head + b" " + self._seen[:300]
            self._head = self._seen = b""
            if ok:
                self.done.set_result(None)
            else:
                self.done.set_exception(RuntimeError(answer.decode("latin-1")))

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "done") and not self.done.done():
            self.done.set_exception(RuntimeError("the connection was closed under a request"))

    def _is_whole(self) -> bool:
        if _CHUNKED.search(self._head):
            return self._seen.endswith(b"0\r\n\r\n")
        stated = _LENGTH.search(self._head)
        return stated is not None and len(self._seen) >= int(stated[1])
