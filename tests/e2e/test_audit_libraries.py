"""Spans that a real library exported: the dump of them and the store that got them agree."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from evals.standin.running import standin_process
from router.cli.app import run
from tests.collector.program import free_ports, running
from tests.e2e.test_collector_libraries import ASK_WEATHER, dollars, get_weather

CONFIG = """\
schema = 1
[providers.openai]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat"]
[prices."openai/standin-mid"]
input = 1.0
output = 4.0
cache_read = 0.1
cache_write = 1.25
"""


class FileExporter(SpanExporter):
    """Writes requests with their lengths before them, as the OpenTelemetry Collector does."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        body = encode_spans(spans).SerializeToString()
        with self._path.open("ab") as file:
            file.write(len(body).to_bytes(4, "big") + body)
        return SpanExportResult.SUCCESS


def audited(place: str, config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["audit", place, "--config", str(config), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


async def test_the_dump_and_the_store_of_a_library_s_spans_give_the_same_totals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, ports, dump = tmp_path / "t.duckdb", free_ports(), tmp_path / "spans.pb"
    config = tmp_path / "tierwise.toml"
    config.write_text(CONFIG)
    with standin_process(pace=0.0) as standin, running(store, ports):
        provider = TracerProvider()
        to_collector = OTLPSpanExporter(f"http://127.0.0.1:{ports.http}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(to_collector))
        provider.add_span_processor(SimpleSpanProcessor(FileExporter(dump)))
        async with AsyncOpenAI(base_url=standin.base_url, api_key="any", max_retries=0) as openai:
            model = OpenAIChatModel("standin-mid", provider=OpenAIProvider(openai_client=openai))
            agent = Agent(model, name="weatherman", tools=[get_weather])
            agent.instrument = InstrumentationSettings(tracer_provider=provider)
            for _ in range(2):
                await agent.run(ASK_WEATHER)
        provider.shutdown()
        billed = standin.ledger()["entries"]
        live = audited(f"http://127.0.0.1:{ports.console}", config, capsys)
    exported = audited(str(dump), config, capsys)
    stored = audited(str(store), config, capsys)
    assert len(billed) == 4
    wanted = {
        "step": "weatherman",
        "calls": 4,
        "input_tokens": sum(entry["input"] for entry in billed),
        "output_tokens": sum(entry["output"] for entry in billed),
        "spend_usd": pytest.approx(sum(dollars(entry) for entry in billed)),
    }
    for found in (live, exported, stored):
        (step,) = found["steps"]
        assert {name: step[name] for name in wanted} == wanted
    assert exported["calls_with_text"] == 4  # the library records what was said; the store does not
    assert stored["calls_with_text"] == live["calls_with_text"] == 0
    # Both tasks asked the same: what the second asked first had been asked before.
    assert exported["repeated"][0]["found"]["duplicates"] >= 1
