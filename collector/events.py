"""Decodes log records: evaluations, the events of coding agents, and all others."""

import hashlib
from typing import Any, Final

import msgspec
from google.protobuf.message import (  # type: ignore[import-untyped]
    DecodeError as ProtoDecodeError,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector import decode
from collector.canonical import call_operation, call_row
from collector.dialects import SLOTS, Kind
from collector.evaluations import evaluation_row, speaks
from collector.frame import Frame
from collector.log_identity import identity, json_identity
from collector.reading import VALUE_CHARS_MAX, Reading, coerce, packed, read_plain, read_proto
from collector.rows import Batch, LogRow, Refusal
from telemetry import names

EVALUATION: Final = "gen_ai.evaluation.result"
BODY_CHARS_MAX: Final = 16_384
# What the events of coding agents begin with, and whose models they call unless they say so.
_AGENTS: Final = {"claude_code.": "anthropic", "codex.": "openai", "gemini_cli.": "gcp.gemini"}
_AGENT_PREFIXES: Final = tuple(_AGENTS)


class Record(msgspec.Struct, kw_only=True, gc=False):
    """One log record, whichever encoding it came in."""

    log_id: str
    time_ns: int
    trace_id: str | None
    span_id: str | None
    severity: int
    event_name: str | None
    body: str | None
    service: str | None
    scope: str | None
    reading: Reading


def decode_logs(body: bytes, reception: decode.Reception, *, json: bool = False) -> Batch:
    """Return the rows of one log export.

    Raises:
        BadBody: when the body is not an OTLP log request at all.
    """
    if json:
        return _json_logs(decode.parse_json(body), reception)
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except (ProtoDecodeError, RecursionError) as error:
        raise decode.BadBody(f"not an ExportLogsServiceRequest: {str(error)[:200]}") from error
    return proto_logs(request, reception)


def proto_logs(request: ExportLogsServiceRequest, reception: decode.Reception) -> Batch:
    """Return the rows of a parsed log export."""
    batch = Batch()
    for resource_logs in request.resource_logs:
        service = decode.proto_service(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            scope = scope_logs.scope.name[:VALUE_CHARS_MAX] or None
            for log in scope_logs.log_records:
                record = Record(
                    time_ns=log.time_unix_nano or log.observed_time_unix_nano,
                    trace_id=log.trace_id.hex() if len(log.trace_id) == 16 else None,
                    span_id=log.span_id.hex() if len(log.span_id) == 8 else None,
                    severity=min(max(log.severity_number, 0), 24),
                    event_name=log.event_name[:VALUE_CHARS_MAX] or None,
                    body=log.body.string_value or None,
                    service=service,
                    scope=scope,
                    reading=read_proto(log.attributes),
                    log_id=identity(log),  # last: it puts the attributes in order
                )
                _add_record(batch, record, reception)
    return batch


def _json_logs(request: dict[str, Any], reception: decode.Reception) -> Batch:
    batch = Batch()
    for resource_logs in decode.objects(request, "resourceLogs"):
        service = decode.json_service(resource_logs)
        for scope_logs in decode.objects(resource_logs, "scopeLogs"):
            scope = decode.json_scope(scope_logs)
            for log in decode.objects(scope_logs, "logRecords"):
                body = decode.json_value(log.get("body"))
                name = log.get("eventName")
                record = Record(
                    log_id=json_identity(log),
                    time_ns=decode.json_int(log.get("timeUnixNano"))
                    or decode.json_int(log.get("observedTimeUnixNano")),
                    trace_id=decode.json_id(log.get("traceId"), 16),
                    span_id=decode.json_id(log.get("spanId"), 8),
                    severity=min(decode.json_int(log.get("severityNumber")), 24),
                    event_name=name[:VALUE_CHARS_MAX] if isinstance(name, str) else None,
                    body=body if isinstance(body, str) else None,
                    service=service,
                    scope=scope,
                    reading=read_plain(decode.json_pairs(log)),
                )
                _add_record(batch, record, reception)
    return batch


def _add_record(batch: Batch, record: Record, reception: decode.Reception) -> None:
    now_ns = reception.received_ns
    time_ns = record.time_ns or now_ns  # a record may leave its time out
    if not decode.TIME_MIN_NS <= time_ns <= now_ns + decode.DAY_NS:
        batch.reject(Refusal.TIME)
        return
    record.time_ns = time_ns
    record.event_name = _event_name(record)
    reading = record.reading
    batch.uncoerced += reading.uncoerced
    attributes, cut = packed(reading.extra)
    batch.truncated += cut or reading.truncated
    batch.logs.append(
        LogRow(
            log_id=record.log_id,
            time_ns=time_ns,
            received_ns=now_ns,
            trace_id=record.trace_id,
            span_id=record.span_id,
            severity=record.severity,
            event_name=record.event_name,
            service=record.service,
            scope=record.scope,
            body=record.body[:BODY_CHARS_MAX] if reception.content and record.body else None,
            attributes=attributes,
        )
    )
    if record.event_name == EVALUATION:
        add_evaluation(batch, record, now_ns)
    elif record.event_name is not None and record.event_name.startswith(_AGENT_PREFIXES):
        _add_agent_call(batch, record, attributes, reception)


def _event_name(record: Record) -> str | None:
    """Return the event's full name.

    Coding agents put it in the body or in an attribute; Codex calls its records by lines of its
    own source besides.
    """
    if record.body is not None and record.body.startswith(_AGENT_PREFIXES):
        return record.body[:VALUE_CHARS_MAX]
    named = record.reading.extra.get("event.name")
    if isinstance(named, str) and named.startswith(_AGENT_PREFIXES):
        return named
    return record.event_name or (named if isinstance(named, str) else None)


def add_evaluation(batch: Batch, record: Record, now_ns: int) -> None:
    """Add an evaluation that came as a log record."""
    slots = record.reading.slots
    name, chance = slots[SLOTS["evaluation_name"]], slots[SLOTS["evaluation_chance"]]
    if name is None or not speaks(slots):
        batch.reject(Refusal.VALUE)
        return
    batch.evaluations.append(
        evaluation_row(
            slots,
            name=name,
            # A word of ours that names its chance is a grader's, who judges as others do.
            source="check" if record.scope == names.SCOPE and chance is None else "event",
            time_ns=record.time_ns,
            received_ns=now_ns,
            target=(record.trace_id, record.span_id),
        )
    )


def _provider(record: Record) -> str | None:
    """Return whose models an agent calls; Claude Code says when that is not its maker."""
    if record.reading.extra.get("anthropic.provider", "firstParty") != "firstParty":
        return None
    assert record.event_name is not None
    return _AGENTS.get(record.event_name.partition(".")[0] + ".")


def _add_agent_call(
    batch: Batch,
    record: Record,
    attributes: str | None,
    reception: decode.Reception,
) -> None:
    """Add the model call that a coding agent reports as a log event.

    Such a record has no span of its own: the session stands for the trace, the record for the span.
    """
    slots = record.reading.slots
    assert record.event_name is not None
    operation = call_operation(slots, record.event_name)
    usage = ("input_tokens", "uncached_tokens", "output_tokens", "error_type")
    if operation is None or all(slots[SLOTS[name]] is None for name in usage):
        return  # one of the many events that are no finished call
    if slots[SLOTS["provider"]] is None:
        slots[SLOTS["provider"]] = _provider(record)
    if slots[SLOTS["role"]] is None and record.event_name.startswith("gemini_cli."):
        slots[SLOTS["role"]] = coerce(record.reading.extra.get("role"), Kind.TEXT)
    session = slots[SLOTS["conversation"]] or record.log_id
    duration_ns = int((slots[SLOTS["duration_ms"]] or 0.0) * 1e6)
    trace_id = record.trace_id or hashlib.blake2b(session.encode(), digest_size=16).hexdigest()
    frame = Frame(
        trace_id,
        record.log_id[:16],
        record.span_id,
        max(record.time_ns - duration_ns, decode.TIME_MIN_NS),
        record.time_ns,
        reception.received_ns,
        record.event_name,
        0,
        2 if slots[SLOTS["error_type"]] else 0,
        record.service,
        record.scope,
        1.0,
    )
    row = call_row(frame, record.reading, operation, attributes, pricing=reception.pricing)
    row.dialect = "coding_agent"
    batch.calls.append(row)
