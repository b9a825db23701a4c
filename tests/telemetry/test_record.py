import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from telemetry.config import TelemetryConfig
from telemetry.spans import Content
from tests.telemetry import steps
from tests.telemetry.exporting import dropped, make, record, running
from tests.telemetry.sinks import http_sink, until


async def test_every_step_is_encoded_even_when_some_cannot_be(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            exporter.record(steps.decision(), steps.outcome(trace_id="not hex"))
            ids = record(exporter, 3)
            await until(lambda: len(sink.spans) == 6)
        assert sorted(sink.span_ids) == sorted(ids)
        assert dropped(meters, "all", "encoding") == 2
        assert meters.value("tierwise_telemetry_faults_total") == 1


odd_values = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.just("\ud800" * 3)
    | st.just("x" * 200_000)
    | st.binary(max_size=20)
    | st.lists(st.integers(), max_size=2)
    | st.builds(object)
)


class Odd:
    """Stands for a record and answers every attribute with some value."""

    def __init__(self, values: dict[str, Any], fallback: Any) -> None:
        self.__dict__.update(values)
        self._fallback = fallback

    def __getattr__(self, name: str) -> Any:
        return self._fallback


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["decision_id", "at_ns", "offered", "propensity", "reason", "trace_id", "span_id",
             "sampled", "ended_ns", "attempts", "status", "quality", "overhead_seconds"]
        ),
        odd_values,
    ),
    odd_values,
    odd_values,
    st.none() | st.builds(Content, request=st.none() | st.binary(max_size=9)) | st.builds(object),
)  # fmt: skip
async def test_recording_never_raises_whatever_it_is_given(
    tmp_path_factory: pytest.TempPathFactory,
    values: dict[str, Any],
    fallback: Any,
    baggage: Any,
    content: Any,
) -> None:
    config = TelemetryConfig(baggage=("tenant",), content=True)
    exporter, meters = make(
        tmp_path_factory.getbasetemp(), collector="http://127.0.0.1:1", config=config
    )
    odd: Any = Odd(values, fallback)
    nothing: Any = None
    for decision, outcome in (
        (odd, steps.outcome()), (steps.decision(), odd), (odd, odd), (nothing, nothing)
    ):  # fmt: skip
        exporter.record(decision, outcome, baggage=baggage, content=content)
        meters.observe(decision, outcome)
    exporter.record(steps.decision(), steps.outcome())
    while exporter._waiting:
        exporter._encode_slice()
    everything, _ = exporter._span_pile.batches()
    assert everything is not None
    message = trace_service_pb2.ExportTraceServiceRequest.FromString(everything.body)
    spans = message.resource_spans[0].scope_spans[0].spans
    assert [span.name for span in spans][-2:] == ["route worker", "chat gpt-5.5"]
    assert (exporter._waiting_spans, exporter._content_bytes) == (0, 0)


async def test_memory_is_bounded_while_nothing_can_be_sent(tmp_path: Path) -> None:
    async with http_sink() as sink:
        sink.hold.clear()
        config = TelemetryConfig(queue_spans=512, spool_mb=0)
        exporter, meters = make(tmp_path, collector=sink.url, config=config)
        async with running(exporter):
            for seed in range(20):
                record(exporter, 250, seed=seed)
                await asyncio.sleep(0.02)
            record(exporter, 1_000, seed=99)
            assert exporter._waiting_spans <= 512
            assert dropped(meters, "all", "queue_full") >= 1_400
            await until(lambda: dropped(meters, "collector", "queue_full") > 0)
            sender = exporter._senders[0]
            assert sum(batch.records for batch in sender._queue) <= 512
            sink.hold.set()
        everything = 2 * (20 * 250 + 1_000)
        lost = dropped(meters, "all", "queue_full") + dropped(meters, "collector", "queue_full")
        assert lost + len(sink.spans) == everything


async def test_encoding_keeps_up_when_many_steps_finish_in_each_turn_of_the_loop(
    tmp_path: Path,
) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            for seed in range(300):
                record(exporter, 40, seed=seed)
                await asyncio.sleep(0)
                assert exporter._waiting_spans < 1_000
        assert dropped(meters, "all", "queue_full") == 0
