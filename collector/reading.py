"""Reads the attributes of one span or record, in protobuf or JSON, into canonical slots."""

import ast
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collector.dialects import FIELDS, RULES, SLOTS, UNRANKED, Kind, Rule
from collector.operations import is_content

ATTRIBUTES_MAX: Final = 1_024  # per span; more are not looked at
EXTRA_KEYS_MAX: Final = 64
EXTRA_BYTES_MAX: Final = 4_096
VALUE_CHARS_MAX: Final = 256
TEXT_CHARS_MAX: Final = 256
OBJECT_CHARS_MAX: Final = 65_536
SPELLED_CHARS_MAX: Final = 8_192
NESTING_MAX: Final = 4
ITEMS_MAX: Final = 32
COUNT_MAX: Final = 10**12
REMEMBERED_MAX: Final = 8_192  # encoded attributes, of at most so many bytes each
REMEMBERED_BYTES_MAX: Final = 128

# One slot more than there are fields: keys that hold objects point at it and never fill it.
_EMPTY: Final[list[Any]] = [None] * (len(FIELDS) + 1)
_RANKS: Final = bytearray([UNRANKED]) * (len(FIELDS) + 1)
# Fields whose values hardly ever come twice.
_VARYING: Final = frozenset(
    slot
    for slot, field in enumerate(FIELDS)
    if field.kind in (Kind.COUNT, Kind.NUMBER, Kind.SIGNED)
    or field.name in ("conversation", "decision_id", "response_id", "shadow_of")
) - {SLOTS["http_status"], SLOTS["attempt"], SLOTS["attempts"]}
_VARYING_KEYS: Final[dict[bytes, Rule]] = {
    key.encode(): rule for key, rule in RULES.items() if rule.slot in _VARYING
}
_DOUBLE: Final = struct.Struct("<d")
_TEXT, _COUNT, _NUMBER, _OBJECT = Kind.TEXT, Kind.COUNT, Kind.NUMBER, Kind.OBJECT


class Reading(msgspec.Struct, gc=False):
    """The canonical values of one span, by slot, and what else stood on it."""

    slots: list[Any]
    bits: int  # dialects whose keys were seen
    extra: dict[str, Any]
    uncoerced: int
    truncated: bool


# What one encoded attribute says: slot (below 0 it is no canonical field), rank, dialect's bit,
# value (None: it cannot be read, or says nothing), 1 if it cannot be read, key. A plain tuple,
# because one is made for every value that varies.
_Entry = tuple[int, int, int, Any, int, str]

_OTHER: Final = -1  # an attribute that no field wants
_CONTENT: Final = -2  # the text of a prompt or an answer
_MEMBERS: Final = -3  # an object whose members are looked up

# Most attributes of a sender stand on its every span: bytes that came before mean the same again.
_entries: Final[dict[bytes, _Entry]] = {}


def read_proto(attributes: Iterable[Any]) -> Reading:
    """Return the values of protobuf ``KeyValue`` messages."""
    kept = islice(attributes, ATTRIBUTES_MAX + 1)
    return read_encoded([attribute.SerializeToString() for attribute in kept])


def read_encoded(attributes: Sequence[bytes]) -> Reading:
    """Return the values of encoded ``KeyValue`` messages; the hottest loop of the collector.

    Raises:
        DecodeError: one of them is none (``google.protobuf.message``).
    """
    slots, ranks = _EMPTY[:], _RANKS[:]
    bits = uncoerced = 0
    extra: dict[str, Any] = {}
    entry_of = _entries.get
    truncated = len(attributes) > ATTRIBUTES_MAX
    for raw in attributes[:ATTRIBUTES_MAX] if truncated else attributes:
        entry = entry_of(raw)
        if entry is None:
            entry = _plain_entry(raw) or _entry(raw)
        slot, rank, bit, found, unreadable, key = entry
        if slot >= 0:
            bits |= bit
            if rank < ranks[slot]:
                if found is None:
                    uncoerced += unreadable
                else:
                    slots[slot] = found
                    ranks[slot] = rank
        elif slot == _OTHER:
            if len(extra) < EXTRA_KEYS_MAX:
                extra[key] = found
        elif slot == _MEMBERS:
            uncoerced += _open(key, found, slots, ranks)
    return Reading(slots, bits, extra, uncoerced, truncated)


def _plain_entry(raw: bytes) -> _Entry | None:
    """Read a value that varies by span, in the one form in which nearly all senders write it.

    That is: a short key, then a value that is a count, a double or a short text, and nothing else.
    None: it is something else, and the protocol's own parser decides.
    """
    if len(raw) < 6 or raw[0] != 0x0A or len(raw) > REMEMBERED_BYTES_MAX:
        return None
    at = 2 + raw[1]
    rule = _VARYING_KEYS.get(raw[2:at])
    if rule is None or len(raw) < at + 4 or raw[at] != 0x12 or raw[at + 1] != len(raw) - at - 2:
        return None
    slot, kind, rank, bit = rule
    found = _plain_value(raw, at + 2, kind)
    return None if found is None else (slot, rank, bit, found, 0, "")


def _plain_value(raw: bytes, at: int, kind: Kind) -> int | float | str | None:
    """Read the value that begins at ``at`` with its tag and ends with ``raw``."""
    tag, rest = raw[at], len(raw) - at - 1
    if kind == _COUNT and tag == 0x18 and rest <= 3:
        low = raw[at + 1]
        if rest == 1:
            return low if low < 0x80 else None
        if rest == 2:
            return low & 0x7F | raw[at + 2] << 7 if low >= 0x80 > raw[at + 2] else None
        low, middle, high = low & 0x7F, raw[at + 2] & 0x7F, raw[at + 3]
        return low | middle << 7 | high << 14 if min(raw[at + 1 : at + 3]) >= 0x80 > high else None
    if kind == _NUMBER and tag == 0x21 and rest == 8:
        number: float = _DOUBLE.unpack_from(raw, at + 1)[0]
        return number if 0.0 <= number < math.inf else None
    text = None
    if kind == _TEXT and tag == 0x0A and rest > 1 and raw[at + 1] == rest - 1:
        try:
            text = raw[at + 2 :].decode()
        except UnicodeDecodeError:
            text = None  # the parser says what is wrong with it
    return text


def _entry(raw: bytes) -> _Entry:
    """Read one attribute: typed reads first, and the exact look for what they leave open."""
    attribute = KeyValue.FromString(raw)
    key, value = attribute.key, attribute.value
    rule = RULES.get(key)
    if rule is None:
        if is_content(key):
            return _remembered(raw, (_CONTENT, 0, 0, None, 0, ""))
        plain = value.string_value or value.int_value or value.double_value or _plain_proto(value)
        if isinstance(plain, str):
            plain = plain[:VALUE_CHARS_MAX]
        return _remembered(raw, (_OTHER, 0, 0, plain, 0, key[:TEXT_CHARS_MAX]))
    slot, kind, rank, bit = rule
    found: Any
    if kind == _OBJECT:
        return _MEMBERS, 0, 0, value.string_value or _plain_proto(value), 0, key
    if kind == _TEXT:
        found = value.string_value
        settled = 0 < len(found) <= TEXT_CHARS_MAX
    elif kind == _COUNT:
        found = value.int_value
        settled = 0 < found <= COUNT_MAX
    elif kind == _NUMBER:
        found = value.double_value
        settled = 0.0 < found < math.inf
    else:
        settled = False
    if settled:
        entry = (slot, rank, bit, found, 0, "")
    else:
        plain = _plain_proto(value)
        found = coerce(plain, kind)
        entry = (slot, rank, bit, found, int(plain is not None and plain != ""), "")
    return entry if slot in _VARYING else _remembered(raw, entry)


def _remembered(raw: bytes, entry: _Entry) -> _Entry:
    if len(raw) <= REMEMBERED_BYTES_MAX:
        if len(_entries) >= REMEMBERED_MAX:
            _entries.clear()
        _entries[raw] = entry
    return entry


def read_plain(pairs: Iterable[tuple[str, Any]]) -> Reading:
    """Return the values of plain Python pairs, as the JSON encoding yields them."""
    slots = _EMPTY[:]
    ranks = _RANKS[:]
    bits = uncoerced = count = 0
    extra: dict[str, Any] = {}
    for count, (key, value) in enumerate(pairs, start=1):
        if count > ATTRIBUTES_MAX:
            break
        rule = RULES.get(key)
        if rule is None:
            if len(extra) < EXTRA_KEYS_MAX and not is_content(key):
                _keep(extra, key, shortened(value))
            continue
        slot, kind, rank, bit = rule
        bits |= bit
        if kind is _OBJECT:
            uncoerced += _open(key, value, slots, ranks)
        elif rank >= ranks[slot]:
            continue
        elif (
            (kind is _TEXT and type(value) is str and 0 < len(value) <= TEXT_CHARS_MAX)
            or (kind is _COUNT and type(value) is int and 0 <= value <= COUNT_MAX)
            or (kind is _NUMBER and type(value) is float and 0.0 <= value < math.inf)
        ):  # right nearly always; the exact look is for what this leaves open
            slots[slot] = value
            ranks[slot] = rank
        else:
            uncoerced += _place(rule, value, slots, ranks)
    return Reading(slots, bits, extra, uncoerced, count > ATTRIBUTES_MAX)


def _place(rule: Rule, value: Any, slots: list[Any], ranks: bytearray) -> int:
    """Fill the rule's slot if this key ranks best so far; return 1 for an unreadable value."""
    if rule.rank >= ranks[rule.slot]:
        return 0
    found = coerce(value, rule.kind)
    if found is None:
        return int(value is not None and value != "")
    slots[rule.slot] = found
    ranks[rule.slot] = rule.rank
    return 0


def _open(key: str, text: Any, slots: list[Any], ranks: bytearray) -> int:
    """Look the members of a JSON object up, two levels deep; return how many were unreadable."""
    members: Any = text
    if isinstance(text, str):
        if not text:
            return 0
        members = _members(text)
        if members is None:
            return int(text != "null")
    if not isinstance(members, Mapping):
        return 0
    unreadable = 0
    for name, value in islice(members.items(), ATTRIBUTES_MAX):
        rule = RULES.get(f"{key}#{name}")
        if rule is not None:
            unreadable += _place(rule, value, slots, ranks)
        elif isinstance(value, Mapping):
            for inner, leaf in islice(value.items(), ATTRIBUTES_MAX):
                rule = RULES.get(f"{key}#{name}.{inner}")
                if rule is not None:
                    unreadable += _place(rule, leaf, slots, ranks)
    return unreadable


def _members(text: str) -> Any:
    """Return the object that stands in ``text`` as JSON or as Python writes it, else None.

    LiteLLM sends dictionaries as ``str`` makes them.
    """
    if len(text) > OBJECT_CHARS_MAX:
        return None
    try:
        if text.startswith("{'") and len(text) <= SPELLED_CHARS_MAX:
            return ast.literal_eval(text)
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def coerce(value: Any, kind: Kind) -> Any:
    """Return ``value`` as ``kind``, or None when it cannot be read as such.

    Numbers come as strings, whole numbers as doubles and flags as words from real senders.

    >>> coerce("12", Kind.COUNT), coerce(12.0, Kind.COUNT), coerce(-1, Kind.COUNT)
    (12, 12, None)
    >>> coerce(float("nan"), Kind.NUMBER), coerce("0.5", Kind.NUMBER), coerce("False", Kind.FLAG)
    (None, 0.5, False)
    >>> coerce('["stop"]', Kind.FIRST)
    'stop'
    """
    if value is None:
        return None
    if kind == Kind.TEXT:
        return _text(value)
    if kind in (Kind.COUNT, Kind.NUMBER, Kind.SIGNED):
        return _number(value, kind)
    if kind == Kind.FLAG:
        return _flag(value)
    return _listed(value, kind)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value[:TEXT_CHARS_MAX] or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def _number(value: Any, kind: Kind) -> int | float | None:
    if isinstance(value, str):
        try:
            value = float(value[:64])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind == Kind.SIGNED or (kind == Kind.NUMBER and value >= 0):
        return float(value)
    if kind == Kind.NUMBER:
        return None
    return int(value) if 0 <= value <= COUNT_MAX and value == int(value) else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return None


def _listed(value: Any, kind: Kind) -> str | None:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
    items = value if isinstance(value, list) else [value]
    texts = [text for text in (_text(item) for item in items[:ITEMS_MAX]) if text]
    if not texts:
        return None
    return texts[0] if kind == Kind.FIRST else ",".join(texts)


def _keep(extra: dict[str, Any], key: str, found: Any) -> None:
    extra[key[:TEXT_CHARS_MAX]] = found[:VALUE_CHARS_MAX] if isinstance(found, str) else found


def _plain_proto(value: Any, depth: int = 0) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        if depth >= NESTING_MAX:
            return "..."
        return [_plain_proto(item, depth + 1) for item in islice(value.array_value.values, 32)]
    if which == "kvlist_value":
        if depth >= NESTING_MAX:
            return "..."
        return {
            item.key[:TEXT_CHARS_MAX]: _plain_proto(item.value, depth + 1)
            for item in islice(value.kvlist_value.values, ITEMS_MAX)
        }
    found = getattr(value, which)
    return found[:VALUE_CHARS_MAX] if isinstance(found, str | bytes) and depth else found


def shortened(value: Any, depth: int = 0) -> Any:
    """Return a plain value cut to the limits of the other attributes."""
    if isinstance(value, str):
        return value[:VALUE_CHARS_MAX]
    if isinstance(value, list):
        if depth >= NESTING_MAX:
            return "..."
        return [shortened(item, depth + 1) for item in value[:ITEMS_MAX]]
    if isinstance(value, dict):
        if depth >= NESTING_MAX:
            return "..."
        return {
            str(key)[:TEXT_CHARS_MAX]: shortened(item, depth + 1)
            for key, item in islice(value.items(), ITEMS_MAX)
        }
    return value


def packed(extra: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the other attributes as JSON of at most 4 KiB, and whether some had to go."""
    if not extra:
        return None, False
    encoded = msgspec.json.encode(extra)
    if len(encoded) <= EXTRA_BYTES_MAX:
        return encoded.decode(), False
    kept = {key: shortened(value) for key, value in extra.items()}
    while kept:
        encoded = msgspec.json.encode(kept)
        if len(encoded) <= EXTRA_BYTES_MAX:
            return encoded.decode(), True
        kept = dict(islice(kept.items(), len(kept) // 2))
    return None, True
