"""OTLP bodies from a file, decoded as the receiver decodes them, with the marks of their texts."""

from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.decode import (
    BadBody,
    Reception,
    count_points,
    decode_traces,
    json_id,
    json_pairs,
    objects,
    parse_json,
)
from collector.dumps.marks import mark
from collector.dumps.texts import texts_of
from collector.events import decode_logs
from collector.rows import Batch
from evals.audit.texts import Marks, marks_of

# A body without any of these holds no prompt, and is not looked through again.
_TELLING: Final = (
    b"gen_ai.input.messages", b"gen_ai.prompt", b"gen_ai.system_instructions", b"input.value",
    b"llm.input_messages", b"observation.input", b"ai.prompt",
)  # fmt: skip

Pairs = list[tuple[str, Any]]
Key = tuple[str, str]


def decode_json(body: bytes, reception: Reception) -> Batch:
    """Return the rows of one OTLP/JSON body, whichever signal it holds.

    Raises:
        BadBody: it is not JSON, or not OTLP.
    """
    head = body[:256]
    if b'"resourceLogs"' in head:
        return marked(decode_logs(body, reception, json=True), {})
    if b'"resourceMetrics"' in head:
        return Batch(points=count_points(body, json=True))
    batch = decode_traces(body, reception, json=True)
    told = dict(_json_marks(body)) if tells(body) else {}
    return marked(batch, told)


def decode_proto(body: bytes, reception: Reception) -> Batch:
    """Return the rows of one OTLP protobuf body, whichever signal it holds.

    Nothing in the encoding names the signal: spans read as log records have no ids, and the other
    way round, so the reading that makes sense is taken.

    Raises:
        BadBody: it is no OTLP body at all.
    """
    batch = decode_traces(body, reception)
    if batch.records:
        told = dict(_proto_marks(body)) if tells(body) else {}
        return marked(batch, told)
    try:
        logs = decode_logs(body, reception)
        if logs.records:
            return marked(logs, {})
        points = count_points(body)
    except BadBody:
        points = 0
    if points:
        return Batch(points=points)
    if not batch.rejected_count:
        raise BadBody("it holds neither spans nor log records")
    return batch


def tells(body: bytes) -> bool:
    """Say whether a body may hold the text of prompts."""
    return any(key in body for key in _TELLING)


def marked(batch: Batch, told: dict[Key, Marks]) -> Batch:
    """Put its marks on each call of a batch."""
    for row in batch.calls:
        mark(row, told.get((row.trace_id, row.span_id)) if told else None)
    return batch


def _json_marks(body: bytes) -> Iterator[tuple[Key, Marks]]:
    for resource in objects(parse_json(body), "resourceSpans"):
        for scope in objects(resource, "scopeSpans"):
            for span in objects(scope, "spans"):
                pairs = list(json_pairs(span))
                for event in objects(span, "events"):
                    pairs += json_pairs(event)
                texts = texts_of(pairs)
                ids = json_id(span.get("traceId"), 16), json_id(span.get("spanId"), 8)
                if texts is not None and ids[0] is not None and ids[1] is not None:
                    yield (ids[0], ids[1]), marks_of(texts)


def _proto_marks(body: bytes) -> Iterator[tuple[Key, Marks]]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                pairs = _proto_pairs(span.attributes)
                for event in span.events:
                    pairs += _proto_pairs(event.attributes)
                texts = texts_of(pairs)
                if texts is not None:
                    yield (span.trace_id.hex(), span.span_id.hex()), marks_of(texts)


def _proto_pairs(attributes: Any) -> Pairs:
    """Return the attributes that hold text; the numbers among them are the receiver's matter."""
    return [(item.key, item.value.string_value) for item in attributes if item.value.string_value]
