"""Builds OTLP requests for tests, span by span."""

import random
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW_NS = 1_800_000_000_000_000_000

Attributes = Mapping[str, Any]


def put(holder: Any, key: str, value: Any) -> None:
    fill(holder.add(key=key).value, value)


def fill(target: Any, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    else:
        for item in value:
            fill(target.array_value.values.add(), item)


class Trace:
    """One export request that spans are added to."""

    def __init__(self, *, seed: int = 1, service: str = "agent", scope: str = "") -> None:
        self.request = ExportTraceServiceRequest()
        self.rng = random.Random(seed)
        resource = self.request.resource_spans.add()
        put(resource.resource.attributes, "service.name", service)
        self.scope = resource.scope_spans.add()
        self.scope.scope.name = scope
        self.trace_id = self.rng.randbytes(16)

    def span(
        self, name: str = "chat m", with_: Attributes | None = None, *,
        parent: bytes | None = None, span_id: bytes | None = None,
        start_ns: int = NOW_NS, seconds: float = 1.0, status: int = 0,
        trace_id: bytes | None = None,
    ) -> bytes:  # fmt: skip
        span = self.scope.spans.add(name=name, kind=3)
        span.trace_id = self.trace_id if trace_id is None else trace_id
        span.span_id = self.rng.randbytes(8) if span_id is None else span_id
        span.parent_span_id = parent or b""
        span.start_time_unix_nano = start_ns
        span.end_time_unix_nano = start_ns + int(seconds * 1e9)
        span.status.code = status
        for key, value in (with_ or {}).items():
            put(span.attributes, key, value)
        return bytes(span.span_id)

    def call(
        self, with_: Attributes | None = None, *, tokens: tuple[int, int] = (100, 10), **more: Any
    ) -> bytes:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": tokens[0],
            "gen_ai.usage.output_tokens": tokens[1],
        }
        return self.span("chat m", {**attributes, **(with_ or {})}, **more)

    def body(self) -> bytes:
        return bytes(self.request.SerializeToString())


def evaluation(
    name: str, with_: Attributes | None = None, *, at_ns: int = NOW_NS, trace_id: bytes = b"",
    span_id: bytes = b"",
) -> bytes:  # fmt: skip
    """Return a log export with one evaluation."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.event_name = "gen_ai.evaluation.result"
    record.time_unix_nano = at_ns
    record.trace_id = trace_id
    record.span_id = span_id
    put(record.attributes, "gen_ai.evaluation.name", name)
    for key, value in (with_ or {}).items():
        put(record.attributes, key, value)
    return bytes(request.SerializeToString())
