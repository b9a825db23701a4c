"""How bytes reach a provider: one call out, one answer in pieces."""

import io
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from router.config import GatewayConfig
from router.deadline import Deadline
from telemetry.errors import UpstreamError, UpstreamTimeout

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

Headers = Sequence[tuple[str, str]]
RawHeaders = Sequence[tuple[bytes, bytes]]


# Whether the connection of this task's last call had been used before.
_REUSED: ContextVar[bool] = ContextVar("reused", default=False)

# aiohttp writes longer bytes in one go as well, but warns that this holds up the event loop.
WRITTEN_WHOLE_BYTES_MAX: Final = 1_048_576


class Answer(Protocol):
    """An answer whose status and headers have arrived."""

    status: int
    headers: RawHeaders

    async def read(self, bytes_max: int) -> bytes | None:
        """Return the rest of the body, or None once it is longer than ``bytes_max``.

        After None the pieces read so far come first from ``pieces``.
        """
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, never regrouped."""
        ...

    def close(self) -> None:
        """Let go: hang up unless the whole body was read. Safe to call twice."""
        ...


class Upstream(Protocol):
    """A client for providers; every failure it raises is an ``UpstreamError``."""

    async def send(self, url: URL, headers: Headers, body: bytes, *, once: bool = False) -> Answer:
        """POST ``body`` and return once the answer's headers are here.

        ``once`` says that the same bytes must not go out a second time, whatever happens.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class AiohttpUpstream:
    """The client in use: aiohttp with keep-alive, no redirects, no cookies, no proxies."""

    def __init__(self, config: GatewayConfig) -> None:
        self._first_byte_seconds = config.timeouts.first_byte_seconds
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=config.upstream_connections_max, ttl_dns_cache=300, keepalive_timeout=55
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=None,
                sock_connect=config.timeouts.connect_seconds,
                sock_read=config.timeouts.idle_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            trust_env=False,
            max_line_size=65_536,
            max_field_size=65_536,
        )

    async def send(self, url: URL, headers: Headers, body: bytes, *, once: bool = False) -> Answer:
        try:
            with Deadline(self._first_byte_seconds):
                response = await self._post(url, headers, body, once=once)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
        ) as error:
            raise UpstreamError(
                "upstream_unreachable",
                f"no connection to {url.host}:{url.port}",
                hint="is the provider up and its base_url right? `tierwise doctor` looks",
            ) from error
        except TimeoutError as error:
            raise _silent(url) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(url, error) from error
        return _AiohttpAnswer(url, response)

    async def _post(
        self, url: URL, headers: Headers, body: bytes, *, once: bool
    ) -> aiohttp.ClientResponse:
        try:
            return await self._session.post(
                url, data=_payload(body), headers=headers, allow_redirects=False
            )
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if once or not _REUSED.get():
                raise
            # The provider closed an idle connection as we wrote to it: nothing was answered,
            # and this race is the one case in which the same bytes may go out again unasked.
            return await self._session.post(
                url, data=_payload(body), headers=headers, allow_redirects=False
            )

    async def close(self) -> None:
        await self._session.close()


class _Connector(aiohttp.TCPConnector):
    """Tells apart connections that were made for a call from those that had been idle."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        reused = connection.protocol in self._met
        _REUSED.set(reused)
        if not reused and connection.protocol is not None:
            self._met.add(connection.protocol)
        return connection

    @cached_property
    def _met(self) -> "WeakSet[object]":
        return WeakSet()


class _AiohttpAnswer:
    def __init__(self, url: URL, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: RawHeaders = response.raw_headers
        self._url = url
        self._response = response
        self._begun: list[bytes] = []

    async def read(self, bytes_max: int) -> bytes | None:
        size = 0
        async for piece in self._fresh():
            self._begun.append(piece)
            size += len(piece)
            if size > bytes_max:
                return None
        body = self._begun[0] if len(self._begun) == 1 else b"".join(self._begun)
        self._begun = []
        return body

    async def pieces(self) -> AsyncIterator[bytes]:
        begun, self._begun = self._begun, []
        for piece in begun:
            yield piece
        async for piece in self._fresh():
            yield piece

    async def _fresh(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while piece := await content.readany():
                yield piece
        except TimeoutError as error:
            raise _silent(self._url) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(self._url, error) from error

    def close(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _payload(body: bytes) -> bytes | io.BytesIO:
    """Return ``body`` as aiohttp wants it: large ones to be written piece by piece."""
    return body if len(body) <= WRITTEN_WHOLE_BYTES_MAX else io.BytesIO(body)


def _silent(url: URL) -> UpstreamTimeout:
    return UpstreamTimeout(
        "upstream_timeout",
        f"{url.host}:{url.port} stayed silent",
        hint="gateway.timeouts says how long a provider may take",
    )


def _broken(url: URL, error: BaseException) -> UpstreamError:
    return UpstreamError(
        "upstream_broken",
        f"{url.host}:{url.port} broke off its answer ({type(error).__name__})",
        hint="send the step again; if it stays so, look at the provider",
    )
