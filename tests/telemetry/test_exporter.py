from dataclasses import replace
from pathlib import Path

from telemetry import names
from telemetry.config import TelemetryConfig
from telemetry.records import Result, Verdict
from telemetry.spans import Content
from tests.telemetry import steps
from tests.telemetry.exporting import EXPORTED, dropped, make, other, record, running
from tests.telemetry.sinks import http_sink, until


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


async def test_a_grade_that_comes_later_is_a_word_without_a_second_span(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            decision, outcome = steps.decision(), steps.outcome()
            exporter.record(decision, outcome)
            word = Verdict(check="judge", version="1", result=Result.FAIL, score=0.0, chance=0.25)
            attempt = replace(outcome.attempts[0], verdicts=(word,))
            exporter.judged(decision, replace(outcome, attempts=(attempt,)))
            await until(lambda: len(sink.events) == 2)
        assert len(sink.spans) == 2
        assert meters.value("tierwise_telemetry_recorded_total") == 1
    said = [{a.key: a.value for a in event.attributes} for event in sink.events]
    chances = [each.get("tierwise.evaluation.chance") for each in said]
    assert chances[0] is None
    assert chances[1] is not None
    assert chances[1].double_value == 0.25


async def test_text_is_sent_only_when_the_operator_says_so(tmp_path: Path) -> None:
    content = Content(request=b"q" * 1_000, answers=(b"a" * 1_000,))
    for recorded in (False, True):
        async with http_sink() as sink:
            config = TelemetryConfig(content=recorded, content_bytes_max=256)
            exporter, _ = make(tmp_path, collector=sink.url, config=config)
            async with running(exporter):
                exporter.record(steps.decision(), steps.outcome(), content=content)
                await until(lambda sink=sink: len(sink.spans) == 2)  # type: ignore[misc]
            shown = {a.key: a.value.string_value for s in sink.spans for a in s.attributes}
            assert ("gen_ai.input.messages" in shown) is recorded
            assert shown.get("gen_ai.output.messages") == ("a" * 256 if recorded else None)


async def test_only_allow_listed_baggage_is_copied(tmp_path: Path) -> None:
    async with http_sink() as sink:
        config = TelemetryConfig(baggage=("tenant", "gen_ai.agent.name", "tierwise.role"))
        exporter, _ = make(tmp_path, collector=sink.url, config=config)
        async with running(exporter):
            exporter.record(
                steps.decision(), steps.outcome(), 
                baggage={
                    "tenant": "acme", "secret": "x", "gen_ai.agent.name": "a", "tierwise.role": "b"
                },
            )  # fmt: skip
            await until(lambda: len(sink.spans) == 2)
        route = {a.key: a.value.string_value for a in sink.spans[0].attributes}
        assert route["tenant"] == "acme"
        assert "secret" not in route
        assert "gen_ai.agent.name" not in route
        assert route["tierwise.role"] == "worker"


async def test_the_conventions_metrics_go_out_over_otlp(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, meters = make(
            tmp_path, collector=sink.url, env={"OTEL_METRIC_EXPORT_INTERVAL": "100"}
        )
        async with running(exporter):
            meters.observe(steps.decision(), steps.outcome())
            await until(lambda: len(sink.metrics) >= 2)
        assert {metric.name for metric in sink.metrics} == {
            "gen_ai.client.token.usage",
            "gen_ai.client.operation.duration",
        }


async def test_without_an_endpoint_steps_are_only_counted(tmp_path: Path) -> None:
    exporter, meters = make(tmp_path, collector=None)
    async with running(exporter):
        record(exporter, 10)
        assert exporter._waiting_spans == 0
    assert meters.value("tierwise_telemetry_recorded_total") == 10
    assert not (tmp_path / "spool").exists()


async def test_steps_recorded_before_the_start_are_sent_and_those_after_the_end_counted(
    tmp_path: Path,
) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        ids = record(exporter, 2, seed=1)
        async with running(exporter):
            await until(lambda: len(sink.spans) == 4)
        record(exporter, 3, seed=2)
        assert sorted(sink.span_ids) == sorted(ids)
        assert dropped(meters, "all", "shutdown") == 6


async def test_the_standard_limit_on_the_length_of_values_counts(tmp_path: Path) -> None:
    async with http_sink() as sink:
        env = {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4"}
        exporter, _ = make(tmp_path, collector=sink.url, env=env)
        async with running(exporter):
            record(exporter, 1)
            await until(lambda: len(sink.spans) == 2)
        values = {a.value.string_value for span in sink.spans for a in span.attributes}
        assert max(map(len, values)) == 4


async def test_every_request_names_the_service_the_scope_and_the_schema(tmp_path: Path) -> None:
    async with http_sink() as sink:
        exporter, meters = make(tmp_path, collector=sink.url)
        async with running(exporter):
            record(exporter, 1)
            meters.observe(steps.decision(), steps.outcome())
            await until(lambda: len(sink.spans) == 2 and len(sink.events) == 1)
        await until(lambda: len(sink.metrics) == 2)  # closing sends the last figures
        for signal, request in sink.requests:
            parts = {"traces": "spans", "logs": "logs", "metrics": "metrics"}[signal]
            (whole,) = getattr(request, f"resource_{parts}")
            (scoped,) = getattr(whole, f"scope_{parts}")
            resource = {a.key: a.value.string_value for a in whole.resource.attributes}
            assert resource["service.name"] == "tierwise"
            assert scoped.scope.name == "tierwise"
            assert whole.schema_url == scoped.schema_url == names.SCHEMA_URL
