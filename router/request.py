"""A step as it stands at the gateway's door: read whole, limited, parsed once."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from router import body, headers
from router.body import Body
from router.callers import Caller, Callers
from router.deadline import Deadline
from telemetry import propagation
from telemetry.errors import InvalidRequest
from telemetry.records import Dialect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class HungUp(Exception):
    """The caller left before its body was whole."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route of the data path."""

    dialect: Dialect
    path: str  # behind a provider's base URL
    inference: bool = True  # False: nothing is generated, so it is routed but not recorded


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "/v1/chat/completions": Endpoint(Dialect.CHAT, "/chat/completions"),
    "/v1/responses": Endpoint(Dialect.RESPONSES, "/responses"),
    "/v1/messages": Endpoint(Dialect.MESSAGES, "/messages"),
    "/v1/messages/count_tokens": Endpoint(Dialect.MESSAGES, "/messages/count_tokens", False),
    "/v1/embeddings": Endpoint(Dialect.EMBEDDINGS, "/embeddings"),
}
HEADER_BYTES_MAX: Final = 65_536  # what most providers refuse too
SESSION_HEADERS: Final = (
    b"x-tierwise-session", b"x-session-id", b"x-conversation-id", b"x-claude-code-session-id",
    b"session-id",  # Codex
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What one step asks, before anything is decided."""

    endpoint: Endpoint
    received: tuple[tuple[bytes, bytes], ...]
    body: Body
    model: str
    stream: bool
    caller: Caller | None
    role: str | None  # of the header
    metadata_role: str | None
    baggage: dict[str, str]
    session: str | None
    mode: str | None
    plan: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a caller may send, and how slowly."""

    body_bytes: int
    body_seconds: float


async def read(
    scope: Scope, receive: Receive, *, endpoint: Endpoint, callers: Callers, limits: Limits
) -> Request:
    """Return the step that a request carries.

    Raises:
        StepError: whatever is wrong with it, before a byte of it has gone anywhere.
        HungUp: the caller left.
    """
    received = scope["headers"]
    if sum(map(len, chain.from_iterable(received))) > HEADER_BYTES_MAX:
        raise InvalidRequest(
            "headers_too_large",
            f"the headers are over {HEADER_BYTES_MAX // 1024} KiB",
            hint="send what is long in the body",
        )
    named = dict(received)
    if scope["method"] != "POST":
        raise InvalidRequest(
            "method_not_allowed",
            f"{scope['path']} takes POST, not {scope['method']}",
            hint="send the step as a POST with a JSON body",
        )
    caller = callers.identify(named.get(b"authorization"), named.get(b"x-api-key"))
    _must_be_json(named)
    raw = await _raw(receive, named, limits)
    parsed = body.parse(raw)
    metadata = _metadata(parsed)
    model = parsed.get("model", str)
    if not model:
        raise InvalidRequest(
            "missing_model", "the body names no model", hint="send model = tierwise/auto"
        )
    baggage = named.get(b"baggage")
    return Request(
        endpoint=endpoint,
        received=received,
        body=parsed,
        model=model,
        stream=bool(parsed.get("stream", bool)),
        caller=caller,
        role=_word(named.get(b"x-tierwise-role")),
        metadata_role=metadata.get("role"),
        baggage=propagation.parse_baggage(baggage) if baggage else {},
        session=_session(named, metadata),
        mode=headers.text(named.get(b"x-tierwise-mode"), "x-tierwise-mode"),
        plan=headers.text(named.get(b"x-tierwise-plan"), "x-tierwise-plan"),
    )


def parent_of(scope: Scope) -> propagation.Caller | None:
    """Return the span that the caller says it is in, from ``traceparent``."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return propagation.parse_traceparent(value)
    return None


def _must_be_json(named: dict[bytes, bytes]) -> None:
    kind = named.get(b"content-type", b"application/json")
    if not kind.lower().startswith(b"application/json"):
        raise InvalidRequest(
            "unsupported_content_type",
            f"content-type {kind[:80].decode('latin-1')} is not application/json",
            hint="send JSON with `content-type: application/json`",
        )
    if named.get(b"content-encoding", b"identity").lower() != b"identity":
        raise InvalidRequest(
            "unsupported_content_type", "the body is compressed", hint="send it uncompressed"
        )


async def _raw(receive: Receive, named: dict[bytes, bytes], limits: Limits) -> bytes:
    stated = named.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limits.body_bytes:
        raise _too_large(limits)
    try:
        with Deadline(limits.body_seconds):
            pieces: list[bytes] = []
            size, more = 0, True
            while more:
                message = await receive()
                pieces.append(_bytes(message))
                size += len(pieces[-1])
                if size > limits.body_bytes:
                    raise _too_large(limits)
                more = message.get("more_body", False)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError as error:
        raise InvalidRequest(
            "request_timeout",
            f"the body did not arrive within {limits.body_seconds:g} s",
            hint="send it whole, or raise gateway.timeouts.body_seconds",
        ) from error


def _bytes(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise HungUp
    found: bytes = message.get("body", b"")
    return found


def _too_large(limits: Limits) -> InvalidRequest:
    return InvalidRequest(
        "body_too_large",
        f"the body is over {limits.body_bytes // 1_048_576} MiB",
        hint="raise gateway.body_mb_max if such steps are meant",
    )


def _metadata(parsed: Body) -> dict[str, str]:
    """Return the string members of the body's metadata; other members are the provider's affair."""
    if "metadata" not in parsed.fields:
        return {}
    found = parsed.get("metadata", dict) or {}
    return {k: v for k, v in found.items() if isinstance(v, str)}


def _session(named: dict[bytes, bytes], metadata: dict[str, str]) -> str | None:
    for name in SESSION_HEADERS:
        if value := named.get(name):
            return headers.text(value, name.decode())
    return metadata.get("session_id", "")[: headers.TEXT_MAX] or None


def _word(value: bytes | None) -> str | None:
    """Return a header as text whatever it holds; an unknown role is never an error."""
    return value.decode("latin-1") if value else None
