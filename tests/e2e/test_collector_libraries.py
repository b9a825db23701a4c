"""A library's own instrumentation against the stand-in provider: rows equal what was billed."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from evals.standin.running import StandinProcess, standin_process
from tests.collector.program import free_ports, running
from tests.needs import lacking

ASK_WEATHER = "What is the weather in Lyon"


def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"21 degrees in {city}"


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with standin_process(pace=0.0) as process:
        yield process


def read(store: Path, sql: str) -> list[Any]:
    with duckdb.connect(store, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def dollars(entry: dict[str, Any]) -> float:
    """What the stand-in's mid model costs, by hand: 1, 4, 0.1 and 1.25 dollars a million."""
    plain = entry["input"] - entry["cache_read"] - entry["cache_write"]
    cached = 0.1 * entry["cache_read"] + 1.25 * entry["cache_write"]
    return float(plain + cached + 4 * entry["output"]) / 1e6


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_pydantic_ai_s_calls_equal_the_bills(
    tmp_path: Path, standin: StandinProcess, dialect: str
) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    with running(store, ports):
        provider = TracerProvider()
        provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{ports.http}/v1/traces"))
        )
        async with (
            AsyncOpenAI(base_url=standin.base_url, api_key="any", max_retries=0) as openai,
            AsyncAnthropic(
                base_url=standin.base_url.removesuffix("/v1"), api_key="any", max_retries=0
            ) as anthropic,
        ):
            model: Model = (
                OpenAIChatModel("standin-mid", provider=OpenAIProvider(openai_client=openai))
                if dialect == "openai"
                else AnthropicModel(
                    "standin-mid", provider=AnthropicProvider(anthropic_client=anthropic)
                )
            )
            agent = Agent(model, name="weatherman", tools=[get_weather])
            agent.instrument = InstrumentationSettings(tracer_provider=provider)
            await agent.run(ASK_WEATHER)
        provider.shutdown()
    billed = standin.ledger()["entries"]
    assert len(billed) == 2  # the call that asks for the tool, and the one that answers
    found = read(
        store,
        "SELECT response_id, model_requested, role, dialect, input_tokens, output_tokens, "
        "coalesce(cache_read_tokens, 0), cost_usd FROM v_calls ORDER BY started_at",
    )
    assert found == [
        (
            entry["response_id"], entry["model"], "weatherman", "pydantic_ai",
            entry["input"], entry["output"], entry["cache_read"], pytest.approx(dollars(entry)),
        )
        for entry in billed
    ]  # fmt: skip
    assert read(store, "SELECT count(*) FROM calls WHERE NOT counted") == [(0,)]


INSTRUMENTATIONS = {
    "openinference": "openinference.instrumentation.openai",
    "openllmetry": "opentelemetry.instrumentation.openai",
    "semconv": "opentelemetry.instrumentation.genai.openai",
}


@pytest.mark.parametrize("dialect", INSTRUMENTATIONS)
def test_instrumented_openai_calls_equal_the_bills(
    tmp_path: Path, standin: StandinProcess, dialect: str
) -> None:
    """Plain, streamed and Responses; one instrumentation per process, since each patches openai."""
    module = INSTRUMENTATIONS[dialect]
    if not installed(module):
        lacking(f"the package that holds {module}")
    store, ports = tmp_path / "t.duckdb", free_ports()
    script = f"""
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from {module} import OpenAIInstrumentor
provider = TracerProvider()
exporter = OTLPSpanExporter("http://127.0.0.1:{ports.http}/v1/traces")
provider.add_span_processor(BatchSpanProcessor(exporter))
OpenAIInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
client = OpenAI(base_url="{standin.base_url}", api_key="any", max_retries=0)
with provider.get_tracer("agent").start_as_current_span("a", attributes={{"agent.name": "asker"}}):
    said = [{{"role": "user", "content": "Say hello to the secret"}}]
    client.chat.completions.create(model="standin-mid", messages=said)
    for _ in client.chat.completions.create(
        model="standin-mid", messages=said, stream=True, stream_options={{"include_usage": True}}
    ):
        pass
    client.responses.create(model="standin-mid", input="Say hello to the secret")
provider.shutdown()
"""
    with running(store, ports):
        subprocess.run([sys.executable, "-c", script], timeout=60, check=True)
    billed = standin.ledger()["entries"]
    found = read(
        store,
        "SELECT role, input_tokens, output_tokens, coalesce(cache_read_tokens, 0) "
        "FROM v_calls ORDER BY started_at",
    )
    assert found == [
        ("asker", entry["input"], entry["output"], entry["cache_read"]) for entry in billed
    ]
    assert len(found) == 3
    assert dialect in {name for (name,) in read(store, "SELECT DISTINCT dialect FROM v_calls")}
    assert read(store, "SELECT count(*) FROM calls WHERE attributes LIKE '%secret%'") == [(0,)]


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
