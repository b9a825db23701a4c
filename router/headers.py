"""Which headers cross the gateway, in both directions, and the ones it adds."""

from collections.abc import Iterable, Iterator

from telemetry.errors import InvalidRequest

Raw = Iterable[tuple[bytes, bytes]]

OURS = b"x-tierwise-"
TEXT_MAX = 255

# Hop-by-hop (RFC 9110, 7.6.1), what aiohttp writes itself, what is the caller's and ours
# alone (keys, cookies, trace context, forwarding chains), and compression: usage is read as it
# passes.
_NOT_UPSTREAM = frozenset({
    b"accept-encoding", b"authorization", b"baggage", b"connection", b"content-length", b"cookie",
    b"expect", b"forwarded", b"host", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"te", b"traceparent", b"tracestate", b"trailer", b"transfer-encoding",
    b"upgrade", b"via", b"x-api-key", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port",
    b"x-forwarded-proto", b"x-real-ip",
})  # fmt: skip
_NOT_DOWNSTREAM = frozenset({
    b"alt-svc", b"connection", b"date", b"keep-alive", b"proxy-authenticate", b"proxy-connection",
    b"set-cookie", b"strict-transport-security", b"te", b"trailer", b"transfer-encoding",
    b"traceparent", b"upgrade",
})  # fmt: skip


def upstream(received: Raw) -> list[tuple[str, str]]:
    """Return the caller's headers that a provider may see."""
    listed = frozenset(
        name.strip().lower()
        for key, value in received
        if key == b"connection"
        for name in value.split(b",")
    )
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in received
        if name not in _NOT_UPSTREAM and not name.startswith(OURS) and name not in listed
    ]


def downstream(received: Raw, *, length_known: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield the provider's headers that the caller may see, under lower-case names."""
    for name, value in received:
        lower = name.lower()
        if lower in _NOT_DOWNSTREAM or lower.startswith(OURS):
            continue
        if lower == b"content-length" and not length_known:
            continue
        yield lower, value


def text(value: bytes | None, name: str) -> str | None:
    """Return one of our own request headers as text; None when absent or empty.

    Raises:
        InvalidRequest: longer than 255 characters, or not printable ASCII.
    """
    if not value:
        return None
    if len(value) > TEXT_MAX or not value.isascii() or not (found := value.decode()).isprintable():
        raise InvalidRequest(
            "invalid_header",
            f"header {name} must be at most {TEXT_MAX} printable ASCII characters",
            hint="shorten or encode it",
        )
    return found
