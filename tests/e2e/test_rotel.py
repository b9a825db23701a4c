"""The whole way of a span: real clients, the gateway, a real OpenTelemetry collector, a sink."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.standin.running import StandinProcess, standin_process
from evals.workloads.batch import process
from evals.workloads.clients import AnthropicAsker, OpenAIAsker
from evals.workloads.documents import documents
from evals.workloads.support import handle
from evals.workloads.tickets import tickets
from telemetry import names
from tests.needs import lacking
from tests.telemetry.sinks import Sink, http_sink

START_SECONDS = 20.0
ARRIVE_SECONDS = 20.0
PRICES = {  # US dollars per million tokens: input, output, cached read, cache write
    "standin-small": (0.1, 0.4, 0.01, 0.125),
    "standin-mid": (1.0, 4.0, 0.1, 1.25),
    "standin-frontier": (5.0, 25.0, 0.5, 6.25),
}
POLICY = """schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.categoriser]
tier = "small"
[roles.extractor]
tier = "small"
[roles.summariser]
tier = "mid"
[roles.planner]
tier = "frontier"
"""
KINDS: dict[str, str] = {
    "string_value": "string",
    "int_value": "int",
    "double_value": "double",
    "bool_value": "boolean",
    "array_value": "string[]",
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def agent() -> str:
    """The collector's program, as the rotel package ships it."""
    if sys.version_info >= (3, 12) or sys.platform != "linux":
        lacking("rotel (its wheel is for Python 3.11 on Linux)")
    import rotel  # noqa: PLC0415 - not installed everywhere

    return str(Path(rotel.__file__).with_name("rotel-agent"))


@contextlib.contextmanager
def child(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a process until the block ends; it is up once ``port`` takes connections."""
    with (folder / f"{port}.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        ends = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert running.poll() is None, (folder / f"{port}.log").read_text()[-2000:]
            assert asyncio.get_running_loop().time() < ends, f"{command[0]} did not start"
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(START_SECONDS)


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[StandinProcess, int, Sink]]:
    """Stand-ins, gateway, collector and sink; yields stand-ins, the gateway's port and the sink."""
    rotel, gateway_port, collector_port = agent(), free_port(), free_port()
    async with http_sink() as sink:
        with standin_process() as standin, contextlib.ExitStack() as stack:
            write_files(folder, standin.base_url)
            stack.enter_context(
                child(
                    [
                        rotel, "start", "--otlp-http-endpoint", f"127.0.0.1:{collector_port}",
                        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
                        "--exporter", "otlp", "--otlp-exporter-endpoint", sink.url,
                        "--otlp-exporter-protocol", "http", "--batch-timeout", "200ms",
                        "--pid-file", str(folder / "rotel.pid"),
                    ],
                    collector_port,
                    folder,
                )
            )  # fmt: skip
            stack.enter_context(
                child(
                    [
                        str(Path(sys.executable).with_name("tierwise")), "gateway",
                        "--gateway", f"127.0.0.1:{gateway_port}",
                        "--otlp-http", f"127.0.0.1:{collector_port}",
                    ],
                    gateway_port,
                    folder,
                )
            )  # fmt: skip
            await await_ready(gateway_port)
            yield standin, gateway_port, sink


async def await_ready(port: int) -> None:
    def ready() -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer,
        ):
            return bool(answer.status == 200)
        return False

    async with asyncio.timeout(START_SECONDS):
        while not await asyncio.to_thread(ready):
            await asyncio.sleep(0.05)


def write_files(folder: Path, upstream: str) -> None:
    lines = ["schema = 1", "[providers.standin]", f'base_url = "{upstream}"']
    lines += ['dialects = ["chat", "responses", "messages", "embeddings"]', 'system = "openai"']
    for model, (plain, out, read, write) in PRICES.items():
        lines += [f'[prices."standin/{model}"]', f"input = {plain}", f"output = {out}"]
        lines += [f"cache_read = {read}", f"cache_write = {write}"]
    (folder / "tierwise.toml").write_text("\n".join(lines))
    (folder / "policy.toml").write_text(POLICY)


async def run_agents(port: int) -> int:
    """Run both agents through their official clients; return how many steps they took."""
    steps = 0
    openai = OpenAIAsker(base_url=f"http://127.0.0.1:{port}/v1")
    anthropic = AnthropicAsker(base_url=f"http://127.0.0.1:{port}")
    try:
        for ticket in tickets(2, seed=5):
            steps += len([step async for step in handle(ticket, openai)])
        batch = documents(1, seed=5)
        steps += len([step async for step in process(batch, anthropic, plan_id="plan-1")])
    finally:
        await openai.close()
        await anthropic.close()
    return steps


def value_of(value: Any) -> tuple[str, Any]:
    """The kind and the plain value of an OTLP attribute."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return KINDS[kind], [item.string_value for item in value.array_value.values]
    return KINDS[kind], getattr(value, kind)


def billed_usd(entry: dict[str, Any]) -> float:
    """What a provider with these prices would have charged for one entry of its ledger."""
    plain, out, read, write = PRICES[entry["model"]]
    uncached = entry["input"] - entry["cache_read"] - entry["cache_write"]
    return (
        float(
            uncached * plain
            + entry["cache_read"] * read
            + entry["cache_write"] * write
            + entry["output"] * out
        )
        / 1e6
    )


@pytest.mark.timeout(120)
async def test_every_attempt_arrives_once_and_costs_what_the_provider_billed(
    tmp_path: Path,
) -> None:
    for variable in [name for name in os.environ if name.startswith("OTEL_")]:
        pytest.fail(f"{variable} is set and would send this test's spans elsewhere")
    async with house(tmp_path) as (standin, port, sink):
        steps = await run_agents(port)
        ledger = await asyncio.to_thread(standin.ledger)
        async with asyncio.timeout(ARRIVE_SECONDS):
            while len(sink.spans) < 2 * steps:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # anything sent twice would arrive now
        spans = sink.spans

    entries = ledger["entries"]
    assert len(entries) == steps
    assert len({span.span_id for span in spans}) == len(spans) == 2 * steps
    kinds = {str(attribute): attribute.kind for attribute in names.ATTRIBUTES}
    attempts: list[tuple[Any, dict[str, Any]]] = []
    routes: list[tuple[Any, dict[str, Any]]] = []
    for span in spans:
        attributes = {}
        for attribute in span.attributes:
            kind, value = value_of(attribute.value)
            assert kind == kinds[attribute.key], attribute.key
            attributes[attribute.key] = value
        (attempts if span.kind == 3 else routes).append((span, attributes))
    assert len(attempts) == len(routes) == steps

    by_response = {attributes["gen_ai.response.id"]: attributes for _, attributes in attempts}
    assert set(by_response) == {entry["response_id"] for entry in entries}
    for entry in entries:
        attributes = by_response[entry["response_id"]]
        assert attributes["gen_ai.usage.input_tokens"] == entry["input"]
        assert attributes["gen_ai.usage.output_tokens"] == entry["output"]
        assert attributes["gen_ai.request.model"] == entry["model"]
        assert attributes["gen_ai.provider.name"] == "openai"
        assert attributes["tierwise.cost.usd"] == pytest.approx(billed_usd(entry), abs=1e-12)
    spent = sum(attributes["tierwise.cost.usd"] for _, attributes in attempts)
    assert spent == pytest.approx(sum(billed_usd(entry) for entry in entries), abs=1e-9)
    assert spent == pytest.approx(
        sum(attributes["tierwise.cost.usd"] for _, attributes in routes), abs=1e-9
    )
    assert not any(key.startswith("gen_ai.") for _, found in routes for key in found)

    parents = {span.span_id: span.trace_id for span, _ in routes}
    assert all(parents[span.parent_span_id] == span.trace_id for span, _ in attempts)
    tiers = Counter(found["tierwise.tier"] for _, found in routes)
    assert set(tiers) == {"small", "mid", "frontier"}
    assert {found["tierwise.role"] for _, found in routes} >= {"categoriser", "planner"}
