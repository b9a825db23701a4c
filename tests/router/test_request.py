"""What is read of a request, and what is refused, before anything is decided."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from router.callers import Callers
from router.request import ENDPOINTS, HungUp, Limits, Message, Request, parent_of, read
from telemetry.errors import InvalidRequest
from tests.inprocess import scope_of

CHAT = "/v1/chat/completions"
LIMITS = Limits(body_bytes=100, body_seconds=5.0)
NOBODY = Callers([], {})


async def read_pieces(
    pieces: Sequence[bytes | None],
    *,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    limits: Limits = LIMITS,
) -> Request:
    """Read a request whose body comes in ``pieces``; None is the caller's hang-up."""
    rest = list(pieces)

    async def receive() -> Message:
        if not rest:
            await asyncio.Event().wait()
        piece = rest.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(rest)}

    scope = scope_of(CHAT, headers or {}, method=method)
    return await read(scope, receive, endpoint=ENDPOINTS[CHAT], callers=NOBODY, limits=limits)


def body_of(size: int) -> bytes:
    body = b'{"model": "tierwise/auto"}'
    return body + b" " * (size - len(body))


async def code_of(pieces: Sequence[bytes], **options: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        await read_pieces(pieces, **options)
    return refused.value.code


async def test_a_body_is_joined_from_its_pieces() -> None:
    asked = await read_pieces([b'{"mo', b"", b'del": "tier', b'wise/auto", "stream": true}'])
    assert asked.model == "tierwise/auto"
    assert asked.stream is True
    assert asked.body.raw == b'{"model": "tierwise/auto", "stream": true}'


@pytest.mark.parametrize("cuts", [[], [1], [50], [99], [33, 66], [0, 100]])
async def test_the_limit_counts_every_piece(cuts: list[int]) -> None:
    for size, fits in ((100, True), (101, False)):
        whole = body_of(size)
        edges = [0, *cuts, size]
        pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
        if fits:
            assert (await read_pieces(pieces)).body.raw == whole
        else:
            assert await code_of(pieces) == "body_too_large"


async def test_a_stated_length_over_the_limit_is_refused_without_waiting_for_the_body() -> None:
    assert await code_of([], headers={"content-length": "101"}) == "body_too_large"


async def test_a_body_that_never_comes_is_given_up() -> None:
    limits = Limits(body_bytes=100, body_seconds=0.01)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(InvalidRequest) as refused:
        await read(
            scope_of(CHAT, {}), never, endpoint=ENDPOINTS[CHAT], callers=NOBODY, limits=limits
        )
    assert (refused.value.code, refused.value.status) == ("request_timeout", 408)


@pytest.mark.parametrize("pieces", [[None], [b'{"model"', None]])
async def test_a_caller_that_leaves_is_noticed(pieces: list[bytes | None]) -> None:
    with pytest.raises(HungUp):
        await read_pieces(pieces)


async def test_what_the_headers_say_is_read() -> None:
    headers = {
        "X-Tierwise-Role": "Planner",
        "x-tierwise-session": "s",
        "x-tierwise-mode": "debate",
        "x-tierwise-plan": "p-1",
        "baggage": "gen_ai.agent.name=critic,tenant=acme",
    }
    asked = await read_pieces([body_of(30)], headers=headers)
    assert (asked.role, asked.session, asked.mode, asked.plan) == ("Planner", "s", "debate", "p-1")
    assert asked.baggage == {"gen_ai.agent.name": "critic", "tenant": "acme"}
    assert asked.caller is None


async def test_what_the_metadata_say_is_read_and_other_members_are_left_alone() -> None:
    metadata = {"role": "worker", "session_id": "s" * 300, "n": 7, "deep": {"role": "x"}}
    body = json.dumps({"model": "tierwise/auto", "metadata": metadata}).encode()
    asked = await read_pieces([body], limits=Limits(body_bytes=9_999, body_seconds=5.0))
    assert asked.metadata_role == "worker"
    assert asked.session == "s" * 255


async def test_null_metadata_and_stream_are_as_good_as_absent() -> None:
    asked = await read_pieces([b'{"model": "tierwise/auto", "metadata": null, "stream": null}'])
    assert asked.metadata_role is None
    assert asked.stream is False


@pytest.mark.parametrize("name", ["session", "mode", "plan"])
@pytest.mark.parametrize("value", ["x" * 256, "a\x01b", "naïve"])
async def test_our_headers_are_short_and_printable(name: str, value: str) -> None:
    assert await code_of([body_of(30)], headers={f"x-tierwise-{name}": value}) == "invalid_header"


async def test_headers_are_limited_all_together() -> None:
    fits = {"x-a": "a" * 65_533}
    assert (await read_pieces([body_of(30)], headers=fits)).model == "tierwise/auto"
    assert await code_of([], headers={"x-a": "a" * 65_534}) == "headers_too_large"


async def test_another_method_is_refused_before_the_body() -> None:
    assert await code_of([], method="GET") == "method_not_allowed"


def test_a_parent_is_read_only_from_a_valid_traceparent() -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    parent = parent_of(scope_of(CHAT, {"traceparent": f"00-{trace}-{span}-01"}))
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.sampled) == (trace, span, True)
    assert parent_of(scope_of(CHAT, {"traceparent": f"00-{trace}-{span}"})) is None
    assert parent_of(scope_of(CHAT, {})) is None
