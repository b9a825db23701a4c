"""OTLP over HTTP: plain ASGI, because exporters lose data on anything a framework adds.

The answer codes follow from what real exporters do: they drop a batch on 400, 404, 408 and 500 and
take a redirect for success, so every passing trouble is a 503 that says ``Retry-After: 1``.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.access import STRANGER, TOKEN, Access
from collector.decode import BadBody
from collector.gunzip import TooLarge
from collector.intake import Accepted, Busy, Export, Intake, Signal
from collector.meters import Meters

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
BODY_SECONDS: Final = 30.0
DISCARD_SECONDS: Final = 5.0
# What a sender should do next, over HTTP and over gRPC.
LATER: Final = "keep the batch and send it again in a second"
SMALLER: Final = "send smaller batches, or raise collector.body_mb_max"
WHOLE: Final = "sending it again changes nothing: is it OTLP, in the encoding that was named?"
_PATHS: Final = {f"/v1/{signal}": signal for signal in Signal}
# google.rpc.Code of each HTTP status that is answered.
_CODES: Final = {
    400: 3, 401: 16, 404: 5, 405: 12, 413: 8, 415: 3, 503: 14,
}  # fmt: skip
_RESPONSES: Final[dict[Signal, tuple[Any, str, str]]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points", "rejectedDataPoints"),
}


class _Refused(Exception):
    """An answer other than 200; ``read`` says that nothing more of the body is wanted."""

    def __init__(self, status: int, message: str, *, hint: str, read: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = f"{message}; {hint}"
        self.read = read


class OtlpHttp:
    """The ASGI application behind port 4318."""

    def __init__(
        self, intake: Intake, *, access: Access, meters: Meters, body_bytes_max: int
    ) -> None:
        self._intake = intake
        self._access = access
        self._meters = meters
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        signal = _PATHS.get(scope["path"].rstrip("/"))
        try:
            accepted = await self._export(scope, headers, kind, signal, receive)
            assert signal is not None
            status, body = 200, response(signal, accepted, json=kind == JSON)
        except _Refused as refused:
            if not refused.read:
                await self._discard(receive)
            status, body = refused.status, status_body(refused, json=kind != PROTOBUF)
        named = signal.value if signal is not None else "unknown"
        self._meters.requests.labels(named, "http", str(status)).inc()
        await _answer(send, status, body, content_type=PROTOBUF if kind == PROTOBUF else JSON)

    async def _export(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        kind: str,
        signal: Signal | None,
        receive: Receive,
    ) -> Accepted:
        if signal is None:
            raise _Refused(
                404,
                f"no such path: {scope['path'][:100]}",
                hint="OTLP goes to /v1/traces, /v1/logs or /v1/metrics (an exporter's base "
                "endpoint leaves these out)",
            )
        if scope["method"] != "POST":
            raise _Refused(405, f"not a POST but {scope['method']}", hint="POST an OTLP export")
        if not self._access.allows(headers.get(b"authorization", b"")):
            raise _Refused(401, STRANGER, hint=TOKEN)
        if kind not in (PROTOBUF, JSON):
            raise _Refused(415, f"content type {kind[:100]!r}", hint=f"send {PROTOBUF} or {JSON}")
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise _Refused(415, f"content encoding {encoding[:50]!r}", hint="send gzip or none")
        try:
            self._intake.admit()
        except Busy as error:
            raise _Refused(503, str(error), hint=LATER) from error
        try:
            body = await self._body(headers, receive)
            return await self._intake.take(
                Export(signal=signal, body=body, json=kind == JSON, gzip=encoding == "gzip")
            )
        except Busy as error:
            raise _Refused(503, str(error), hint=LATER, read=True) from error
        except TooLarge as error:
            raise _Refused(413, str(error), hint=SMALLER, read=True) from error
        except BadBody as error:
            raise _Refused(400, str(error), hint=WHOLE, read=True) from error

    async def _discard(self, receive: Receive) -> None:
        """Let a refused body arrive, up to the limit: cut off, a sender never sees the answer."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while size <= self._body_bytes_max:
                    message = await receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body; the limit holds while it arrives, whatever its header says."""
        declared = headers.get(b"content-length", b"")
        too_large = TooLarge(f"over {self._body_bytes_max} bytes")
        if declared.isdigit() and int(declared) > self._body_bytes_max:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise BadBody("the sender hung up before its body was whole")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self._body_bytes_max:
                        raise too_large
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError as error:
            raise Busy(f"the body did not arrive in {BODY_SECONDS:g} s") from error


async def _answer(send: Send, status: int, body: bytes, *, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def response(signal: Signal, accepted: Accepted, *, json: bool) -> bytes:
    """Return the body of a success; it names what was not kept, and nothing when all was."""
    kind, proto_name, json_name = _RESPONSES[signal]
    if not accepted.rejected:
        return b"{}" if json else b""
    if json:
        partial = {json_name: str(accepted.rejected), "errorMessage": accepted.message}
        return msgspec.json.encode({"partialSuccess": partial})
    found = kind()
    setattr(found.partial_success, proto_name, accepted.rejected)
    found.partial_success.error_message = accepted.message
    return bytes(found.SerializeToString())


def status_body(refused: _Refused, *, json: bool) -> bytes:
    """Return the ``google.rpc.Status`` of a refusal."""
    code = _CODES.get(refused.status, 2)
    if json:
        return msgspec.json.encode({"code": code, "message": refused.message})
    return bytes(Status(code=code, message=refused.message).SerializeToString())
