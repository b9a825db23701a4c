"""The door to the network: one POST to an address that was looked at first.

A name is resolved here and the connection goes to an address of that answer, so a name that points
elsewhere a moment later changes nothing. Private, link-local and loopback addresses are refused
unless the sink allows them; redirects are never followed; no proxy of the environment is used.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from collector.sinks.sink import ACCEPTED, MESSAGE_CHARS_MAX, TRY_SECONDS, Answer, Verdict
from telemetry.clock import Clock
from telemetry.transport import retry_after

BODY_BYTES_MAX: Final = 4_096  # read of an answer that refuses, for the log
BODY_SECONDS: Final = 1.0
_AGAIN: Final = frozenset({408, 425, 429})
_NO_ADDRESS: Final = Answer(verdict=Verdict.REFUSED, message="the address is no http or https URL")
# IPv6 networks whose addresses end with an IPv4 address.
_EMBEDDING: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Private(OSError):
    """A name that leads to this machine or its network, where the sink may not go."""


def is_public(address: str) -> bool:
    """Say whether an address is one of the open Internet.

    An IPv4 address inside an IPv6 one counts as itself.

    >>> [is_public(one) for one in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254")]
    [True, False, False, False]
    >>> [is_public(one) for one in ("::ffff:127.0.0.1", "64:ff9b::a00:1", "::1", "fe80::1%eth0")]
    [False, False, False, False]
    """
    found = _plain(ipaddress.ip_address(address.partition("%")[0]))
    return found.is_global and not found.is_multicast


def _plain(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class Looking(AbstractResolver):
    """Resolves names to addresses that the sink may call."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        infos = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        found = [(info[0], str(info[4][0])) for info in infos]
        allowed = [one for one in found if self._allow_private or is_public(one[1])]
        if not allowed:
            raise Private(f"{host} is at a private address and allow_private is false")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=socket.IPPROTO_TCP,
                flags=int(socket.AI_NUMERICHOST),
            )
            for kind, address in allowed
        ]  # fmt: skip

    async def close(self) -> None:
        """Do nothing: nothing is kept."""


class Door:
    """POSTs for one sink."""

    def __init__(self, *, allow_private: bool, clock: Clock) -> None:
        self._allow_private = allow_private
        self._clock = clock

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST once and return what the answer means; never raises but for cancellation.

        2xx is accepted; 408, 425, 429 and 5xx may be tried again; 410 is gone; redirects and all
        else are refusals. The body of an acceptance is not read.
        """
        refusal = self._refusal(url)
        if refusal is not None:
            return refusal
        try:
            async with (
                asyncio.timeout(TRY_SECONDS),
                self._session() as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return await self._answer(response)
        except TimeoutError:
            return Answer(verdict=Verdict.RETRY, message=f"no answer within {TRY_SECONDS:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(error)

    def _refusal(self, url: str) -> Answer | None:
        """Refuse what is no web address, or is a private one by itself: no name is looked up."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            return _NO_ADDRESS
        if parts.scheme not in ("http", "https") or not host:
            return _NO_ADDRESS
        try:
            public = is_public(host)
        except ValueError:
            return None  # a name
        if public or self._allow_private:
            return None
        return Answer(
            verdict=Verdict.REFUSED, message="the address is private and allow_private is false"
        )

    def _session(self) -> aiohttp.ClientSession:
        looking = Looking(allow_private=self._allow_private)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=looking, use_dns_cache=False, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=TRY_SECONDS),
        )

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        status = response.status
        if 200 <= status < 300:
            return ACCEPTED
        message = f"HTTP {status}"
        if 300 <= status < 400:
            return Answer(verdict=Verdict.REFUSED, message=f"{message}: redirects are not followed")
        text = await _text(response)
        if text:
            message = f"{message}: {text}"[:MESSAGE_CHARS_MAX]
        if status == 410:
            return Answer(verdict=Verdict.GONE, message=message)
        if status not in _AGAIN and status < 500:
            return Answer(verdict=Verdict.REFUSED, message=message)
        wait = retry_after(response.headers.get("retry-after"), now_ns=self._clock.now_ns())
        return Answer(verdict=Verdict.RETRY, message=message, retry_after_seconds=wait)


async def _text(response: aiohttp.ClientResponse) -> str:
    """Return the printable beginning of a refusal, as far as it comes soon."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await response.content.read(BODY_BYTES_MAX)
    except (TimeoutError, aiohttp.ClientError):
        return ""
    text = raw.decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else " " for char in text)[:MESSAGE_CHARS_MAX]


def _failure(error: Exception) -> Answer:
    """Word a try that got no status; a URL, which may hold a secret, is never part of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Private):
            return Answer(verdict=Verdict.REFUSED, message=str(cause)[:MESSAGE_CHARS_MAX])
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return _NO_ADDRESS
    reason = getattr(error, "strerror", None)
    words = type(error).__name__ + (f": {reason}" if reason else "")
    return Answer(verdict=Verdict.RETRY, message=words[:MESSAGE_CHARS_MAX])
