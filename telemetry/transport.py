"""One try at one endpoint, over HTTP or gRPC, and what its answer means.

Which answers may be tried again follows the OTLP specification: HTTP 429, 502, 503 and 504 or no
answer; gRPC CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS, and
RESOURCE_EXHAUSTED with RetryInfo. A redirect is a refusal: following it would send spans, and
perhaps a token, to somebody the operator did not name.
"""

import asyncio
import gzip
import io
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from google.protobuf.message import (  # type: ignore[import-untyped]  # ships no types
    DecodeError,
    Message,
)
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from telemetry.clock import Clock
from telemetry.endpoints import Target
from telemetry.otlp import Signal

_RETRYABLE_STATUS = frozenset({429, 502, 503, 504})
_RETRYABLE_CODES = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_ANSWER_BYTES_MAX = 65_536
# gRPC waits two minutes before it looks whether a server that was long away is back.
_GRPC_OPTIONS: Final = (("grpc.max_reconnect_backoff_ms", 5_000),)
_MESSAGE_CHARS_MAX = 200
_RESPONSES: Final[Mapping[Signal, tuple[type[Message], str]]] = {
    Signal.TRACES: (trace_service_pb2.ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (logs_service_pb2.ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (metrics_service_pb2.ExportMetricsServiceResponse, "rejected_data_points"),
}
_METHODS: Final[Mapping[Signal, str]] = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


class Verdict(StrEnum):
    """What a try came to."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    REFUSED = "refused"  # sending it again would change nothing


class Reply(NamedTuple):
    """An endpoint's answer to one request."""

    verdict: Verdict
    rejected: int = 0  # records that an accepting endpoint did not take
    retry_after_seconds: float | None = None
    message: str = ""  # for the log; never holds a header


class Transport(Protocol):
    """Sends encoded requests to one endpoint."""

    async def send(self, signal: Signal, body: bytes) -> Reply:
        """Try once; never raises but for cancellation."""
        ...

    async def close(self) -> None:
        """Give up the connections."""
        ...


def open_transport(target: Target, *, clock: Clock) -> Transport:
    """Return the transport that ``target`` speaks; call it inside a running loop."""
    return GrpcTransport(target) if target.protocol == "grpc" else HttpTransport(target, clock)


class HttpTransport:
    """OTLP over HTTP, protobuf bodies, through one keep-alive connection."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        self._headers = {"content-type": "application/x-protobuf", **target.headers}
        if target.gzip:
            self._headers["content-encoding"] = "gzip"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=2),
            timeout=aiohttp.ClientTimeout(total=target.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, signal: Signal, body: bytes) -> Reply:
        if self._target.gzip:
            body = await asyncio.to_thread(gzip.compress, body, 1)
        try:
            async with self._session.post(
                self._target.addresses[signal],
                data=io.BytesIO(body),  # written piece by piece: it may be two megabytes
                headers=self._headers,
                allow_redirects=False,
            ) as response:
                answer = await response.content.read(_ANSWER_BYTES_MAX)
                return self._reply(signal, response, answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Reply(Verdict.RETRY, message=_worded(error))

    def _reply(self, signal: Signal, response: aiohttp.ClientResponse, answer: bytes) -> Reply:
        if 200 <= response.status < 300:
            return accepted(signal, answer)
        if response.status in _RETRYABLE_STATUS:
            wait = retry_after(response.headers.get("retry-after"), now_ns=self._clock.now_ns())
            return Reply(Verdict.RETRY, retry_after_seconds=wait, message=f"HTTP {response.status}")
        return Reply(Verdict.REFUSED, message=f"HTTP {response.status}")

    async def close(self) -> None:
        await self._session.close()


class GrpcTransport:
    """OTLP over gRPC: unary calls whose bytes are made elsewhere."""

    def __init__(self, target: Target) -> None:
        # Only who has a gRPC endpoint pays for it: about 7 MB and its poller thread.
        import grpc  # noqa: PLC0415 - see above

        self._error = grpc.aio.AioRpcError
        self._timeout_seconds = target.timeout_seconds
        self._metadata = tuple((key.lower(), value) for key, value in target.headers.items())
        self._compression = grpc.Compression.Gzip if target.gzip else None
        self._channels: dict[str, Any] = {}
        self._calls: dict[Signal, Any] = {}
        for signal, address in target.addresses.items():
            parts = urlsplit(address)
            channel = self._channels.get(parts.netloc)
            if channel is None:
                host = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
                channel = (
                    grpc.aio.secure_channel(host, grpc.ssl_channel_credentials(), _GRPC_OPTIONS)
                    if parts.scheme == "https"
                    else grpc.aio.insecure_channel(host, _GRPC_OPTIONS)
                )
                self._channels[parts.netloc] = channel
            self._calls[signal] = channel.unary_unary(_METHODS[signal])

    async def send(self, signal: Signal, body: bytes) -> Reply:
        try:
            answer = await self._calls[signal](
                body,
                timeout=self._timeout_seconds,
                metadata=self._metadata,
                compression=self._compression,
            )
        except self._error as error:
            return _grpc_failure(error)
        return accepted(signal, answer)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


def accepted(signal: Signal, answer: bytes) -> Reply:
    """Return what an accepting endpoint's body says; one that cannot be read rejects nothing."""
    if not answer:
        return Reply(Verdict.ACCEPTED)
    message, rejected_field = _RESPONSES[signal]
    try:
        response: Any = message.FromString(answer)
    except DecodeError:
        return Reply(Verdict.ACCEPTED)
    partial = response.partial_success
    rejected = max(0, getattr(partial, rejected_field))
    return Reply(
        Verdict.ACCEPTED,
        rejected=rejected,
        message=partial.error_message[:_MESSAGE_CHARS_MAX],
    )


def retry_after(header: str | None, *, now_ns: int) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number or an HTTP date."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now_ns / 1e9)
    except (ValueError, OverflowError):
        return None


def _grpc_failure(error: Any) -> Reply:
    code = error.code().name
    wait = _retry_info(error) if code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE") else None
    if code in _RETRYABLE_CODES or (code == "RESOURCE_EXHAUSTED" and wait is not None):
        return Reply(Verdict.RETRY, retry_after_seconds=wait, message=f"gRPC {code}")
    return Reply(Verdict.REFUSED, message=f"gRPC {code}")


def _retry_info(error: Any) -> float | None:
    """Return the seconds of the RetryInfo in a status' details, when there is one."""
    from google.rpc import (  # type: ignore[import-untyped]  # noqa: PLC0415 - only after a refusal
        error_details_pb2,
        status_pb2,
    )

    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            return None
        for detail in status.details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    return None


def _worded(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS_MAX]
