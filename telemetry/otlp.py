"""OTLP in protobuf, written by hand: tags, lengths and attributes as bytes.

Field numbers are those of opentelemetry-proto 1.x. A value that is unknown, of the wrong type or
not a finite number has no encoding and is left out: telemetry never breaks on what it is given.
tests/telemetry/test_otlp.py checks all of it against the official message classes.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

VALUE_CHARS_MAX: Final = 4_096  # of one attribute, unless the operator sets another limit
_HEADS_MAX: Final = 256  # string lengths whose head is remembered, per attribute
_INT64 = 1 << 63

_pack_double = struct.Struct("<d").pack
_Encode = Callable[[object], bytes]


class Signal(StrEnum):
    """What a request carries; each has its own path and its own gRPC service."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


def varint(value: int) -> bytes:
    """Return ``value`` (0 or more) in base 128, least significant group first."""
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def field(number: int, body: bytes) -> bytes:
    """Return ``body`` as a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def fixed64(number: int, value: int) -> bytes:
    """Return an unsigned 64-bit field."""
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


def double(number: int, value: float) -> bytes:
    """Return a double field."""
    return varint(number << 3 | 1) + _pack_double(value)


def text(value: str, *, chars_max: int = VALUE_CHARS_MAX) -> bytes:
    """Return at most ``chars_max`` characters as UTF-8; a lone surrogate becomes `?`."""
    if len(value) > chars_max:
        value = value[:chars_max]
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


class KeyValues:
    """Encodes attributes as the repeated `KeyValue` field ``number`` of some message."""

    def __init__(self, number: int, *, chars_max: int = VALUE_CHARS_MAX) -> None:
        self._number = number
        self._chars_max = chars_max

    def encoder(self, key: str, kind: str, *, chars_max: int | None = None) -> _Encode:
        """Return the function that encodes values of one attribute; b"" where it cannot."""
        limit = self._chars_max if chars_max is None else chars_max
        if kind == "string":
            return self._string(key, limit)
        if kind == "int":
            return self._int(key)
        if kind == "double":
            return self._double(key)
        if kind == "boolean":
            return self._boolean(key)
        return self._strings(key, limit)

    def any(self, attributes: Mapping[str, object]) -> bytes:
        """Encode attributes by the types of their values."""
        return b"".join(self._any(key, value) for key, value in attributes.items())

    def _any(self, key: str, value: object) -> bytes:
        kind = "string"
        if isinstance(value, bool):
            return self._wrap(key, b"\x10" + (b"\x01" if value else b"\x00"))
        if isinstance(value, int):
            kind = "int"
        elif isinstance(value, float):
            kind = "double"
        elif not isinstance(value, str) and isinstance(value, Iterable):
            kind = "string[]"
        return self.encoder(key, kind)(value)

    def _wrap(self, key: str, value: bytes) -> bytes:
        return field(self._number, field(1, text(key)) + field(2, value))

    def _head(self, key: str, value_tag: bytes, rest: int) -> bytes:
        """Return all that stands before the last ``rest`` bytes of the value."""
        whole = self._wrap(key, value_tag + bytes(rest))
        return whole[: len(whole) - rest]

    def _string(self, key: str, chars_max: int) -> _Encode:
        heads: dict[int, bytes] = {}

        def encode(value: object) -> bytes:
            if not isinstance(value, str):
                return b""
            raw = text(value, chars_max=chars_max)
            head = heads.get(len(raw))
            if head is None:
                head = self._head(key, b"\x0a" + varint(len(raw)), len(raw))
                if len(heads) < _HEADS_MAX:
                    heads[len(raw)] = head
            return head + raw

        return encode

    def _int(self, key: str) -> _Encode:
        heads = [self._head(key, b"\x18", length) for length in range(11)]

        def encode(value: object) -> bytes:
            if not isinstance(value, int) or not -_INT64 <= value < _INT64:
                return b""
            raw = varint(value if value >= 0 else value + 2 * _INT64)
            return heads[len(raw)] + raw

        return encode

    def _double(self, key: str) -> _Encode:
        head = self._head(key, b"\x21", 8)

        def encode(value: object) -> bytes:
            if not isinstance(value, (float, int)):
                return b""
            try:
                return head + _pack_double(value) if math.isfinite(value) else b""
            except OverflowError:
                return b""

        return encode

    def _boolean(self, key: str) -> _Encode:
        true = self._wrap(key, b"\x10\x01")
        return lambda value: true if value is True else b""

    def _strings(self, key: str, chars_max: int) -> _Encode:
        def encode(value: object) -> bytes:
            if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
                return b""
            items = b"".join(
                field(1, field(1, text(str(item), chars_max=chars_max))) for item in value
            )
            return self._wrap(key, field(5, items)) if items else b""

        return encode


class Envelope:
    """Puts resource and scope around encoded spans, log records or metrics.

    The three requests of OTLP have one shape: a resource with scopes with records.
    """

    def __init__(self, resource: Mapping[str, object], *, scope: str, schema_url: str) -> None:
        resource_body = KeyValues(1).any(resource)
        self._resource = field(1, resource_body)
        self._scope = field(1, field(1, text(scope)))
        self._schema = field(3, text(schema_url))

    def wrap(self, records: Sequence[bytes]) -> bytes:
        """Return one export request around records that already carry their tag (field 2).

        Requests may be joined end to end: protobuf reads that as one request with both.
        """
        scoped = len(self._scope) + sum(map(len, records)) + len(self._schema)
        scoped_head = b"\x12" + varint(scoped)
        whole = len(self._resource) + len(scoped_head) + scoped + len(self._schema)
        head = b"\x0a" + varint(whole)
        # One copy of the records: half a megabyte, on the loop that relays answers.
        return b"".join(
            (head, self._resource, scoped_head, self._scope, *records, self._schema, self._schema)
        )
