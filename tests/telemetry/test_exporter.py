import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from telemetry.clock import SystemClock
from telemetry.config import EndpointConfig, TelemetryConfig
from telemetry.exporter import Exporter
from telemetry.metrics import Meters
from tests.telemetry import steps
from tests.telemetry.sinks import Sink, http_sink, until

DROPPED = "tierwise_telemetry_dropped_total"
EXPORTED = "tierwise_telemetry_exported_total"


def make(
    state_dir: Path, *, collector: str | None, config: TelemetryConfig | None = None, **more: Any
) -> tuple[Exporter, Meters]:
    meters = Meters(roles=["worker"], tiers=["mid"], models=["openai/gpt-5.5"])
    exporter = Exporter(
        config or TelemetryConfig(),
        collector=collector,
        state_dir=state_dir,
        worker="0",
        clock=SystemClock(),
        rng=random.Random(7),
        meters=meters,
        env=more.pop("env", {}),
        **more,
    )
    return exporter, meters


@asynccontextmanager
async def running(exporter: Exporter) -> AsyncIterator[Exporter]:
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.close(2.0)


def record(exporter: Exporter, count: int, *, seed: int = 1, **changes: Any) -> list[str]:
    """Record steps and return the ids of their spans."""
    rng = random.Random(seed)
    ids = []
    for _ in range(count):
        outcome = steps.fresh(rng, **changes)
        ids += [outcome.span_id, *(attempt.span_id for attempt in outcome.attempts)]
        exporter.record(steps.decision(), outcome)
    return ids


def dropped(meters: Meters, endpoint: str, cause: str, signal: str = "traces") -> float:
    return meters.value(DROPPED, {"endpoint": endpoint, "signal": signal, "cause": cause})


def other(sink: Sink, **more: Any) -> EndpointConfig:
    return EndpointConfig(endpoint=sink.url, **more)


async def test_every_span_and_every_verdict_reaches_the_collector_once(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            ids = record(exporter, 700)
            await until(lambda: len(sink.spans) == 1_400 and len(sink.events) == 700)
        assert sorted(sink.span_ids) == sorted(ids)
        assert meters.value("tierwise_telemetry_recorded_total") == 700
        assert meters.value(EXPORTED, {"endpoint": "collector", "signal": "traces"}) == 1_400
        assert all(headers["content-type"] == "application/x-protobuf" for headers in sink.headers)


async def test_a_step_the_caller_did_not_sample_reaches_only_the_collector(tmp_path: Path) -> None:
    async with http_sink() as collector, http_sink() as elsewhere:
        config = TelemetryConfig(endpoints=(other(elsewhere),))
        exporter, _ = make(tmp_path, collector=collector.url, config=config)
        async with running(exporter):
            hidden = record(exporter, 3, seed=1, sampled=False)
            shown = record(exporter, 3, seed=2)
            await until(lambda: len(collector.spans) == 12 and len(elsewhere.spans) == 6)
        assert sorted(collector.span_ids) == sorted(hidden + shown)
        assert sorted(elsewhere.span_ids) == sorted(shown)
        assert len(elsewhere.events) == 3


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
