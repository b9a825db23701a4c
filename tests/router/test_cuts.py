"""Every place in which a network may cut a stream, in each dialect."""

import asyncio
import json

import pytest

from telemetry.records import Dialect
from tests import streams, wire
from tests.harness import POLICY, config_for, running
from tests.inprocess import EVENTS, Script, make_bench

DIALECTS = [Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES]


def ask(*, include_usage: bool | None = None) -> bytes:
    body: dict[str, object] = {"model": "tierwise/worker", "stream": True, "messages": []}
    if include_usage is not None:
        body["stream_options"] = {"include_usage": include_usage}
    return json.dumps(body).encode()


async def cut_everywhere(path: str, asked: bytes, *, sent: bytes, wanted: bytes) -> int:
    """Relay ``sent`` cut in two at every byte; check what arrives and what is read of it."""
    bench = make_bench()
    dialect = next(known for known, at in streams.PATHS.items() if at == path)
    for cut in range(len(sent) + 1):
        pieces = [piece for piece in (sent[:cut], sent[cut:]) if piece]
        bench.upstream.scripts.append(Script(pieces=pieces, headers=(EVENTS,)))
        delivered = await bench.post(path, asked)
        assert delivered.body == wanted, f"cut at {cut}"
        assert delivered.ended
        _, outcome = bench.kept.pairs[-1]
        (attempt,) = outcome.attempts
        assert attempt.tokens == streams.TOKENS[dialect], f"cut at {cut}"
        assert attempt.finish_reasons == (streams.FINISH[dialect],), f"cut at {cut}"
        assert attempt.response_id == streams.IDS[dialect], f"cut at {cut}"
        assert attempt.response_model == streams.VERSION, f"cut at {cut}"
        assert attempt.error_type is None
    assert len(bench.kept.pairs) == len(sent) + 1
    return len(sent)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_cut_at_any_byte_arrives_whole_and_is_read_the_same(
    dialect: Dialect,
) -> None:
    sent = streams.stream_of(dialect)
    assert 3_000 < len(sent) < 6_500
    asked = ask(include_usage=True if dialect is Dialect.CHAT else None)
    await cut_everywhere(streams.PATHS[dialect], asked, sent=sent, wanted=sent)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("include_usage", [None, False])
async def test_a_chat_stream_cut_at_any_byte_lacks_only_the_usage_that_its_caller_did_not_ask_for(
    end: str, include_usage: bool | None
) -> None:
    sent, wanted = streams.chat(end=end), streams.chat(usage=False, end=end)
    assert len(wanted) < len(sent)
    path = streams.PATHS[Dialect.CHAT]
    await cut_everywhere(path, ask(include_usage=include_usage), sent=sent, wanted=wanted)


@pytest.mark.parametrize("include_usage", [None, True])
async def test_a_stream_without_its_last_line_end_arrives_whole(include_usage: bool | None) -> None:
    sent = streams.chat()[:-1]
    wanted = sent if include_usage else streams.chat(usage=False)[:-1]
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[sent], headers=(EVENTS,)))
    delivered = await bench.post("/v1/chat/completions", ask(include_usage=include_usage))
    assert delivered.body == wanted
    assert bench.kept.pairs[0][1].attempts[0].tokens == streams.TOKENS[Dialect.CHAT]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_comes_byte_by_byte_arrives_whole(dialect: Dialect) -> None:
    sent = streams.stream_of(dialect)
    bench = make_bench()
    pieces = [sent[at : at + 1] for at in range(len(sent))]
    bench.upstream.scripts.append(Script(pieces=pieces, headers=(EVENTS,)))
    delivered = await bench.post(streams.PATHS[dialect], ask(include_usage=True))
    assert delivered.body == sent
    assert bench.kept.pairs[-1][1].attempts[0].tokens == streams.TOKENS[dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nothing_that_is_relayed_unchanged_is_held_back(dialect: Dialect) -> None:
    sent = streams.stream_of(dialect)
    bench = make_bench()
    half = len(sent) // 2
    bench.upstream.scripts.append(Script(pieces=[sent[:half], sent[half:]], headers=(EVENTS,)))
    delivered = await bench.post(streams.PATHS[dialect], ask(include_usage=True))
    assert [piece for piece in delivered.pieces if piece] == [sent[:half], sent[half:]]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_over_sockets_a_stream_cut_in_characters_and_line_ends_arrives_whole(
    dialect: Dialect,
) -> None:
    sent = streams.stream_of(dialect)
    inside = [at for at in range(1, len(sent)) if sent[at] & 0xC0 == 0x80]
    ends = [at for at in range(1, len(sent)) if sent[at - 1 : at + 1] == b"\n\n"]
    cuts = [
        *inside[:: max(1, len(inside) // 6)],
        *ends[:: max(1, len(ends) // 6)],
        1,
        len(sent) - 1,
    ]

    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        cut = cuts[int(got.header(b"x-cut") or b"0")]
        writer.write(wire.STREAM_HEAD + wire.chunk(sent[:cut]))
        await writer.drain()
        await asyncio.sleep(0.002)
        writer.write(wire.chunk(sent[cut:]) + b"0\r\n\r\n")

    asked = ask(include_usage=True if dialect is Dialect.CHAT else None)
    async with wire.provider(serve) as upstream, running(config_for(upstream.port), POLICY) as at:
        for number, cut in enumerate(cuts):
            request = wire.post(streams.PATHS[dialect], asked, headers={"x-cut": str(number)})
            reply = await wire.send(at.port, request)
            assert reply.body == sent, f"cut at {cut}"
            assert reply.complete
        for _, outcome in at.kept.wait(len(cuts)):
            assert outcome.attempts[0].tokens == streams.TOKENS[dialect]
