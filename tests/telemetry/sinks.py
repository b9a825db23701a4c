"""Real OTLP servers on loopback that decode with the official message classes."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from aiohttp import web
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

DEADLINE_SECONDS = 10.0
REQUESTS: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


class Sink:
    """What arrived, and what to answer: ``answer`` is called with the number of the request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.tries = 0
        self.answer: Callable[[int], web.StreamResponse | None] = lambda number: None
        self.hold = asyncio.Event()
        self.hold.set()
        self.reset = False
        self.refuses: bytes | None = None  # bodies that hold this are answered 400
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, signal: str, body: bytes) -> None:
        self.requests.append((signal, REQUESTS[signal].FromString(body)))

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for signal, request in self.requests
            if signal == "traces"
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]

    @property
    def events(self) -> list[Any]:
        return [
            record
            for signal, request in self.requests
            if signal == "logs"
            for resource_logs in request.resource_logs
            for scope_logs in resource_logs.scope_logs
            for record in scope_logs.log_records
        ]

    @property
    def metrics(self) -> list[Any]:
        return [
            metric
            for signal, request in self.requests
            if signal == "metrics"
            for resource_metrics in request.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
        ]

    @property
    def span_ids(self) -> list[str]:
        return [span.span_id.hex() for span in self.spans]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.tries += 1
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        number = self.tries
        body = await request.read()
        await self.hold.wait()
        if self.reset:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        answer = self.answer(number)
        if answer is not None and answer.status >= 300:
            return answer
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if self.refuses is not None and self.refuses in body:
            return web.Response(status=400)
        self.take(request.match_info["signal"], body)
        return answer or web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def http_sink(sink: Sink | None = None, *, port: int = 0) -> AsyncIterator[Sink]:
    """Serve a sink; give ``sink`` and ``port`` again to let it come back where it was."""
    sink = sink or Sink()
    app = web.Application(client_max_size=64 * 1_048_576)
    app.router.add_post("/v1/{signal:traces|logs|metrics}", sink.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    sink.port = runner.addresses[0][1]
    try:
        yield sink
    finally:
        sink.hold.set()
        await runner.cleanup()


class _TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, sink: Sink, codes: Sequence[Any]) -> None:
        self._sink = sink
        self._codes = list(codes)

    async def Export(self, request: Any, context: Any) -> Any:
        self._sink.tries += 1
        self._sink.headers.append(dict(context.invocation_metadata()))
        if self._codes:
            await context.abort(self._codes.pop(0), "not now")
        self._sink.requests.append(("traces", request))
        return trace_service_pb2.ExportTraceServiceResponse()


class _LogsService(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def Export(self, request: Any, context: Any) -> Any:
        self._sink.requests.append(("logs", request))
        return logs_service_pb2.ExportLogsServiceResponse()


@asynccontextmanager
async def grpc_sink(codes: Sequence[Any] = (), *, port: int = 0) -> AsyncIterator[Sink]:
    """Serve traces and logs over gRPC; the first calls for traces are answered with ``codes``."""
    sink = Sink()
    server = grpc.aio.server()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(_TraceService(sink, codes), server)
    add = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
    add(_LogsService(sink), server)
    sink.port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield sink
    finally:
        await server.stop(0.1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; fail when it does not in time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
