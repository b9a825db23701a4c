"""Trace context and baggage as W3C headers: read strictly, written plainly, ids drawn.

Sources: W3C Trace Context level 1 (traceparent) and W3C Baggage. Kept beside OpenTelemetry's
own propagators because those build context objects; docs/telemetry.md has both timings.
"""

import random
import re
from contextvars import ContextVar
from typing import Final, NamedTuple
from urllib.parse import unquote

BAGGAGE_BYTES_MAX: Final = 8_192
BAGGAGE_MEMBERS_MAX: Final = 64

# The step, as a `traceparent`, whose answer waits for the verdict that is asked for now; None where
# nobody waits.
WITHIN: Final[ContextVar[str | None]] = ContextVar("tierwise.within", default=None)

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.S)
_BAGGAGE_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAGGAGE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class Caller(NamedTuple):
    """The span that a request comes from: ids in lower-case hex, and the caller's sampling wish."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    sampled: bool


def parse_traceparent(header: str | bytes) -> Caller | None:
    """Return the caller's span, or None when ``header`` is not a valid `traceparent`.

    Version ff and all-zero ids are invalid; versions after 00 may carry further fields.

    >>> parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    Caller(trace_id='4bf92f3577b34da6a3ce929d0e0e4736', span_id='00f067aa0ba902b7', sampled=True)
    """
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Caller(trace_id, span_id, bool(int(flags, 16) & 1))


def format_traceparent(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """Return the header that makes a call to the next hop a child of ``span_id``."""
    return f"00-{trace_id}-{span_id}-0{'1' if sampled else '0'}"


def new_trace_id(rng: random.Random) -> str:
    """Draw 32 hex digits, never all zero."""
    return f"{rng.getrandbits(128) or 1:032x}"


def new_span_id(rng: random.Random) -> str:
    """Draw 16 hex digits, never all zero."""
    return f"{rng.getrandbits(64) or 1:016x}"


def parse_baggage(header: str | bytes) -> dict[str, str]:
    """Return the members of a `baggage` header, percent-decoded; properties are left out.

    A malformed member is skipped, as is all that stands after the 64th member or beyond 8 KiB.
    Of two members with one key the later one counts.

    >>> parse_baggage("gen_ai.agent.name=plan%20ner;ttl=5, =x, tenant = acme")
    {'gen_ai.agent.name': 'plan ner', 'tenant': 'acme'}
    """
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    members: dict[str, str] = {}
    for member in _within_limits(text):
        key, equals, value = member.partition(";")[0].partition("=")
        key, value = key.strip(" \t"), value.strip(" \t")
        if equals and _BAGGAGE_KEY.fullmatch(key) and _BAGGAGE_VALUE.fullmatch(value):
            members[key] = unquote(value) if "%" in value else value
    return members


def _within_limits(text: str) -> list[str]:
    members = text[: BAGGAGE_BYTES_MAX + 1].split(",", BAGGAGE_MEMBERS_MAX)
    if len(text) > BAGGAGE_BYTES_MAX or len(members) > BAGGAGE_MEMBERS_MAX:
        members.pop()  # the limit cut it, or it holds all that is too many
    return members
