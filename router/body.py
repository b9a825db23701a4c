"""A request's JSON body: its top-level fields, where they stand, and exact edits to them.

The body is never serialised again: a change replaces the bytes of one value or adds one field, and
every other byte reaches the provider as the caller sent it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from telemetry.errors import InvalidRequest

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_KEY = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_COMMA = re.compile(rb"\s*,")
_END = re.compile(rb"\s*\}\s*\Z")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Body:
    """One JSON object: the bytes as they came and the place of each top-level value."""

    raw: bytes
    fields: Mapping[str, msgspec.Raw]
    places: Mapping[str, tuple[int, int]]  # start and end of each value in ``raw``

    def get(self, key: str, kind: type[T]) -> T | None:
        """Return the field as ``kind``; None when it is absent or null.

        Raises:
            InvalidRequest: the field has another type.
        """
        value = self.fields.get(key)
        if value is None or bytes(value) == b"null":
            return None
        try:
            return msgspec.json.decode(value, type=kind)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidRequest(
                "invalid_field", f"{key}: {error}", hint=f"send {key} as the API documents it"
            ) from error

    def with_values(self, values: Mapping[str, bytes]) -> bytes:
        """Return the bytes with each top-level field set to its given JSON text."""
        pieces: list[bytes] = []
        position = 0
        for key in sorted((k for k in values if k in self.places), key=lambda k: self.places[k]):
            start, end = self.places[key]
            pieces += (self.raw[position:start], values[key])
            position = end
        added = [
            msgspec.json.encode(k) + b":" + v for k, v in values.items() if k not in self.places
        ]
        if added:
            close = self.raw.rindex(b"}")
            pieces.append(self.raw[position:close])
            pieces.append((b"," if self.fields else b"") + b",".join(added))
            position = close
        pieces.append(self.raw[position:])
        return b"".join(pieces)


def parse(raw: bytes) -> Body:
    """Return ``raw`` as a body.

    Raises:
        InvalidRequest: not UTF-8, not a JSON object, nested too deeply, or a top-level key twice.
    """
    try:
        if not raw.isascii():
            raw.decode()
        fields = _FIELDS.decode(raw)
    except RecursionError as error:
        raise InvalidRequest(
            "json_too_deep", "the body nests too deeply", hint="flatten it"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            "invalid_json", f"the body is not a JSON object: {error}", hint="send one JSON object"
        ) from error
    return Body(raw, fields, _places(raw, fields))


def _places(raw: bytes, fields: Mapping[str, msgspec.Raw]) -> dict[str, tuple[int, int]]:
    """Find each value by walking the keys: between two values only a key and white space stand.

    The decoder keeps the last of two equal keys at the place of the first, so a walk that meets
    anything but the next known key has met a duplicate.
    """
    places: dict[str, tuple[int, int]] = {}
    position = raw.index(b"{") + 1
    for number, (key, value) in enumerate(fields.items()):
        if number:
            comma = _COMMA.match(raw, position)
            if comma is None:
                raise _duplicate(key)
            position = comma.end()
        found = _KEY.match(raw, position)
        if found is None or _STRING.decode(found[1]) != key:
            raise _duplicate(key)
        start = found.end()
        position = start + len(memoryview(value))
        if raw[start:position] != memoryview(value):
            raise _duplicate(key)
        places[key] = (start, position)
    if _END.match(raw, position) is None:
        raise _duplicate("a key")
    return places


def _duplicate(key: str) -> InvalidRequest:
    return InvalidRequest(
        "duplicate_key",
        f"the body holds a top-level key twice, at or near {key!r}",
        hint="send each key once",
    )


def as_json(value: Any) -> bytes:
    """Return ``value`` as JSON text."""
    return msgspec.json.encode(value)
