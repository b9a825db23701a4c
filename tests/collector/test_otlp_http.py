import asyncio
import contextlib
import gzip
import http.client
import json
import zlib
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector import intake
from collector.decode import BadBody
from collector.gunzip import TooLarge, gunzip
from tests.collector.conftest import Running, Start
from tests.collector.otlp import NOW_NS, Trace, evaluation


def count(running: Running, table: str = "v_spans") -> int:
    found = running.store.query(f"SELECT count(*) FROM {table}", rows_max=1, seconds_max=5)
    return int(found.rows[0][0])


def body(spans: int = 3, seed: int = 1) -> bytes:
    trace = Trace(seed=seed)
    for _ in range(spans):
        trace.call()
    return trace.body()


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/"])
async def test_both_forms_of_the_path_take_spans_and_answer_with_nothing(
    start: Start, path: str
) -> None:
    running = await start()
    status, headers, answer = await running.post(path, body())
    assert (status, answer) == (200, b"")
    assert headers["content-type"] == "application/x-protobuf"
    assert count(running) == 3


async def test_the_same_batch_twice_is_stored_once(start: Start) -> None:
    running = await start()
    for _ in range(3):
        assert (await running.post("/v1/traces", body()))[0] == 200
    assert count(running) == 3
    assert b"tierwise_collector_duplicates_total 6.0" in running.meters.text()


async def test_gzip_is_understood(start: Start) -> None:
    running = await start()
    packed = gzip.compress(body())
    status, _, _ = await running.post("/v1/traces", packed, content_encoding="gzip")
    assert (status, count(running)) == (200, 3)


async def test_json_with_string_numbers_and_upper_case_ids_is_the_same_span(start: Start) -> None:
    running = await start()
    span = {
        "traceId": "AB" * 16,
        "spanId": "CD" * 8,
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(NOW_NS),
        "endTimeUnixNano": NOW_NS + 10**9,
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": 3}},
        ],
        "unknownField": [1, {"a": None}],
    }
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    status, headers, answer = await running.post(
        "/v1/traces", json.dumps(request).encode(), content_type="application/json; charset=utf-8"
    )
    assert (status, answer) == (200, b"{}")
    assert headers["content-type"] == "application/json"
    found = running.store.read("SELECT trace_id, span_id, input_tokens, output_tokens FROM calls")
    assert found == [
        {"trace_id": "ab" * 16, "span_id": "cd" * 8, "input_tokens": 12, "output_tokens": 3}
    ]


async def test_empty_requests_succeed(start: Start) -> None:
    running = await start()
    assert (await running.post("/v1/traces", b""))[0] == 200
    empty = await running.post("/v1/logs", b"{}", content_type="application/json")
    assert (empty[0], empty[2]) == (200, b"{}")


async def test_a_bad_span_is_refused_alone_and_says_why(start: Start) -> None:
    running = await start()
    trace = Trace()
    trace.call()
    trace.call(span_id=b"\0" * 8)
    trace.call(trace_id=b"0123456789abcdef0123456789abcdef")  # hex where bytes belong
    trace.call(start_ns=0)
    status, _, answer = await running.post("/v1/traces", trace.body())
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert (status, partial.rejected_spans, count(running)) == (200, 3, 1)
    assert "trace id" in partial.error_message
    assert "time is unset" in partial.error_message
    text = running.meters.text()
    for reason in (b"trace_id", b"span_id", b"time"):
        assert b'rejected_total{reason="%s",signal="traces"} 1.0' % reason in text


async def test_logs_on_the_traces_path_never_become_spans(start: Start) -> None:
    running = await start()
    status, _, answer = await running.post("/v1/traces", evaluation("x"))
    rejected = 0
    if status == 200:
        rejected = ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    assert status == 400 or rejected == 1
    assert count(running) == 0


@pytest.mark.parametrize(
    ("status", "path", "headers", "sent"),
    [
        (400, "/v1/traces", {}, b"\xff\xff\xff"),
        (400, "/v1/traces", {"content_type": "application/json"}, b"{"),
        (400, "/v1/traces", {"content_type": "application/json"}, b"[" * 100_000),
        (400, "/v1/traces", {"content_type": "application/json"}, b'{"resourceSpans": 5}'),
        (400, "/v1/traces", {"content_type": "application/json"}, b'{"a": "\\ud800"}'),
        (400, "/v1/traces", {"content_encoding": "gzip"}, b"not gzip"),
        (400, "/v1/traces", {"content_encoding": "gzip"}, gzip.compress(b"", mtime=0)[:-3]),
        (
            400,
            "/v1/traces",
            {"content_encoding": "gzip"},
            gzip.compress(b"", mtime=0) + b"trailing",
        ),
        (404, "/", {}, b""),
        (404, "/v1/trace", {}, b""),
        (415, "/v1/traces", {"content_type": "text/plain"}, b""),
        (415, "/v1/traces", {"content_encoding": "zstd"}, b""),
    ],
)
async def test_what_cannot_be_read_is_refused_for_good_with_a_status(
    start: Start, status: int, path: str, headers: dict[str, str], sent: bytes
) -> None:
    running = await start()
    found, answered, answer = await running.post(path, sent, **headers)
    assert found == status
    asked = headers.get("content_type", "application/x-protobuf")
    if asked == "application/x-protobuf":
        assert answered["content-type"] == asked
        assert Status.FromString(answer).message
    else:
        assert json.loads(answer)["message"]


async def test_other_methods_are_not_allowed(start: Start) -> None:
    running = await start()
    async with running.session.get(running.http + "/v1/traces") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_the_limit_holds_before_and_after_decompression(start: Start) -> None:
    running = await start(body_mb_max=1)
    bomb = zlib.compress(b"\0" * 50_000_000, wbits=31)
    assert len(bomb) < 100_000
    assert (await running.post("/v1/traces", bomb, content_encoding="gzip"))[0] == 413
    assert (await running.post("/v1/traces", b"\0" * 1_100_000))[0] == 413

    async def pieces() -> Any:
        for _ in range(20):
            yield b"\0" * 100_000

    async with running.session.post(
        running.http + "/v1/traces",
        data=pieces(),
        headers={"content-type": "application/x-protobuf"},
    ) as answer:
        assert answer.status == 413


async def test_a_token_is_wanted_when_one_is_configured(start: Start) -> None:
    running = await start(token="s3cret")
    assert (await running.post("/v1/traces", body()))[0] == 401
    assert (await running.post("/v1/traces", body(), authorization="Bearer wrong"))[0] == 401
    assert (await running.post("/v1/traces", body(), authorization="Bearer s3cret"))[0] == 200
    assert count(running) == 3


async def test_metrics_are_counted_and_not_kept(start: Start) -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    for value in range(4):
        metric.sum.data_points.add(as_int=value)
    running = await start()
    assert (await running.post("/v1/metrics", request.SerializeToString()))[0] == 200
    assert b'received_total{signal="metrics"} 4.0' in running.meters.text()


async def test_a_flood_gets_503_with_retry_after_and_loses_nothing_that_was_taken(
    start: Start,
) -> None:
    running = await start(queue_spans=1_024)
    bodies = [body(500, seed) for seed in range(30)]
    answers = await asyncio.gather(*(running.post("/v1/traces", each) for each in bodies))
    taken = sum(status == 200 for status, _, _ in answers)
    refused = [headers for status, headers, _ in answers if status == 503]
    assert taken + len(refused) == 30
    assert refused, "the queue never filled"
    assert all(headers["retry-after"] == "1" for headers in refused)
    assert count(running) == 500 * taken


async def test_a_million_attributes_do_no_harm(start: Start) -> None:
    running = await start()
    trace = Trace()
    trace.call({f"k{number}": number for number in range(100_000)})
    assert (await running.post("/v1/traces", trace.body()))[0] == 200
    row = running.store.read("SELECT input_tokens, length(attributes) AS size FROM calls")[0]
    assert row["input_tokens"] == 100
    assert row["size"] <= 4_096
    assert b"collector_truncated_total 1.0" in running.meters.text()


def test_nested_members_and_bombs_are_bounded() -> None:
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"
    with pytest.raises(TooLarge):
        gunzip(gzip.compress(b"a" * 11), 10)
    with pytest.raises(TooLarge):
        gunzip(gzip.compress(b"a" * 6) * 2, 10)
    with pytest.raises(BadBody):
        gunzip(gzip.compress(b"") * 100, 10)


@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (401, "/v1/traces", {}),
        (404, "/nope", {}),
        (415, "/v1/traces", {"content-type": "text/plain", "authorization": "Bearer s3cret"}),
        (503, "/v1/traces", {"authorization": "Bearer s3cret"}),
    ],
)
async def test_a_sender_of_a_large_body_gets_to_see_the_refusal(
    start: Start, status: int, path: str, headers: dict[str, str]
) -> None:
    running = await start(token="s3cret")
    running.intake._hold(10**9)

    def send() -> int:
        with contextlib.closing(
            http.client.HTTPConnection(running.http.removeprefix("http://"), timeout=10)
        ) as connection:
            sent = {"content-type": "application/x-protobuf"} | headers
            connection.request("POST", path, b"x" * 20_000_000, sent)
            return connection.getresponse().status

    assert await asyncio.to_thread(send) == status
    running.intake._hold(-(10**9))


async def test_a_fault_of_our_own_in_decoding_is_a_refusal_that_is_counted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    with monkeypatch.context() as patch:
        patch.setattr(intake, "decode_traces", confused)
        status, _, answer = await running.post("/v1/traces", body())
        assert status == 400
        assert (
            b"a fault of the collector's own: KeyError('no')"
            in Status.FromString(answer).message.encode()
        )
        patch.setattr(intake, "decode_traces", exhausted)
        status, headers, _ = await running.post("/v1/traces", body())
        assert (status, headers["retry-after"]) == (503, "1")
    assert (await running.post("/v1/traces", body()))[0] == 200
    assert b'requests_total{answer="400",signal="traces",transport="http"} 1.0' in (
        running.meters.text()
    )


def confused(*_: object, **__: object) -> None:
    raise KeyError("no")


def exhausted(*_: object, **__: object) -> None:
    raise MemoryError
