"""The recipes of docs/collector.md, run as they stand there but for the ports."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.collector.program import Ports, free_ports, running
from tests.e2e.test_collector import exporter, rows, send, wait_for
from tests.needs import lacking, program

PAGE = Path(__file__).parents[2] / "docs" / "collector.md"


def recipe(name: str, *, collector: Ports, between: Ports | None = None) -> str:
    """The code block behind a recipe's mark, with our ports in it."""
    found = re.search(rf"<!-- recipe: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.S)
    assert found is not None, name
    text = found[1]
    if between is not None:
        text = text.replace(":14317", f":{between.grpc}").replace(":14318", f":{between.http}")
    return text.replace(":4318", f":{collector.http}").replace(":4317", f":{collector.grpc}")


@contextmanager
def child(command: list[str], ports: Ports, folder: Path) -> Iterator[None]:
    with (folder / "child.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(ports)
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0, (folder / "child.log").read_text()[-2_000:]


def arrived(store: Path) -> None:
    assert rows(store, "SELECT count(*), count(DISTINCT span_id) FROM v_spans") == [(1_000, 1_000)]
    assert rows(store, "SELECT count(*) FROM v_calls WHERE role LIKE 'role%'") == [(500,)]


def test_an_upstream_collector_set_up_as_written_feeds_us(tmp_path: Path) -> None:
    otelcol = os.environ.get("TIERWISE_OTELCOL") or program("otelcol")
    store, ports, between = tmp_path / "t.duckdb", free_ports(), free_ports()
    config = tmp_path / "otelcol.yaml"
    config.write_text(recipe("otelcol", collector=ports, between=between))
    with running(store, ports), child([otelcol, "--config", str(config)], between, tmp_path):
        send(exporter("grpc", between))
    arrived(store)


def test_rotel_set_up_as_written_feeds_us(tmp_path: Path) -> None:
    if sys.version_info >= (3, 12) or sys.platform != "linux":
        lacking("rotel (its wheel is for Python 3.11 on Linux)")
    import rotel as package  # noqa: PLC0415 - not installed everywhere

    store, ports, between = tmp_path / "t.duckdb", free_ports(), free_ports()
    command = shlex.split(recipe("rotel", collector=ports, between=between).replace("\\\n", " "))
    command[0] = str(Path(package.__file__).with_name("rotel-agent"))
    command += ["--pid-file", str(tmp_path / "rotel.pid")]  # two tests must not share one
    with running(store, ports), child(command, between, tmp_path):
        send(exporter("http", between))
    arrived(store)


def test_an_sdk_set_up_by_these_variables_alone_feeds_us(tmp_path: Path) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    lines = recipe("sdk", collector=ports).splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    script = (
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter\n"
        "from tests.e2e.test_collector import send\n"
        "send(OTLPSpanExporter())\n"
    )
    with running(store, ports):
        command = [sys.executable, "-c", script]
        subprocess.run(command, env=os.environ | variables, timeout=60, check=True)
    arrived(store)


def test_the_javascript_sdk_set_up_by_the_same_variables_feeds_us(tmp_path: Path) -> None:
    """The packages are those of tests/e2e/javascript/package-lock.json; .ci/run installs them."""
    installed = os.environ.get("TIERWISE_OTEL_JS")
    if installed is None:
        lacking("the JavaScript SDK (TIERWISE_OTEL_JS names the folder where npm ci put it)")
        raise AssertionError("unreachable")
    store, ports = tmp_path / "t.duckdb", free_ports()
    lines = recipe("sdk", collector=ports).splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    variables["NODE_PATH"] = str(Path(installed) / "node_modules")
    with running(store, ports):
        command = [program("node"), str(Path(__file__).parent / "javascript" / "send.js")]
        subprocess.run(command, env=os.environ | variables, timeout=60, check=True)
    arrived(store)
    sums = rows(store, "SELECT sum(input_tokens), any_value(finish_reason) FROM v_calls")
    assert sums == [(100 * 500 + 499 * 500 // 2, "stop")]
