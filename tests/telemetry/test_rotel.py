"""Spans, verdicts and metrics through a real collector, written in another language."""

import asyncio
import importlib.util
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from telemetry.config import EndpointConfig, TelemetryConfig
from telemetry.spans import describe
from tests.needs import lacking
from tests.telemetry import decoding, steps
from tests.telemetry.exporting import make, running
from tests.telemetry.sinks import Sink, http_sink, until


def agent() -> Path:
    """Return the collector's program, or leave the test."""
    found = importlib.util.find_spec("rotel")
    for place in (found and found.submodule_search_locations) or ():
        if (program := Path(place) / "rotel-agent").exists():
            return program
    lacking("the collector rotel")
    raise AssertionError("unreachable")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def rotel(sink: Sink, place: Path) -> AsyncIterator[dict[str, str]]:
    """Run the collector in front of a sink; yield its address by protocol."""
    ports = {"http/protobuf": free_port(), "grpc": free_port()}
    process = await asyncio.create_subprocess_exec(
        str(agent()), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{ports['http/protobuf']}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{ports['grpc']}",
        "--exporter", "otlp", "--otlp-exporter-endpoint", sink.url,
        "--otlp-exporter-protocol", "http", "--batch-timeout", "200ms",
        "--pid-file", str(place / "rotel.pid"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for port in ports.values():
            await listening(port, process)
        yield {protocol: f"http://127.0.0.1:{port}" for protocol, port in ports.items()}
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(15):
        while True:
            if process.returncode is not None:
                lacking("a shared library that the collector rotel needs")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_real_collector_passes_on_every_span_verdict_and_metric(
    tmp_path: Path, protocol: Any
) -> None:
    rng = random.Random(3)
    given = [(steps.decision(), steps.fresh(rng)) for _ in range(600)]
    async with http_sink() as sink, rotel(sink, tmp_path) as addresses:
        endpoint = EndpointConfig(endpoint=addresses[protocol], protocol=protocol)
        exporter, meters = make(
            tmp_path, collector=None, config=TelemetryConfig(endpoints=(endpoint,))
        )
        async with running(exporter):
            for decision, outcome in given:
                exporter.record(decision, outcome)
                meters.observe(decision, outcome)
            await until(lambda: len(sink.spans) >= 1_200 and len(sink.events) >= 600)
        await until(lambda: len(sink.metrics) >= 2)
    described = {span.span_id: span for step in given for span in describe(*step)}
    assert sorted(sink.span_ids) == sorted(described)
    for span in sink.spans:
        meant = described[span.span_id.hex()]
        read = decoding.attributes(span.attributes)
        assert read.keys() == meant.attributes.keys()
        assert all(type(read[k]) in (type(v), str, tuple) for k, v in meant.attributes.items())
        assert (span.name, span.trace_id.hex()) == (meant.name, meant.trace_id)
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
            meant.start_ns,
            meant.end_ns,
        )
    assert {event.event_name for event in sink.events} == {"gen_ai.evaluation.result"}
    assert {event.span_id.hex() for event in sink.events} <= described.keys()
    usage = next(m for m in sink.metrics if m.name == "gen_ai.client.token.usage")
    assert [point.count for point in usage.histogram.data_points] == [600, 600]
