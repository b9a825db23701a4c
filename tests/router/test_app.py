"""Bad input over real sockets: a clear error in the caller's words, and nothing lost or leaked."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests import wire
from tests.harness import House, house
from tests.router.door import (
    CANARY,
    CHAT,
    ENVIRONMENT,
    GOOD,
    KEY,
    KEYS,
    MESSAGES,
    PATHS,
    check_refusal,
    error_of,
    request,
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[House]:
    with house(provider='key_env = "PROVIDER_KEY"', extra=KEYS, environment=ENVIRONMENT) as found:
        yield found


@pytest.fixture
def door(guarded: House) -> House:
    guarded.mark()
    guarded.gateway.kept.rejected.clear()
    return guarded


BODIES = [
    ("invalid_json", b""),
    ("invalid_json", b"{"),
    ("invalid_json", b"model=tierwise/auto&messages=x"),
    ("invalid_json", b"[" + GOOD + b"]"),
    ("invalid_json", GOOD + b"\x00"),
    ("invalid_json", b"\xef\xbb\xbf" + GOOD),
    ("invalid_json", GOOD.replace(b"Hi", b"\xff")),
    ("invalid_json", GOOD.replace(b'"Hi"', b"NaN")),
    ("duplicate_key", GOOD.replace(b"{", b'{"model": "tierwise/worker", ', 1)),
    ("duplicate_key", GOOD.replace(b"{", b'{"mod\\u0065l": "tierwise/worker", ', 1)),
    ("missing_model", b"{}"),
    ("missing_model", b'{"model": ""}'),
    ("missing_model", b'{"model": null}'),
    ("invalid_field", b'{"model": 7}'),
    ("invalid_field", b'{"model": {"id": "tierwise/auto"}}'),
    ("invalid_field", b'{"model": "tierwise/auto", "stream": "yes"}'),
    ("invalid_field", b'{"model": "tierwise/auto", "metadata": [1]}'),
    ("unknown_model", b'{"model": "gpt-99"}'),
    ("unknown_model", b'{"model": "http://127.0.0.1:1/v1"}'),
    ("unknown_model", b'{"model": "standin/../standin-mid"}'),
    ("unknown_model", b'{"model": "tierwise"}'),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("code", "body"), BODIES)
async def test_a_bad_body_is_refused_in_the_callers_dialect(
    door: House, path: str, code: str, body: bytes
) -> None:
    reply = await wire.send(door.gateway.port, request(path, body))
    check_refusal(reply, path, code)
    assert door.billed() == []
    assert door.gateway.kept.rejected == [code]
    assert door.recorded(0) == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_deeply_nested_body_is_refused(door: House, path: str) -> None:
    deep = b'{"model": "tierwise/auto", "messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    reply = await wire.send(door.gateway.port, request(path, deep))
    assert error_of(reply, path)["code"] in ("json_too_deep", "invalid_json")
    assert reply.status == 400
    assert door.billed() == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_body_over_the_limit_is_refused_by_its_stated_length(
    door: House, path: str
) -> None:
    # Not a byte of the body is sent: the statement is enough.
    asked = request(path, b"", content_length=str(1_048_577))
    check_refusal(await wire.send(door.gateway.port, asked), path, "body_too_large")
    assert door.billed() == []


@pytest.mark.parametrize("size", [1_048_577, 1_100_000, 3_000_000])
async def test_a_body_over_the_limit_is_refused_though_it_states_no_length(
    door: House, size: int
) -> None:
    padding = b" " * (size - len(GOOD))
    head = request(CHAT, b"", transfer_encoding="chunked").replace(b"content-length: 0\r\n", b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
    writer.write(head + wire.chunk(GOOD + padding) + b"0\r\n\r\n")
    try:
        check_refusal(await wire.read_reply(reader), CHAT, "body_too_large")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert door.billed() == []


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (300_000, {"authorization": "Bearer wrong"}),
        (300_000, {"content_type": "text/plain"}),
        (2_000_000, {}),
        (30, {"x_tierwise_mode": "m" * 256}),
    ],
)
async def test_what_follows_a_refused_body_on_its_connection_is_served(
    door: House, size: int, headers: dict[str, str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
    try:
        writer.write(request(CHAT, b"{" + b" " * (size - 1), **headers))
        assert (await asyncio.wait_for(wire.read_reply(reader), wire.READ_SECONDS)).status >= 400
        writer.write(request(CHAT, GOOD))
        reply = await asyncio.wait_for(wire.read_reply(reader), wire.READ_SECONDS)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert reply.status == 200
    assert len(door.billed()) == 1


async def test_a_body_just_at_the_limit_is_served(door: House) -> None:
    body = GOOD + b" " * (1_048_576 - len(GOOD))
    reply = await wire.send(door.gateway.port, request(CHAT, body))
    assert reply.status == 200
    assert len(door.billed()) == 1


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "text/json"},
        {"content_encoding": "gzip"},
        {"content_encoding": "zstd"},
        {"content_encoding": "identity, br"},
    ],
)
async def test_a_body_of_another_kind_is_refused(
    door: House, path: str, headers: dict[str, str]
) -> None:
    reply = await wire.send(door.gateway.port, request(path, GOOD, **headers))
    check_refusal(reply, path, "unsupported_content_type")
    assert door.billed() == []


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_by_any_of_its_names_is_served(door: House, kind: str) -> None:
    reply = await wire.send(door.gateway.port, request(CHAT, GOOD, content_type=kind))
    assert reply.status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("authorization", "code"),
    [("", "missing_key"), ("Basic dTpw", "missing_key"), ("Bearer wrong", "unknown_key")],
)
async def test_a_missing_or_wrong_key_is_refused_before_the_body_is_read(
    door: House, path: str, authorization: str, code: str
) -> None:
    reply = await wire.send(door.gateway.port, request(path, b"{", authorization=authorization))
    error = check_refusal(reply, path, code)
    assert error["type"] == "unauthorized"
    assert "wrong" not in error["message"]
    assert door.billed() == []


async def test_a_provider_key_is_no_client_key(door: House) -> None:
    asked = request(CHAT, GOOD, authorization=f"Bearer {CANARY}")
    check_refusal(await wire.send(door.gateway.port, asked), CHAT, "unknown_key")


async def test_a_role_that_the_key_may_not_use_is_denied(door: House) -> None:
    reply = await wire.send(door.gateway.port, request(MESSAGES, GOOD, x_tierwise_role="planner"))
    error = check_refusal(reply, MESSAGES, "role_not_allowed")
    assert error["type"] == "policy_denied"
    assert door.billed() == []


async def test_an_unknown_role_gets_the_default_policy_and_a_warning(door: House) -> None:
    asked = request(CHAT, GOOD, x_tierwise_role="wroker")
    reply = await wire.send(door.gateway.port, asked)
    assert reply.status == 200
    assert reply.headers["x-tierwise-role"] == "default"
    assert "unknown role" in reply.headers["x-tierwise-warning"]
    ((decision, _),) = door.recorded()
    assert decision.context.role_unknown == "wroker"
    assert decision.context.key == "support"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_another_method_is_refused(door: House, method: str) -> None:
    asked = request(CHAT, GOOD).replace(b"POST", method.encode(), 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
    writer.write(asked)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), wire.READ_SECONDS)
    writer.close()
    assert head.startswith(b"HTTP/1.1 405 ")
    named = dict(wire.parse_headers(head.partition(b"\r\n")[2]))
    assert named[b"allow"] == b"POST"
    assert b"x-tierwise-decision" in named
    assert door.billed() == []


@pytest.mark.parametrize(
    "line",
    [
        b"x-tierwise-session: a\rb",
        b"x-tierwise-session: a\x00b",
        b"x-tierwise-session: a\x0bb",
        b"x-tierwise-session: " + b"s" * 256,
        b"x-tierwise-mode: caf\xc3\xa9",
        b"x-tierwise-plan: a\x7fb",
        b"x-session-id: a\tb",
        b"x tierwise session: a",
        b"x-tierwise-role\x00: planner",
    ],
)
async def test_a_header_that_would_smuggle_something_is_refused(door: House, line: bytes) -> None:
    asked = request(CHAT, GOOD).replace(b"content-type", line + b"\r\ncontent-type", 1)
    reply = await wire.send(door.gateway.port, asked)
    assert reply.status == 400
    assert door.billed() == []
    assert door.recorded(0) == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("lines", [1, 50])
async def test_headers_of_a_hundred_kilobytes_are_refused(
    door: House, path: str, lines: int
) -> None:
    long = {f"x_odd_{number}": "x" * (100_000 // lines) for number in range(lines)}
    reply = await wire.send(door.gateway.port, request(path, GOOD, **long))
    check_refusal(reply, path, "headers_too_large")
    assert door.billed() == []


async def test_a_role_header_cannot_add_lines_to_a_reply(door: House) -> None:
    asked = request(CHAT, GOOD, x_tierwise_role="a%0d%0ax-evil: 1\t\x85")
    reply = await wire.send(door.gateway.port, asked)
    assert reply.status == 200
    assert "x-evil" not in reply.headers
    ((decision, _),) = door.recorded()
    assert (decision.context.role_unknown or "").isprintable()


OUTSIDE = [
    ("GET", "/v1/models", KEY, 200, None),
    ("GET", "/v1/models/tierwise/worker", KEY, 200, None),
    ("GET", "/v1/models", "wrong", 401, "unknown_key"),
    ("GET", "/v1/models/tierwise/worker", "", 401, "missing_key"),
    ("GET", "/v1/models/gpt-99", KEY, 404, "not_found"),
    ("PUT", "/v1/models", KEY, 405, "method_not_allowed"),
    ("GET", "/v1/feedback", KEY, 405, "method_not_allowed"),
    ("POST", "/v1/feedback", "wrong", 401, "unknown_key"),
    ("POST", "/v1/feedback", KEY, 503, "collector_away"),
    ("POST", "/livez", KEY, 405, "method_not_allowed"),
    ("POST", "/v1/chat", KEY, 404, "not_found"),
    ("POST", "/chat/completions", KEY, 404, "not_found"),
    ("POST", "/v1/v1/responses", KEY, 404, "not_found"),
    ("POST", "/v1/messages/batches", KEY, 404, "not_found"),
    ("GET", "/", KEY, 404, "not_found"),
    ("GET", "/livez", "", 200, None),
    ("GET", "/readyz", "", 200, None),
    ("GET", "/metrics", "", 200, None),
]


@pytest.mark.parametrize("anthropic", [True, False])
@pytest.mark.parametrize("case", OUTSIDE)
async def test_replies_that_are_no_steps_carry_our_headers_and_the_callers_envelope(
    door: House, case: tuple[str, str, str, int, str | None], anthropic: bool
) -> None:
    method, path, key, status, code = case
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    lines = [f"{method} {path} HTTP/1.1", "host: x", "content-length: 0", f"traceparent: {parent}"]
    lines += [f"x-api-key: {key}"] if key else []
    lines += ["anthropic-version: 2023-06-01"] if anthropic else []
    reply = await wire.send(door.gateway.port, "\r\n".join([*lines, "", ""]).encode())
    assert reply.status == status
    assert float(reply.headers["x-tierwise-overhead-ms"]) >= 0.0
    assert len(reply.headers["x-tierwise-decision"]) == 36
    trace = reply.headers["traceparent"].split("-")
    assert (trace[1], trace[3]) == (parent[3:35], "00")
    assert trace[2] != parent[36:52]
    assert CANARY not in str(reply)
    if code is not None:
        in_messages = anthropic or path.startswith("/v1/messages")
        assert error_of(reply, MESSAGES if in_messages else CHAT)["code"] == code
        if status == 405:
            assert reply.headers["allow"]
    assert door.billed() == []


async def test_health_needs_no_key_and_says_how_things_are(door: House) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        reply = await wire.send(
            door.gateway.port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        )
        assert reply.status == 200
        assert CANARY not in str(reply)
    assert b"tierwise_steps_total" in reply.body
