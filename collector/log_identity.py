"""The identity of a log record: what it says, in whichever encoding it came.

A record has no id of its own, so it is known by the hash of its content. That is taken over one
form, the protobuf message with its attributes in order of their keys and without what says
nothing; a record in JSON is made into that message first.
"""

import base64
import binascii
import hashlib
from operator import attrgetter
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.decode import json_id, json_int, objects

DEPTH_MAX: Final = 32  # of values within values; what lies deeper in JSON says nothing
_INT32: Final = 2**31 - 1
_UINT32: Final = 2**32 - 1
_KEY: Final = attrgetter("key")


def identity(log: Any) -> str:
    """Return 32 hex digits that are the same for every copy of a record.

    ``log`` is brought into the form that is hashed, so it has to be read before.
    """
    for field in ("trace_id", "span_id"):
        if not any(getattr(log, field)):
            log.ClearField(field)
    if log.HasField("body") and log.body.WhichOneof("value") is None:
        log.ClearField("body")
    log.attributes.sort(key=_KEY)
    log.DiscardUnknownFields()
    content = log.SerializeToString(deterministic=True)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def json_identity(log: dict[str, Any]) -> str:
    """Return the identity of a record that came as JSON.

    Raises:
        BadBody: its attributes are no list of objects.
    """
    return identity(_message(log))


def _message(log: dict[str, Any]) -> Any:
    made = LogRecord(
        time_unix_nano=json_int(log.get("timeUnixNano")),
        observed_time_unix_nano=json_int(log.get("observedTimeUnixNano")),
        severity_number=min(json_int(log.get("severityNumber")), _INT32),  # type: ignore[arg-type]
        severity_text=_text(log.get("severityText")),
        dropped_attributes_count=min(json_int(log.get("droppedAttributesCount")), _UINT32),
        flags=min(json_int(log.get("flags")), _UINT32),
        trace_id=bytes.fromhex(json_id(log.get("traceId"), 16) or ""),
        span_id=bytes.fromhex(json_id(log.get("spanId"), 8) or ""),
        event_name=_text(log.get("eventName")),
    )
    _fill(made.body, log.get("body"), 0)
    for attribute in objects(log, "attributes"):
        _add(made.attributes, attribute, 0)
    return made


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _add(pairs: Any, attribute: dict[str, Any], depth: int) -> None:
    made = pairs.add(key=_text(attribute.get("key")))
    if isinstance(attribute.get("value"), dict):
        made.value.SetInParent()
        _fill(made.value, attribute["value"], depth)


def _fill(target: Any, value: Any, depth: int) -> None:
    """Give ``target``, an empty ``AnyValue``, what a JSON ``AnyValue`` says."""
    if not isinstance(value, dict):
        return
    for kind, found in value.items():
        if kind in ("arrayValue", "kvlistValue"):
            if isinstance(found, dict) and depth < DEPTH_MAX:
                _nest(target, kind, found, depth)
        elif found is not None:
            _scalar(target, kind, found)


def _nest(target: Any, kind: str, holder: dict[str, Any], depth: int) -> None:
    items = holder.get("values")
    inner = target.array_value if kind == "arrayValue" else target.kvlist_value
    inner.SetInParent()
    for item in items if isinstance(items, list) else ():
        if kind == "arrayValue":
            _fill(inner.values.add(), item, depth + 1)
        elif isinstance(item, dict):
            _add(inner.values, item, depth + 1)


def _scalar(target: Any, kind: str, found: Any) -> None:
    """Set a plain value; one that is not of its kind stands as the text that it was sent as."""
    try:
        if kind == "stringValue":
            target.string_value = found
        elif kind == "boolValue":
            target.bool_value = found
        elif kind == "intValue":
            target.int_value = int(found)
        elif kind == "doubleValue":
            target.double_value = float(found)
        elif kind == "bytesValue":
            target.bytes_value = base64.b64decode(found, validate=True)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        target.string_value = str(found)
