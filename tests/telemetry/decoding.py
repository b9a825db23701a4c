"""Reads OTLP with the official message classes, for comparison with what was meant."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


def value(any_value: Any) -> object:
    """Return an AnyValue as a Python value; lists as tuples."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return tuple(value(item) for item in any_value.array_value.values)
    return None if kind is None else getattr(any_value, kind)


def attributes(key_values: Iterable[Any]) -> dict[str, object]:
    """Return attributes as a dict; a key that stands twice is an error."""
    pairs = [(pair.key, value(pair.value)) for pair in key_values]
    assert len({key for key, _ in pairs}) == len(pairs), "an attribute stands twice"
    return dict(pairs)


def spans(request: bytes) -> list[Any]:
    """Return all spans of an export request."""
    message = trace_service_pb2.ExportTraceServiceRequest.FromString(request)
    return [s for r in message.resource_spans for scope in r.scope_spans for s in scope.spans]


def records(request: bytes) -> list[Any]:
    """Return all log records of an export request."""
    message = logs_service_pb2.ExportLogsServiceRequest.FromString(request)
    return [
        record for r in message.resource_logs for scope in r.scope_logs
        for record in scope.log_records
    ]  # fmt: skip


def metrics(request: bytes) -> list[Any]:
    """Return all metrics of an export request."""
    message = metrics_service_pb2.ExportMetricsServiceRequest.FromString(request)
    return [m for r in message.resource_metrics for scope in r.scope_metrics for m in scope.metrics]
