import pytest

from router import headers
from telemetry.errors import InvalidRequest


def test_what_is_the_callers_alone_never_reaches_a_provider() -> None:
    received = [
        (name, b"value")
        for name in (
            b"authorization", b"x-api-key", b"cookie", b"host", b"content-length",
            b"transfer-encoding", b"connection", b"proxy-authorization", b"x-forwarded-for",
            b"x-forwarded-host", b"forwarded", b"traceparent", b"tracestate", b"baggage",
            b"accept-encoding", b"x-tierwise-role", b"x-tierwise-anything", b"te", b"upgrade",
        )
    ]  # fmt: skip
    assert headers.upstream(received) == []


def test_headers_that_mean_something_to_a_provider_pass_in_order_and_doubled() -> None:
    received = [
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
        (b"openai-organization", b"org"),
        (b"user-agent", b"OpenAI/Python 3"),
        (b"content-type", b"application/json"),
        (b"x-odd", "Zürich".encode("latin-1")),
    ]
    assert headers.upstream(received) == [
        (name.decode(), value.decode("latin-1")) for name, value in received
    ]


def test_a_header_that_connection_names_stays_on_this_side() -> None:
    received = [(b"connection", b"keep-alive, X-Private"), (b"x-private", b"1"), (b"x-open", b"2")]
    assert headers.upstream(received) == [("x-open", "2")]


def test_a_provider_can_set_neither_our_headers_nor_cookies_nor_framing() -> None:
    received = [
        (b"X-Tierwise-Cost-Usd", b"0"),
        (b"Set-Cookie", b"a=b"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Traceparent", b"x"),
        (b"Content-Length", b"7"),
        (b"X-Request-Id", b"req_1"),
        (b"Content-Encoding", b"gzip"),
        (b"X-RateLimit-Remaining", b"3"),
    ]
    passed = [
        (b"x-request-id", b"req_1"),
        (b"content-encoding", b"gzip"),
        (b"x-ratelimit-remaining", b"3"),
    ]
    assert list(headers.downstream(received, length_known=False)) == passed
    assert (b"content-length", b"7") in headers.downstream(received, length_known=True)


def test_a_header_of_ours_is_printable_ascii_of_at_most_255_characters() -> None:
    assert headers.text(None, "x") is None
    assert headers.text(b"", "x") is None
    assert headers.text(b"a" * 255, "x") == "a" * 255
    for bad in (b"a" * 256, b"a\tb", b"a\x00", b"a\x7f", "é".encode(), "é".encode("latin-1")):
        with pytest.raises(InvalidRequest) as refused:
            headers.text(bad, "x-tierwise-mode")
        assert refused.value.code == "invalid_header"
        assert "x-tierwise-mode" in str(refused.value)
