"""What the caller gets is what the provider said, byte for byte, with our headers on top."""

import asyncio
import gzip
import hashlib
import json
import random

import pytest

from tests import wire
from tests.harness import config_for, running
from tests.inprocess import EVENTS, JSON, Script, make_bench

CHAT = "/v1/chat/completions"
ASK = b'{"model": "tierwise/worker", "messages": []}'
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 1_000, "completion_tokens": 10}})
RANDOM = random.Random(3)

BODIES = {
    "plain": ANSWER.encode(),
    "white space": b" \r\n\t" + json.dumps({"a": [1, 2]}, indent=7).encode() + b"\n\n ",
    "unknown fields": b'{"zzz":{"\\u00e9":1e5,"x":1.0,"y":-0},"choices":[],"a":1,"a":2}',
    "numbers that readers round": b'{"n":123456789012345678901234567890,"f":0.1000000000000000055}',
    "invalid JSON": b'{"choices": [',
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "compressed although nobody asked": gzip.compress(ANSWER.encode(), mtime=0),
    "five megabytes": RANDOM.randbytes(5 * 1_048_576),
}


@pytest.mark.parametrize("name", BODIES)
async def test_an_answer_of_any_content_arrives_with_the_same_digest(name: str) -> None:
    body = BODIES[name]
    encoding = "content-encoding: gzip\r\n" if name.startswith("compressed") else ""
    serve = wire.whole(body, headers=f"{encoding}x-request-id: req_1\r\n")
    async with wire.provider(serve) as upstream, running(config_for(upstream.port)) as at:
        reply = await wire.send(at.port, wire.post(CHAT, ASK))
        at.kept.wait(1)
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(body).digest()
    assert reply.status == 200
    assert reply.headers["content-length"] == str(len(body))
    assert reply.headers.get("content-encoding") == ("gzip" if encoding else None)
    assert reply.headers["x-request-id"] == "req_1"
    assert reply.headers["x-tierwise-tier"] == "mid"


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_too_long_to_be_kept_is_relayed_unread(chunked: bool) -> None:
    body = RANDOM.randbytes(3_000_000)

    async def serve(got: wire.Got, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        if chunked:
            parts = [wire.chunk(body[at : at + 99_999]) for at in range(0, len(body), 99_999)]
            writer.write(head + b"transfer-encoding: chunked\r\n\r\n")
            writer.write(b"".join(parts) + b"0\r\n\r\n")
        else:
            writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)

    async with (
        wire.provider(serve) as upstream,
        running(config_for(upstream.port), answer_bytes_max=1_000_000) as at,
    ):
        reply = await wire.send(at.port, wire.post(CHAT, ASK))
        ((_, outcome),) = at.kept.wait(1)
    assert reply.complete
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(body).digest()
    assert outcome.status == 200
    assert outcome.cost_usd is None  # nothing was read, so nothing is known


async def test_unknown_fields_of_a_request_reach_the_provider_byte_for_byte() -> None:
    asked = (
        b' {\n"zzz" : {"\\u00e9":1e5,"model":"inner"}, "n":123456789012345678901234567890,\r\n'
        b'\t"model"  :  "tierwise/worker" , "messages":[{"role":"user","content":"\xf0\x9f\x99\x82 '
        b'\\ud83d\\ude42 \\/"}],"f":0.1000000000000000055 ,"reasoning_effort":"low"} \n'
    )
    serve = wire.whole(ANSWER.encode())
    async with wire.provider(serve) as upstream, running(config_for(upstream.port)) as at:
        await wire.send(at.port, wire.post(CHAT, asked))
    (got,) = upstream.got
    assert got.body == asked.replace(b'"tierwise/worker"', b'"standin-mid"')
    assert got.line == b"POST /v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize(
    ("status", "kind", "headers"),
    [
        (400, "application/json", ""),
        (404, "text/html; charset=utf-8", ""),
        (407, "application/json", "www-authenticate: Bearer\r\n"),
        (413, "application/problem+json", ""),
        (422, "application/json", "x-should-retry: false\r\n"),
        (429, "application/json", "retry-after: 17\r\nx-ratelimit-remaining-tokens: 0\r\n"),
        (500, "text/plain", ""),
        (503, "application/json", "retry-after: 3\r\n"),
        (529, "application/json", "retry-after: 9\r\n"),
        (302, "text/html", "location: http://127.0.0.1:1/elsewhere\r\n"),
    ],
)
async def test_an_error_of_the_last_provider_is_relayed_as_it_came(
    status: int, kind: str, headers: str
) -> None:
    body = b'{"error" : {"message":"K\xc3\xb6nnte sein", "odd": 1e3}}\n'
    serve = wire.whole(body, status=status, kind=kind, headers=headers)
    asked = b'{"model": "tierwise/planner", "messages": []}'
    async with wire.provider(serve) as upstream, running(config_for(upstream.port)) as at:
        reply = await wire.send(at.port, wire.post(CHAT, asked))
        ((_, outcome),) = at.kept.wait(1)
    assert reply.status == status
    assert reply.body == body
    assert reply.headers["content-type"] == kind
    for name, value in wire.parse_headers(headers.encode()):
        assert reply.headers[name.decode()] == value.decode()
    assert reply.headers["x-tierwise-tier"] == "frontier"
    assert reply.headers["x-tierwise-attempts"] == "1"
    assert len(upstream.got) == 1
    assert outcome.status == status
    if status >= 400:
        assert outcome.attempts[0].error_type == f"http_{status}"
        assert outcome.cost_usd == 0.0
        assert reply.headers["x-tierwise-cost-usd"] == "0"


async def test_a_providers_answer_cannot_forge_our_headers() -> None:
    headers = "x-tierwise-cost-usd: 0\r\nX-Tierwise-Tier: free\r\nset-cookie: a=b\r\n"
    serve = wire.whole(ANSWER.encode(), headers=headers)
    async with wire.provider(serve) as upstream, running(config_for(upstream.port)) as at:
        reply = await wire.send(at.port, wire.post(CHAT, ASK))
    assert reply.headers["x-tierwise-tier"] == "mid"
    # 1,000 tokens at 1 dollar and 10 at 4 dollars per million.
    assert float(reply.headers["x-tierwise-cost-usd"]) == pytest.approx(0.00104)
    assert "set-cookie" not in reply.headers


async def test_every_reply_names_its_decision_and_its_trace() -> None:
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[ANSWER.encode()], headers=(JSON,)))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-00"
    delivered = await bench.post(CHAT, ASK, headers={"traceparent": parent})
    ((decision, outcome),) = bench.kept.pairs
    assert delivered.headers["x-tierwise-decision"] == decision.decision_id
    assert delivered.headers["traceparent"] == f"00-{trace}-{outcome.span_id}-00"
    assert (outcome.trace_id, outcome.parent_span_id) == (trace, "00f067aa0ba902b7")
    assert outcome.sampled is False
    assert delivered.headers["x-tierwise-revision"] == "declared"
    assert delivered.headers["x-tierwise-reason"] == "declared"
    assert float(delivered.headers["x-tierwise-overhead-ms"]) >= 0
    sent = dict(bench.upstream.sent[0][1])
    assert sent["traceparent"] == f"00-{trace}-{outcome.attempts[0].span_id}-00"


async def test_an_answer_of_unknown_cost_states_none() -> None:
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[b'{"choices": []}'], headers=(JSON,)))
    delivered = await bench.post(CHAT, ASK)
    assert "x-tierwise-cost-usd" not in delivered.headers
    assert bench.kept.pairs[0][1].cost_usd is None


async def test_a_stream_states_no_cost_because_it_is_not_known_yet() -> None:
    bench = make_bench()
    bench.upstream.scripts.append(Script(pieces=[b"data: [DONE]\n\n"], headers=(EVENTS,)))
    delivered = await bench.post(CHAT, ASK.replace(b"{", b'{"stream": true, ', 1))
    assert "x-tierwise-cost-usd" not in delivered.headers
    assert "content-length" not in delivered.headers
