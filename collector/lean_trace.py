"""The trace export as the receiver parses it: attributes stay encoded until somebody asks.

The protocol's own classes make two Python objects for every attribute, which was a quarter of all
the time that a span took. Here they come as bytes, and equal bytes are read once
(collector/reading.py).
Links and counts of what senders dropped are no part of it.
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import (  # type: ignore[import-untyped]
    Default,
)
from google.protobuf.message_factory import (  # type: ignore[import-untyped]
    GetMessageClass,
)
from opentelemetry.proto.trace.v1 import trace_pb2

_PACKAGE: Final = "tierwise.otlp"
_OTLP: Final = ".opentelemetry.proto"
_BYTES: Final = FieldDescriptorProto.TYPE_BYTES
_STRING: Final = FieldDescriptorProto.TYPE_STRING
_FIXED64: Final = FieldDescriptorProto.TYPE_FIXED64
_INT32: Final = FieldDescriptorProto.TYPE_INT32  # of an enumeration

# Per message: name, number, type (a text names a message), repeated.
_MESSAGES: Final[dict[str, tuple[tuple[str, int, int | str, bool], ...]]] = {
    "Traces": (("resource_spans", 1, f".{_PACKAGE}.ResourceSpans", True),),
    "ResourceSpans": (
        ("resource", 1, f"{_OTLP}.resource.v1.Resource", False),
        ("scope_spans", 2, f".{_PACKAGE}.ScopeSpans", True),
    ),
    "ScopeSpans": (
        ("scope", 1, f"{_OTLP}.common.v1.InstrumentationScope", False),
        ("spans", 2, f".{_PACKAGE}.Span", True),
    ),
    "Span": (
        ("trace_id", 1, _BYTES, False),
        ("span_id", 2, _BYTES, False),
        ("trace_state", 3, _STRING, False),
        ("parent_span_id", 4, _BYTES, False),
        ("name", 5, _STRING, False),
        ("kind", 6, _INT32, False),
        ("start_time_unix_nano", 7, _FIXED64, False),
        ("end_time_unix_nano", 8, _FIXED64, False),
        ("attributes", 9, _BYTES, True),
        ("events", 11, f"{_OTLP}.trace.v1.Span.Event", True),
        ("status", 15, f"{_OTLP}.trace.v1.Status", False),
    ),
}


def _message(name: str) -> DescriptorProto:
    made = DescriptorProto(name=name)
    for title, number, kind, repeated in _MESSAGES[name]:
        field = made.field.add(name=title, number=number)
        field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        if isinstance(kind, str):
            field.type, field.type_name = field.TYPE_MESSAGE, kind
        else:
            field.type = kind
    return made


def _traces() -> Any:
    """Return the class that parses a whole export."""
    trace = trace_pb2.DESCRIPTOR
    file = FileDescriptorProto(name="tierwise/otlp/traces.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend([each.name for each in trace.dependencies] + [trace.name])
    file.message_type.extend(_message(name) for name in _MESSAGES)
    pool = Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Traces"))


LeanTraces: Final = _traces()
