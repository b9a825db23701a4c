"""One attempt under any chunking: the exact bytes of one answer or one clean error, never a mix."""

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.errors import UpstreamError
from telemetry.records import Attempt, Dialect, Result
from tests import streams
from tests.faults.answers import error_frame, frames
from tests.inprocess import EVENTS, Bench, Delivered, Piece, Script, make_bench

BROKEN = UpstreamError("upstream_broken", "it broke off", hint="try again")
CHUNKS = st.lists(st.integers(1, 400), max_size=30)
# The check: the answer must hold this word, which stands in no healthy answer of the stand-in.
POLICY = b"""
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.pass]
tier = "small"
range = ["small", "mid"]
checks = ["not_empty", { check = "contains", values = ["DE-482913"] }]
[roles.hold]
tier = "small"
range = ["small", "mid"]
stream = "hold"
checks = ["not_empty", { check = "contains", values = ["DE-482913"] }]
[roles.strict]
tier = "small"
range = ["small", "mid"]
stream = "hold"
unpassed = "refuse"
checks = ["not_empty", { check = "contains", values = ["DE-482913"] }]
[roles.once]
tier = "small"
side_effects = true
stream = "hold"
checks = ["not_empty", { check = "contains", values = ["DE-482913"] }]
[roles.default]
tier = "small"
"""


def ask(role: str, *, stream: bool = True) -> bytes:
    body: dict[str, Any] = {"model": f"tierwise/{role}", "messages": [], "stream": stream}
    return json.dumps({**body, "stream_options": {"include_usage": True}}).encode()


def healthy(dialect: Dialect) -> bytes:
    return b"".join(frames(dialect))


def wrong(dialect: Dialect) -> bytes:
    """Return a healthy stream whose answer fails the check."""
    return healthy(dialect).replace(b"DE", b"XX").replace(b"-48", b"-99")


def cut(content: bytes, sizes: Iterable[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(content[at : at + size])
        at += size
    return [piece for piece in [*pieces, content[at:]] if piece]


def stream_of(content: bytes, sizes: Iterable[int] = (), *, broken: bool = False) -> Script:
    pieces: list[Piece] = [*cut(content, sizes)]
    return Script(pieces=[*pieces, BROKEN] if broken else pieces, headers=(EVENTS,))


def attempts_of(bench: Bench) -> tuple[Attempt, ...]:
    ((_, outcome),) = bench.kept.pairs
    return outcome.attempts


async def post(bench: Bench, dialect: Dialect, role: str) -> Delivered:
    return await bench.post(streams.PATHS[dialect], ask(role))


DIALECTS = st.sampled_from([Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES])
KINDS = ["right", "wrong", "error first", "error later", "cut", "broken early", "broken", "500"]
UNDELIVERED = ("error first", "500")  # in every mode: nothing of them can have gone out


def made(kind: str, dialect: Dialect, sizes: list[int]) -> tuple[Script, bytes]:
    """Return an upstream's behaviour and the bytes it says."""
    whole = healthy(dialect)
    begun = b"".join(frames(dialect)[:5])
    content = {
        "right": whole,
        "wrong": wrong(dialect),
        "error first": error_frame(dialect),
        "error later": begun + error_frame(dialect),
        "cut": begun,
        "broken early": whole[:7],
        "broken": begun,
        "500": b'{"error": {"message": "no"}}',
    }[kind]
    if kind == "500":
        return Script(status=500, pieces=cut(content, sizes)), content
    return stream_of(content, sizes, broken=kind.startswith("broken")), content


def all_in_the_opening(dialect: Dialect, script: Script) -> bool:
    """Say whether an error event is whole in the pieces that complete the first event."""
    opening = b""
    for piece in script.pieces:
        assert isinstance(piece, bytes)
        opening += piece
        if b"\n\n" in opening:
            break
    return error_frame(dialect) in opening


def wanted_of(role: str, kinds: list[str]) -> str:
    """Say by hand what the caller is to get: an attempt's bytes, with or without an error after."""
    for kind in kinds:
        if kind == "right" or (kind == "wrong" and role == "pass"):
            return kind
        if role == "pass" and kind in ("error later", "cut", "broken"):
            return kind
    if "wrong" in kinds:
        return "refused" if role == "strict" else "wrong"
    return "own error" if kinds[-1].startswith("broken") else kinds[-1]


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    DIALECTS,
    st.sampled_from(["pass", "hold", "strict"]),
    st.lists(st.sampled_from(KINDS), min_size=2, max_size=2),
    st.lists(CHUNKS, min_size=2, max_size=2),
)
async def test_the_caller_gets_one_answers_exact_bytes_or_one_clean_error(
    dialect: Dialect, role: str, kinds: list[str], sizes: list[list[int]]
) -> None:
    bench = make_bench(POLICY)
    made_of = [made(kind, dialect, cuts) for kind, cuts in zip(kinds, sizes, strict=True)]
    bench.upstream.scripts = [script for script, _ in made_of]
    delivered = await post(bench, dialect, role)
    said = {kind: content for kind, (_, content) in zip(kinds, made_of, strict=True)}
    if kinds[0] == "error later" and all_in_the_opening(dialect, made_of[0][0]):
        kinds = ["error first", kinds[1]]
    wanted = wanted_of(role, kinds)
    assert delivered.ended
    if wanted == "refused":
        assert delivered.status == 422
        assert json.loads(delivered.body)["error"]["code"] == "check_failed"
    elif wanted == "own error":
        assert delivered.status == 502
        assert json.loads(delivered.body)["error"]["code"] == "upstream_broken"
    elif wanted in ("cut", "broken"):
        assert delivered.body.startswith(said[wanted])
        after = delivered.body[len(said[wanted]) :]
        assert after.count(b"data: ") == 1
        assert b"upstream_broken" in after
    else:
        assert delivered.body == said[wanted]
        assert delivered.status == (500 if wanted == "500" else 200)
    # Whatever was asked stands in the record, and nobody was asked after a byte had gone out.
    attempts = attempts_of(bench)
    assert len(attempts) == len(bench.upstream.sent)
    assert int(delivered.headers["x-tierwise-attempts"]) == len(attempts)
    went_out = [kind for kind in kinds[: len(attempts)] if kind == wanted]
    assert wanted in ("refused", "own error") or went_out
    if role == "pass" and kinds[0] not in (*UNDELIVERED, "broken early"):
        assert len(attempts) == 1


@pytest.mark.parametrize(("dialect", "path"), streams.PATHS.items())
async def test_a_held_stream_is_replayed_in_the_frames_in_which_it_came(
    dialect: Dialect, path: str
) -> None:
    came = frames(dialect)
    bench = make_bench(POLICY)
    bench.upstream.scripts = [Script(pieces=list(came), headers=(EVENTS,))]
    delivered = await bench.post(path, ask("hold"))
    assert [piece for piece in delivered.pieces if piece] == came
    assert delivered.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in delivered.headers
    assert delivered.headers["x-tierwise-check"] == "pass"
    assert "x-tierwise-cost-usd" in delivered.headers


@pytest.mark.parametrize(
    ("dialect", "usage", "share"),
    [(Dialect.MESSAGES, False, 0.1), (Dialect.CHAT, True, 0.1), (Dialect.CHAT, False, 1.2)],
    ids=["relayed as it is", "relayed with its usage", "its usage is taken out"],
)
async def test_holding_a_stream_takes_its_buffer_and_nothing_more(
    dialect: Dialect, usage: bool, share: float
) -> None:
    first, *rest = frames(dialect)
    padding = [(b": %d " % n + b"x" * 4_000 + b"\n\n") * 16 for n in range(48)]
    came = [first, *padding, *rest]
    size = sum(map(len, came))
    bench = make_bench(POLICY)
    bench.upstream.scripts = [Script(pieces=came, headers=(EVENTS,))]
    body = json.loads(ask("hold")) | {"stream_options": {"include_usage": usage}}
    asked = json.dumps(body).encode()
    tracemalloc.start()
    try:
        delivered = await bench.post(streams.PATHS[dialect], asked)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert delivered.status == 200
    if share < 1:  # what goes out are the very objects that came in
        assert [id(piece) for piece in delivered.pieces if piece] == [id(piece) for piece in came]
    assert peak < share * size + 4 * len(padding[0])


@pytest.mark.parametrize("dialect", streams.PATHS)
async def test_a_stream_that_began_with_an_error_is_told_apart_at_any_cut(
    dialect: Dialect,
) -> None:
    bad, sent = error_frame(dialect), healthy(dialect)
    for at in range(1, len(bad)):
        bench = make_bench(POLICY)
        bench.upstream.scripts = [stream_of(bad, [at]), stream_of(sent)]
        delivered = await post(bench, dialect, "default")
        assert delivered.body == sent, f"cut at {at}"
        assert attempts_of(bench)[0].error_type is not None


@pytest.mark.parametrize("role", ["pass", "hold"])
async def test_an_empty_stream_is_no_answer(role: str) -> None:
    bench = make_bench(POLICY)
    sent = healthy(Dialect.CHAT)
    bench.upstream.scripts = [Script(pieces=[], headers=(EVENTS,)), stream_of(sent)]
    assert (await post(bench, Dialect.CHAT, role)).body == sent
    assert [attempt.error_type for attempt in attempts_of(bench)] == ["upstream_error", None]


@pytest.mark.parametrize("kind", ["error later", "cut", "broken"])
@pytest.mark.parametrize("dialect", streams.PATHS)
async def test_a_broken_answer_is_never_judged_good(dialect: Dialect, kind: str) -> None:
    script, _ = made(kind, dialect, [])
    # The whole of the text is out by then, and would pass; what says that it ended is not.
    text = b"".join(frames(dialect)[: -3 if dialect is Dialect.CHAT else -2])
    script.pieces = [text, *list(script.pieces)[1:]]
    if kind == "error later":
        script.pieces = [text, error_frame(dialect)]
    bench = make_bench(POLICY)
    bench.upstream.scripts = [script]
    await post(bench, dialect, "pass")
    ((_, outcome),) = bench.kept.pairs
    assert outcome.quality is None
    assert outcome.attempts[0].error_type is not None


async def test_a_held_stream_that_is_too_long_is_passed_on_and_judged_late() -> None:
    sent = wrong(Dialect.CHAT)
    bench = make_bench(POLICY, answer_bytes_max=len(sent) // 2)
    bench.upstream.scripts = [stream_of(sent, [200] * 20)]
    delivered = await post(bench, Dialect.CHAT, "hold")
    assert delivered.body == sent
    (attempt,) = attempts_of(bench)
    assert [verdict.result for verdict in attempt.verdicts][-1] is Result.FAIL
    assert "x-tierwise-check" not in delivered.headers


async def test_a_stream_that_begins_with_an_error_and_never_ends_well_is_our_error() -> None:
    bench = make_bench(POLICY, answer_bytes_max=2_000)
    bad = error_frame(Dialect.CHAT)
    endless = [stream_of(bad + b": x\n\n" * 2_000, [300] * 40) for _ in range(4)]
    bench.upstream.scripts = [*endless]
    delivered = await post(bench, Dialect.CHAT, "pass")
    assert delivered.status == 502
    assert json.loads(delivered.body)["error"]["code"] == "upstream_broken"


@pytest.mark.parametrize("kind", ["wrong", "error first", "broken", "500"])
async def test_a_step_with_side_effects_is_asked_once(kind: str) -> None:
    bench = make_bench(POLICY)
    script, _ = made(kind, Dialect.CHAT, [])
    bench.upstream.scripts = [script]
    await post(bench, Dialect.CHAT, "once")
    assert len(bench.upstream.sent) == 1


async def test_a_step_with_side_effects_goes_on_when_nobody_was_reached() -> None:
    bench = make_bench(POLICY)
    gone = UpstreamError("upstream_unreachable", "nobody there", hint="try again")
    bench.upstream.scripts = [gone, stream_of(healthy(Dialect.CHAT))]
    assert (await post(bench, Dialect.CHAT, "once")).status == 200


async def test_a_fault_of_ours_still_counts_what_the_attempt_cost() -> None:
    bench = make_bench(POLICY)
    bench.upstream.scripts = [RuntimeError("a fault of ours")]
    delivered = await post(bench, Dialect.CHAT, "default")
    assert delivered.status == 500
    ((_, outcome),) = bench.kept.pairs
    assert [attempt.error_type for attempt in outcome.attempts] == ["internal"]
    assert outcome.cost_usd is None
