"""An exporter for tests, with real sinks at the other end."""

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
from tests.telemetry.sinks import Sink

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
        worker=more.pop("worker", "0"),
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
