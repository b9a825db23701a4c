"""Decodes OTLP requests, protobuf or JSON, into batches of rows; runs in a thread of its own."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from google.protobuf.message import (  # type: ignore[import-untyped]
    DecodeError as ProtoDecodeError,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from collector.canonical import add_span, settle_tasks
from collector.evaluations import add_span_event
from collector.frame import Frame
from collector.lean_trace import LeanTraces
from collector.pricing import Pricing
from collector.reading import (
    ITEMS_MAX,
    NESTING_MAX,
    VALUE_CHARS_MAX,
    Reading,
    read_encoded,
    read_plain,
    read_proto,
)
from collector.rows import Batch, Refusal
from collector.texts import add_texts, encoded_pairs

DAY_NS: Final = 86_400_000_000_000
TIME_MIN_NS: Final = 946_684_800_000_000_000  # the year 2000: earlier ones are unset clocks
EVENTS_MAX: Final = 128  # per span
_ZERO_TRACE: Final = bytes(16)
_ZERO_SPAN: Final = bytes(8)
# A tail sampler leaves one of these on what it kept.
_BIASED_KEYS: Final = ("tailsampling.policy", "meta.refinery.reason")


class BadBody(Exception):
    """The body as a whole cannot be read; sending it again changes nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reception:
    """What decoding needs to know besides the body."""

    received_ns: int
    pricing: Pricing
    content: bool = False  # keep the bodies of log records, and the text of our gateway's calls


def decode_traces(body: bytes, reception: Reception, *, json: bool = False) -> Batch:
    """Return the rows of one trace export.

    Raises:
        BadBody: when the body is not an OTLP trace request at all.
    """
    if json:
        return _json_traces(parse_json(body), reception)
    try:
        return _proto_traces(LeanTraces.FromString(body), reception)
    except (ProtoDecodeError, RecursionError) as error:
        raise BadBody(f"not an ExportTraceServiceRequest: {str(error)[:200]}") from error


def _proto_traces(request: Any, reception: Reception) -> Batch:
    """Return the rows of a parsed trace export."""
    batch = Batch()
    for resource_spans in request.resource_spans:
        service = proto_service(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name[:VALUE_CHARS_MAX] or None
            for span in scope_spans.spans:
                frame = _proto_frame(span, reception.received_ns, batch)
                if frame is None:
                    continue
                frame.service = service
                frame.scope = scope
                reading = read_encoded(span.attributes)
                _note_bias(reading, batch)
                add_span(batch, frame, reading, pricing=reception.pricing)
                if reception.content:
                    add_texts(batch, frame, encoded_pairs(span.attributes))
                for event in span.events[:EVENTS_MAX] if span.events else ():
                    if event.name.startswith("gen_ai.evaluation"):
                        add_span_event(
                            batch, frame, event.time_unix_nano, read_proto(event.attributes)
                        )
    settle_tasks(batch)
    return batch


def proto_service(attributes: Any) -> str | None:
    """Return ``service.name`` of a resource."""
    for attribute in attributes:
        if attribute.key == "service.name":
            return str(attribute.value.string_value)[:VALUE_CHARS_MAX] or None
    return None


def _proto_frame(span: Any, received_ns: int, batch: Batch) -> Frame | None:
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != 16 or trace_id == _ZERO_TRACE:
        batch.reject(Refusal.TRACE_ID)
        return None
    if len(span_id) != 8 or span_id == _ZERO_SPAN:
        batch.reject(Refusal.SPAN_ID)
        return None
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    if not TIME_MIN_NS <= start_ns <= received_ns + DAY_NS:
        batch.reject(Refusal.TIME)
        return None
    if not start_ns <= end_ns <= start_ns + 366 * DAY_NS:
        end_ns = start_ns
    return Frame(
        trace_id.hex(),
        span_id.hex(),
        parent_id.hex() if len(parent_id) == 8 and parent_id != _ZERO_SPAN else None,
        start_ns,
        end_ns,
        received_ns,
        span.name[:VALUE_CHARS_MAX],
        span.kind if 0 <= span.kind <= 5 else 0,
        span.status.code if 0 <= span.status.code <= 2 else 0,
        None,
        None,
        weight(span.trace_state) if span.trace_state else 1.0,
    )


def weight(trace_state: str) -> float:
    """Return how many spans one span stands for, by OpenTelemetry's entry of its trace state.

    >>> weight("ot=th:c"), weight("vendor=1,ot=rv:0;th:8"), weight("ot=p:3"), weight("x=y")
    (4.0, 2.0, 8.0, 1.0)
    """
    for entry in trace_state[:512].split(","):
        vendor, _, members = entry.strip().partition("=")
        if vendor != "ot":
            continue
        for member in members.split(";"):
            name, _, text = member.partition(":")
            try:
                if name == "th" and 0 < len(text) <= 14:
                    rejected = int(text.ljust(14, "0"), 16)
                    return float(2**56 / (2**56 - rejected))
                if name == "p" and text.isdecimal() and int(text) < 63:
                    return float(2 ** int(text))
            except ValueError:
                return 1.0
    return 1.0


def _note_bias(reading: Reading, batch: Batch) -> None:
    extra = reading.extra
    if extra and any(key in extra for key in _BIASED_KEYS):
        batch.biased += 1


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the body's JSON object; raise ``BadBody`` when it is none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(f"not JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise BadBody("the body is not a JSON object")
    return found


def _json_traces(request: dict[str, Any], reception: Reception) -> Batch:
    batch = Batch()
    for resource_spans in objects(request, "resourceSpans"):
        service = json_service(resource_spans)
        for scope_spans in objects(resource_spans, "scopeSpans"):
            scope = json_scope(scope_spans)
            for span in objects(scope_spans, "spans"):
                frame = _json_frame(span, reception.received_ns, batch)
                if frame is None:
                    continue
                frame.service, frame.scope = service, scope
                reading = read_plain(json_pairs(span))
                _note_bias(reading, batch)
                add_span(batch, frame, reading, pricing=reception.pricing)
                if reception.content:
                    add_texts(batch, frame, json_pairs(span))
                for event in list(objects(span, "events"))[:EVENTS_MAX]:
                    if str(event.get("name")).startswith("gen_ai.evaluation"):
                        time_ns = json_int(event.get("timeUnixNano"))
                        add_span_event(batch, frame, time_ns, read_plain(json_pairs(event)))
    settle_tasks(batch)
    return batch


def _json_frame(span: dict[str, Any], received_ns: int, batch: Batch) -> Frame | None:
    trace_id, span_id = json_id(span.get("traceId"), 16), json_id(span.get("spanId"), 8)
    if trace_id is None or span_id is None:
        batch.reject(Refusal.TRACE_ID if trace_id is None else Refusal.SPAN_ID)
        return None
    start_ns = json_int(span.get("startTimeUnixNano"))
    end_ns = json_int(span.get("endTimeUnixNano"))
    if not TIME_MIN_NS <= start_ns <= received_ns + DAY_NS:
        batch.reject(Refusal.TIME)
        return None
    if not start_ns <= end_ns <= start_ns + 366 * DAY_NS:
        end_ns = start_ns
    status = span.get("status")
    trace_state = span.get("traceState")
    return Frame(
        trace_id,
        span_id,
        json_id(span.get("parentSpanId"), 8),
        start_ns,
        end_ns,
        received_ns,
        str(span.get("name", ""))[:VALUE_CHARS_MAX],
        min(json_int(span.get("kind")), 5),
        min(json_int(status.get("code")), 2) if isinstance(status, dict) else 0,
        None,
        None,
        weight(trace_state) if isinstance(trace_state, str) else 1.0,
    )


def objects(holder: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list member; raise ``BadBody`` when it is something else."""
    items = holder.get(key)
    if items is None:
        return
    if not isinstance(items, list):
        raise BadBody(f"{key} is not a list")
    for item in items:
        if not isinstance(item, dict):
            raise BadBody(f"{key} holds something that is not an object")
        yield item


def json_id(text: Any, size: int) -> str | None:
    """Return an id of ``size`` bytes as lower-case hex, or None when it is none or all zero.

    The protocol wants hex of any case; base64, which some exporters send, is understood too.

    >>> json_id("AB" * 8, 8), json_id("q83vASNFZ4k=", 8), json_id("00" * 8, 8), json_id("x", 8)
    ('abababababababab', 'abcdef0123456789', None, None)
    """
    if not isinstance(text, str):
        return None
    try:
        if len(text) == 2 * size:
            raw = bytes.fromhex(text)
        elif len(text) == 4 * ((size + 2) // 3):
            raw = base64.b64decode(text, validate=True)
        else:
            return None
    except (ValueError, binascii.Error):
        return None
    return raw.hex() if len(raw) == size and any(raw) else None


def json_int(value: Any) -> int:
    """Return a 64-bit integer that stands as a number or a string; 0 when it is neither."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        return 0
    return value


def json_scope(holder: dict[str, Any]) -> str | None:
    """Return the instrumentation scope's name."""
    scope = holder.get("scope")
    name = scope.get("name") if isinstance(scope, dict) else None
    return name[:VALUE_CHARS_MAX] or None if isinstance(name, str) else None


def json_service(holder: dict[str, Any]) -> str | None:
    """Return ``service.name`` of a resource."""
    resource = holder.get("resource")
    if isinstance(resource, dict):
        for key, value in json_pairs(resource):
            if key == "service.name":
                return str(value)[:VALUE_CHARS_MAX] or None
    return None


def json_pairs(holder: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a span, record or resource as plain pairs."""
    for attribute in objects(holder, "attributes"):
        key, value = attribute.get("key"), attribute.get("value")
        if type(key) is str:
            text = value.get("stringValue") if type(value) is dict and len(value) == 1 else None
            yield key, text if type(text) is str else json_value(value)


def json_value(value: Any, depth: int = 0) -> Any:
    """Return the plain value of one JSON ``AnyValue``; nesting past the limit becomes dots."""
    if not isinstance(value, dict):
        return None
    for kind, found in value.items():
        if kind == "stringValue":
            return found
        if kind == "intValue":
            return int(found) if isinstance(found, str) and _is_int(found) else found
        if kind in ("boolValue", "doubleValue", "bytesValue"):
            return found
        if kind in ("arrayValue", "kvlistValue") and isinstance(found, dict):
            return _json_nested(found, depth) if depth < NESTING_MAX else "..."
    return None


def _json_nested(holder: dict[str, Any], depth: int) -> Any:
    items = holder.get("values")
    if not isinstance(items, list):
        return None
    items = items[:ITEMS_MAX]
    if items and all(isinstance(item, dict) and "key" in item for item in items):
        return {str(item["key"]): json_value(item.get("value"), depth + 1) for item in items}
    return [json_value(item, depth + 1) for item in items]


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdecimal() and len(text) <= 20


def count_points(body: bytes, *, json: bool = False) -> int:
    """Return how many metric data points a metrics export holds; they are counted, not kept."""
    if json:
        request = parse_json(body)
        return sum(
            len(data.get("dataPoints") or ())
            for resource in objects(request, "resourceMetrics")
            for scope in objects(resource, "scopeMetrics")
            for metric in objects(scope, "metrics")
            for data in metric.values()
            if isinstance(data, dict)
        )
    try:
        parsed = ExportMetricsServiceRequest.FromString(body)
    except (ProtoDecodeError, RecursionError) as error:
        raise BadBody(f"not an ExportMetricsServiceRequest: {str(error)[:200]}") from error
    return proto_points(parsed)


def proto_points(request: ExportMetricsServiceRequest) -> int:
    """Return how many data points a parsed metrics export holds."""
    return sum(
        len(getattr(metric, which).data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (which := metric.WhichOneof("data")) is not None
    )
