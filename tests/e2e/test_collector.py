"""Real exporters and a real collector in between: what was sent is there, once."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from tests.collector.program import Ports, free_ports, running
from tests.needs import lacking

STEPS = 500


def rows(store: Path, sql: str) -> list[Any]:
    with duckdb.connect(store, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def send(exporter: SpanExporter, steps: int = STEPS) -> None:
    """One agent span over one model call, ``steps`` times."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50_000))
    tracer = provider.get_tracer("example")
    for number in range(steps):
        agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"role{number % 3}"}
        call: dict[str, str | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
        }
        with (
            tracer.start_as_current_span("invoke_agent", attributes=agent),
            tracer.start_as_current_span("chat gpt-4o", attributes=call),
        ):
            pass
    provider.shutdown()


def exporter(protocol: str, ports: Ports) -> SpanExporter:
    if protocol == "http":
        return HttpExporter(endpoint=f"http://127.0.0.1:{ports.http}/v1/traces")
    return GrpcExporter(endpoint=f"http://127.0.0.1:{ports.grpc}", insecure=True)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_span_of_the_python_sdk_arrives_once(tmp_path: Path, protocol: str) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with running(store, ports):
        send(exporter(protocol, ports))
    assert rows(store, "SELECT count(*), count(DISTINCT span_id) FROM v_spans") == [(1_000, 1_000)]
    found = rows(store, "SELECT role, role_from, count(*) FROM v_calls GROUP BY ALL ORDER BY 1")
    assert found == [
        ("role0", "ancestor", 167),
        ("role1", "ancestor", 167),
        ("role2", "ancestor", 166),
    ]
    assert rows(store, "SELECT sum(calls) FROM rollups") == [(500,)]


@contextmanager
def rotel(target: Ports, folder: Path) -> Iterator[Ports]:
    """Run a rotel agent that sends what it gets to ``target``."""
    if sys.version_info >= (3, 12) or sys.platform != "linux":
        lacking("rotel (its wheel is for Python 3.11 on Linux)")
    import rotel as package  # noqa: PLC0415 - not installed everywhere

    ports = free_ports()
    command = [
        str(Path(package.__file__).with_name("rotel-agent")), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{ports.http}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{ports.grpc}",
        "--exporter", "otlp", "--otlp-exporter-protocol", "http",
        "--otlp-exporter-endpoint", f"http://127.0.0.1:{target.http}",
        "--batch-timeout", "200ms", "--pid-file", str(folder / "rotel.pid"),
    ]  # fmt: skip
    with (folder / "rotel.log").open("wb") as log:
        child = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(ports)
        yield ports
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


def wait_for(ports: Ports) -> None:

    for _ in range(500):
        try:
            for port in (ports.http, ports.grpc):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("rotel never listened")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_span_arrives_once_through_rotel(tmp_path: Path, protocol: str) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with running(store, ports), rotel(ports, tmp_path) as between:
        send(exporter(protocol, between))
    assert rows(store, "SELECT count(*), count(DISTINCT span_id) FROM v_spans") == [(1_000, 1_000)]
    assert rows(store, "SELECT count(*) FROM v_calls WHERE role_from = 'ancestor'") == [(500,)]


def test_rotel_keeps_what_a_killed_collector_did_not_take(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with rotel(ports, tmp_path) as between:
        with running(store, ports) as first:
            send(exporter("http", between), steps=200)
            first.kill()
            first.wait()
        with running(store, ports):
            send(exporter("http", between), steps=200)
            until = time.monotonic() + 30
            while time.monotonic() < until and not _all_there(ports, 800):
                time.sleep(0.2)
    found = rows(store, "SELECT count(*), count(DISTINCT span_id) FROM v_spans")
    assert found == [(800, 800)]


def _all_there(ports: Ports, wanted: int) -> bool:

    request = urllib.request.Request(
        f"http://127.0.0.1:{ports.console}/api/sql",
        data=json.dumps({"sql": "SELECT count(*) FROM v_spans"}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bool(json.load(answer)["rows"][0][0] >= wanted)
