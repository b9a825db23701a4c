"""Where a step goes is the policy's affair alone, and no key is seen on the way."""

import gc
import logging
from collections.abc import Iterator

import pytest

from tests import wire
from tests.harness import House, config_for, house, running
from tests.router.door import (
    CANARY,
    CHAT,
    ENVIRONMENT,
    GOOD,
    KEY,
    KEYS,
    MESSAGES,
    OTHER_KEY,
    RESPONSES,
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


async def test_no_part_of_a_request_chooses_where_it_goes(door: House) -> None:
    evil_body = GOOD.replace(
        b"{",
        b'{"base_url": "http://127.0.0.1:1", "api_base": "http://127.0.0.1:1", "host": "evil",'
        b' "endpoint": "http://127.0.0.1:1", "url": "x", "api_key": "x",',
        1,
    )
    headers = {
        "host": "127.0.0.1:1",
        "x-forwarded-host": "127.0.0.1:1",
        "forwarded": "host=127.0.0.1:1",
        "x-base-url": "http://127.0.0.1:1",
        "x-portkey-custom-host": "http://127.0.0.1:1",
        "x-original-url": "/evil",
        "proxy-connection": "keep-alive",
    }
    targets = [
        CHAT,
        f"http://127.0.0.1:1{CHAT}",
        f"{CHAT}?base_url=http://127.0.0.1:1&model=standin/standin-frontier",
        f"{CHAT}?x=../../evil#fragment",
        f"{CHAT}/",
    ]
    for target in targets:
        asked = wire.post(target, evil_body, headers={"authorization": f"Bearer {KEY}"} | headers)
        reply = await wire.send(door.gateway.port, asked)
        assert reply.status == 200, target
        assert reply.headers["x-tierwise-tier"] == "mid"
    assert [entry.model for entry in door.billed()] == ["standin-mid"] * len(targets)


@pytest.mark.parametrize(
    "query",
    ["?", "?&&==", "?a=%0d%0ax:y", "?a=%", "?/../..//", "?a=%E9%FF", "?a=b?c=d", "?@evil"],
)
async def test_an_odd_query_reaches_the_provider_and_does_no_harm(query: str) -> None:
    serve = wire.whole(b"{}")
    async with wire.provider(serve) as upstream, running(config_for(upstream.port)) as at:
        reply = await wire.send(at.port, wire.post(CHAT + query, GOOD))
        assert reply.status == 200
    (got,) = upstream.got
    assert got.line.startswith(b"POST /v1/chat/completions")
    assert got.line.endswith(b" HTTP/1.1")
    assert got.line.count(b" ") == 2
    assert got.header(b"x") is None
    assert got.header(b"host") == f"127.0.0.1:{upstream.port}".encode()


async def test_a_provider_sees_its_own_address_and_key_and_nothing_of_the_callers() -> None:
    async with (
        wire.provider(wire.whole(b"{}")) as upstream,
        running(
            config_for(upstream.port, provider='key_env = "PROVIDER_KEY"', extra=KEYS),
            environment=ENVIRONMENT,
        ) as at,
    ):
        for path in (f"http://evil.example{CHAT}?x=1", f"{MESSAGES}?beta=true"):
            headers = {"x-forwarded-host": "evil", "cookie": "a=b", "x-tierwise-session": "s"}
            keys = {"authorization": f"Bearer {KEY}", "x-api-key": KEY}
            asked = wire.post(path, GOOD, headers=headers | keys, host="evil.example")
            await wire.send(at.port, asked)
    chat, messages = upstream.got
    assert chat.line == b"POST /v1/chat/completions?x=1 HTTP/1.1"
    assert messages.line == b"POST /v1/messages?beta=true HTTP/1.1"
    assert chat.header(b"authorization") == f"Bearer {CANARY}".encode()
    assert messages.header(b"x-api-key") == CANARY.encode()
    for got in upstream.got:
        assert got.header(b"host") == f"127.0.0.1:{upstream.port}".encode()
        assert KEY.encode() not in str(got).encode()
        assert b"evil" not in b" ".join(value for _, value in got.headers)
        names = [name for name, _ in got.headers]
        assert len(names) == len(set(names))
        assert not any(name.startswith(b"x-tierwise") or name == b"cookie" for name in names)


async def test_no_key_is_in_any_record_log_or_object(
    door: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [
        await wire.send(door.gateway.port, request(path, body))
        for path, body in [
            (CHAT, GOOD),
            (MESSAGES, GOOD),
            (CHAT, b"{"),
            (RESPONSES, GOOD),
            (CHAT, GOOD.replace(b"auto", CANARY[:5].encode())),
        ]
    ]
    told = "".join(map(str, replies)) + str(door.gateway.kept.pairs) + caplog.text
    told += str(door.gateway.kept.rejected) + door.gateway.gateway.meters.render().decode()
    looked = 0
    for found in reachable(door.gateway.gateway):
        told += repr(found)
        looked += 1
    assert looked > 50
    for secret in (CANARY, KEY, OTHER_KEY):
        assert secret not in told


def reachable(root: object) -> list[object]:
    """Return every object of ours that can be reached from ``root``."""
    seen: dict[int, object] = {}
    ours: list[object] = []
    rest = [root]
    while rest and len(seen) < 200_000:
        one = rest.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ == "module":
            continue
        seen[id(one)] = one
        if type(one).__module__.partition(".")[0] in ("router", "telemetry", "learning"):
            ours.append(one)
        if type(one).__name__ not in ("function", "method", "frame", "coroutine") or one is root:
            rest += gc.get_referents(one)
        elif getattr(one, "__closure__", None):
            rest += [cell.cell_contents for cell in one.__closure__]  # type: ignore[attr-defined]
    return ours
