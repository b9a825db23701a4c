import asyncio
from pathlib import Path

import grpc
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from telemetry.config import TelemetryConfig
from telemetry.otlp import Signal
from telemetry.spool import Batch, Spool
from tests.telemetry.exporting import EXPORTED, dropped, make, other, record, running
from tests.telemetry.sinks import Sink, grpc_sink, http_sink, until


async def test_a_collector_that_comes_back_gets_every_span_exactly_once_and_in_order(
    tmp_path: Path,
) -> None:
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    exporter, meters = make(tmp_path, collector=f"http://127.0.0.1:{port}")
    async with running(exporter):
        first = record(exporter, 100, seed=1)
        await until(lambda: meters.value("tierwise_telemetry_spooled_total") >= 200)
        second = record(exporter, 100, seed=2)
        await until(lambda: meters.value("tierwise_telemetry_spooled_total") == 600)
        async with http_sink(sink, port=port):
            third = record(exporter, 50, seed=3)
            await until(lambda: len(sink.spans) == 500 and len(sink.events) == 250)
            await until(lambda: meters.value("tierwise_telemetry_spool_bytes") == 0)
    assert sorted(sink.span_ids) == sorted(first + second + third)
    replayed = [span_id for span_id in sink.span_ids if span_id in set(first + second)]
    assert set(replayed[:200]) == set(first)
    assert not list((tmp_path / "spool").rglob("*.otlp"))


def spool_of(folder: Path, batches: list[Batch]) -> list[Batch]:
    """Leave behind what a dead worker had on disk."""
    spool = Spool(folder / "spool", worker="0", bytes_max=100_000_000)
    spool.open()
    for number, batch in enumerate(batches):
        spool.write(batch, at_ns=1_000 + number)
    spool.close()
    return batches


async def recorded(folder: Path, *, turns: int) -> list[Batch]:
    """Return what an exporter offers in so many turns: spans and words, a file each."""
    exporter, _ = make(folder, collector="http://127.0.0.1:9")
    batches = []
    for turn in range(turns):
        record(exporter, 2, seed=turn)
        while exporter._waiting:
            exporter._encode_slice()
        for pile in (exporter._span_pile, exporter._log_pile):
            batch, _ = pile.batches()
            assert batch is not None
            batches.append(batch)
    return batches


async def test_what_a_long_absence_left_is_replayed_in_few_requests_in_order(
    tmp_path: Path,
) -> None:
    batches = spool_of(tmp_path, await recorded(tmp_path, turns=300))
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            await until(lambda: meters.value("tierwise_telemetry_replayed_total") == 1_800)
            await until(lambda: meters.value("tierwise_telemetry_spool_bytes") == 0)
    told = Sink()
    for batch in batches:
        told.take(batch.signal, batch.body)
    assert sink.span_ids == told.span_ids
    assert sink.events == told.events
    size = sum(len(batch.body) for batch in batches)
    assert sink.tries <= 3 + 2 * size // 2_097_152
    assert not list((tmp_path / "spool").rglob("*.otlp"))


async def test_a_refused_request_of_several_files_is_sent_file_by_file(tmp_path: Path) -> None:
    batches = await recorded(tmp_path, turns=10)
    poison = batches[6]
    assert poison.signal is Signal.TRACES
    spool_of(tmp_path, batches)
    async with http_sink() as sink:
        sink.refuses = poison.body
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            await until(lambda: meters.value("tierwise_telemetry_replayed_total") == 56)
            await until(lambda: meters.value("tierwise_telemetry_spool_bytes") == 0)
    told = Sink()
    for batch in batches:
        if batch is not poison:
            told.take(batch.signal, batch.body)
    assert sink.span_ids == told.span_ids
    assert sink.events == told.events
    assert dropped(meters, "collector", "refused") == 4


async def test_a_joined_request_that_is_to_come_again_stays_on_disk_whole(tmp_path: Path) -> None:
    batches = spool_of(tmp_path, await recorded(tmp_path, turns=20))
    async with http_sink() as sink:
        sink.answer = lambda number: web.Response(status=503)
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            await until(lambda: sink.tries >= 2)
            assert len(list((tmp_path / "spool").rglob("*.otlp"))) == len(batches)
            sink.answer = lambda number: None
            await until(lambda: meters.value("tierwise_telemetry_spool_bytes") == 0)
    assert len(sink.span_ids) == len(set(sink.span_ids)) == 80
    assert len(sink.events) == 40


async def test_spans_and_words_of_a_second_become_one_file_each(tmp_path: Path) -> None:
    batches = await recorded(tmp_path, turns=10)
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    exporter, _ = make(tmp_path, collector=f"http://127.0.0.1:{port}")
    await exporter.start()
    for batch in batches:
        exporter._senders[0].offer(batch)
    await exporter.close(0.0)
    assert len(list((tmp_path / "spool").rglob("*.otlp"))) == 2


async def test_a_collector_over_grpc_gets_everything_also_what_came_while_it_was_away(
    tmp_path: Path,
) -> None:
    async with grpc_sink() as away:
        port = away.port
    exporter, meters = make(
        tmp_path,
        collector=f"http://127.0.0.1:{port}",
        collector_token="collector-token",
        config=TelemetryConfig(protocol="grpc"),
    )
    async with running(exporter):
        ids = record(exporter, 50, seed=1, sampled=False)
        await until(lambda: meters.value("tierwise_telemetry_spooled_total") == 150)
        async with grpc_sink(port=port) as sink:
            ids += record(exporter, 50, seed=2)
            await until(lambda: len(sink.spans) == 200 and len(sink.events) == 100)
            await until(lambda: meters.value("tierwise_telemetry_spool_bytes") == 0)
    assert sorted(sink.span_ids) == sorted(ids)
    assert {headers["authorization"] for headers in sink.headers} == {"Bearer collector-token"}


async def test_what_cannot_be_sent_before_closing_is_on_disk_for_the_next_process(
    tmp_path: Path,
) -> None:
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    exporter, _ = make(tmp_path, collector=f"http://127.0.0.1:{port}")
    await exporter.start()
    ids = record(exporter, 40)
    await exporter.close(1.0)
    assert list((tmp_path / "spool").rglob("*.otlp"))
    async with http_sink(sink, port=port):
        following, _ = make(tmp_path, collector=sink.url)
        async with running(following):
            await until(lambda: len(sink.spans) == 80)
    assert sorted(sink.span_ids) == sorted(ids)


async def test_a_slow_endpoint_delays_no_other(tmp_path: Path) -> None:
    async with http_sink() as collector, http_sink() as slow:
        slow.hold.clear()
        config = TelemetryConfig(endpoints=(other(slow),))
        exporter, _ = make(tmp_path, collector=collector.url, config=config)
        async with running(exporter):
            for seed in range(3):
                record(exporter, 10, seed=seed)
                await until(lambda seed=seed: len(collector.spans) == 20 * (seed + 1))  # type: ignore[misc]
            assert slow.spans == []
            slow.hold.set()
            await until(lambda: len(slow.spans) == 60)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_an_endpoint_asks_to_send_again_is_sent_again(
    tmp_path: Path, status: int
) -> None:
    async with http_sink() as sink:
        sink.answer = lambda number: web.Response(status=status) if number <= 2 else None
        config = TelemetryConfig(endpoints=(other(sink),))
        exporter, meters = make(tmp_path, collector=None, config=config)
        async with running(exporter):
            ids = record(exporter, 5)
            await until(lambda: len(sink.spans) == 10)
        assert sorted(sink.span_ids) == sorted(ids)
        name = sink.url.removeprefix("http://")
        assert meters.value("tierwise_telemetry_retries_total", {"endpoint": name}) == 2


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with http_sink() as sink:
        tries: list[float] = []

        def answer(number: int) -> web.Response | None:
            tries.append(loop.time())
            return web.Response(status=503, headers={"retry-after": "2"}) if number == 1 else None

        sink.answer = answer
        exporter, _ = make(tmp_path, collector=sink.url)
        async with running(exporter):
            record(exporter, 1)
            await until(lambda: len(sink.spans) == 2)
        assert tries[1] - tries[0] >= 1.9


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 500])
async def test_what_an_endpoint_refuses_is_dropped_and_counted(tmp_path: Path, status: int) -> None:
    async with http_sink() as sink:
        headers = {"location": f"{sink.url}/v1/traces"}
        sink.answer = lambda number: web.Response(status=status, headers=headers)
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            record(exporter, 5)
            await until(lambda: dropped(meters, "collector", "refused") == 10)
            await until(lambda: dropped(meters, "collector", "refused", "logs") == 5)
            sink.answer = lambda number: None
            ids = record(exporter, 1, seed=2)
            await until(lambda: len(sink.spans) == 2)
        assert sorted(sink.span_ids) == sorted(ids)
        assert not list((tmp_path / "spool").rglob("*.otlp"))


async def test_a_partial_success_counts_what_was_rejected(tmp_path: Path) -> None:
    response = trace_service_pb2.ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    async with http_sink() as sink:
        sink.answer = lambda number: web.Response(body=response.SerializeToString())
        config = TelemetryConfig(endpoints=(other(sink),))
        exporter, meters = make(tmp_path, collector=None, config=config)
        name = sink.url.removeprefix("http://")
        async with running(exporter):
            record(exporter, 5)
            await until(lambda: dropped(meters, name, "rejected") == 3)
        assert meters.value(EXPORTED, {"endpoint": name, "signal": "traces"}) == 7


async def test_a_broken_connection_is_tried_again(tmp_path: Path) -> None:
    async with http_sink() as sink:
        sink.reset = True
        exporter, _ = make(tmp_path, collector=sink.url)
        async with running(exporter):
            ids = record(exporter, 5)
            await until(lambda: sink.tries >= 2)
            sink.reset = False
            await until(lambda: len(sink.spans) == 10)
        assert sorted(sink.span_ids) == sorted(ids)


async def test_closing_does_not_wait_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    async with http_sink() as sink:
        sink.hold.clear()
        config = TelemetryConfig(endpoints=(other(sink),))
        exporter, meters = make(tmp_path, collector=sink.url, config=config)
        await exporter.start()
        record(exporter, 5)
        await until(lambda: sink.tries >= 2)
        async with asyncio.timeout(5):
            await exporter.close(0.2)
        name = sink.url.removeprefix("http://")
        assert dropped(meters, name, "shutdown") == 10
        assert meters.value("tierwise_telemetry_spooled_total") >= 10


async def test_grpc_endpoints_get_the_same_spans(tmp_path: Path) -> None:
    async with grpc_sink([grpc.StatusCode.UNAVAILABLE]) as sink:
        config = TelemetryConfig(endpoints=(other(sink, protocol="grpc", headers_env="OTLP_KEYS"),))
        exporter, _ = make(
            tmp_path, collector=None, config=config, env={"OTLP_KEYS": "X-Key=s%20t"}
        )
        async with running(exporter):
            ids = record(exporter, 300)
            await until(lambda: len(sink.spans) == 600)
        assert sorted(sink.span_ids) == sorted(ids)
        assert sink.headers[0]["x-key"] == "s t"


async def test_a_grpc_refusal_is_dropped_and_counted(tmp_path: Path) -> None:
    codes = [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED]
    async with grpc_sink(codes) as sink:
        config = TelemetryConfig(endpoints=(other(sink, protocol="grpc"),))
        exporter, meters = make(tmp_path, collector=None, config=config)
        name = sink.url.removeprefix("http://")
        async with running(exporter):
            for seed in (1, 2):
                record(exporter, 1, seed=seed)
                await until(lambda seed=seed: dropped(meters, name, "refused") == 2 * seed)  # type: ignore[misc]
            record(exporter, 1, seed=3)
            await until(lambda: len(sink.spans) == 2)


async def test_gzip_is_used_where_the_environment_asks_for_it(tmp_path: Path) -> None:
    async with http_sink() as sink:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc",
        }
        exporter, _ = make(tmp_path, collector=None, env=env)
        async with running(exporter):
            record(exporter, 2)
            await until(lambda: len(sink.spans) == 4)
        assert sink.headers[0]["content-encoding"] == "gzip"
        assert sink.headers[0]["authorization"] == "Basic abc"


async def test_a_spool_that_cannot_be_written_is_counted_and_nothing_else_stops(
    tmp_path: Path,
) -> None:
    (tmp_path / "spool").write_text("a file where the directory should be")
    sink = Sink()
    async with http_sink(sink):
        port = sink.port
    exporter, meters = make(tmp_path, collector=f"http://127.0.0.1:{port}")
    async with running(exporter):
        ids = record(exporter, 20)
        await until(lambda: meters.value("tierwise_telemetry_spool_errors_total") >= 2)
        async with http_sink(sink, port=port):
            await until(lambda: len(sink.spans) == 40)
    assert sorted(sink.span_ids) == sorted(ids)
    assert meters.value("tierwise_telemetry_faults_total") == 0


async def test_a_collector_token_is_sent_as_a_bearer(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, _ = make(tmp_path, collector=sink.url, collector_token="s3cret")
        async with running(exporter):
            record(exporter, 1)
            await until(lambda: len(sink.spans) == 2)
        assert sink.headers[0]["authorization"] == "Bearer s3cret"
        assert "s3cret" not in repr(exporter.targets)


async def test_a_collector_that_answers_slowly_fills_the_disk_before_anything_is_dropped(
    tmp_path: Path,
) -> None:
    async with http_sink() as sink:
        sink.hold.clear()
        config = TelemetryConfig(queue_spans=1_000)
        exporter, meters = make(tmp_path, collector=sink.url, config=config)
        async with running(exporter):
            (sender,) = exporter._senders
            ids = []
            for seed in range(7):  # 450 records each
                ids += record(exporter, 150, seed=seed)
                flushed = (seed + 1) * 450
                await until(
                    lambda flushed=flushed: (  # type: ignore[misc]
                        sender._records <= 500
                        and meters.value("tierwise_telemetry_spooled_total") >= flushed - 1_000
                        and not exporter._log_pile._everything
                        and not exporter._waiting
                    )
                )
            assert sink.spans == []
            sink.hold.set()
            await until(lambda: len(sink.spans) == 2_100)
        assert sorted(sink.span_ids) == sorted(ids)
        assert dropped(meters, "collector", "queue_full") == 0
