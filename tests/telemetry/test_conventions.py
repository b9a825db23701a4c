import math
from typing import Any

import pytest

from telemetry import conventions, names
from telemetry.conventions import ConventionMetrics
from telemetry.otlp import Envelope
from tests.telemetry import decoding

ENVELOPE = Envelope({"service.name": "tierwise"}, scope="tierwise", schema_url="urn:schema")
START_NS, NOW_NS = 1_000, 2_000
CALL: dict[str, object] = {names.OPERATION: "chat", names.REQUEST_MODEL: "gpt-5.5"}


def read(metrics: ConventionMetrics) -> dict[str, Any]:
    request = ENVELOPE.wrap(metrics.encode(start_ns=START_NS, now_ns=NOW_NS))
    return {metric.name: metric for metric in decoding.metrics(request)}


def test_a_histogram_is_sent_whole_and_cumulative() -> None:
    metrics = ConventionMetrics()
    series = metrics.token_usage.series({**CALL, names.TOKEN_TYPE: "input"})
    for tokens in (0, 1, 2, 1_200, 10**9):
        series.record(tokens)
    (metric,) = read(metrics).values()
    assert metric.name == "gen_ai.client.token.usage"
    assert metric.unit == "{token}"
    histogram = metric.histogram
    assert histogram.aggregation_temporality == 2
    (point,) = histogram.data_points
    assert decoding.attributes(point.attributes) == {**CALL, "gen_ai.token.type": "input"}
    assert tuple(point.explicit_bounds) == names.TOKEN_BUCKETS
    # 0 and 1 fall up to 1; 2 up to 4; 1,200 up to 4,096; a thousand million beyond all.
    assert list(point.bucket_counts) == [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (point.count, point.sum, point.min, point.max) == (5, 1_000_001_203, 0, 10**9)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (START_NS, NOW_NS)


def test_a_metric_without_data_is_not_sent() -> None:
    metrics = ConventionMetrics()
    metrics.token_usage.series(CALL)
    assert metrics.encode(start_ns=START_NS, now_ns=NOW_NS) == []


def test_the_same_attributes_are_one_series() -> None:
    duration = ConventionMetrics().operation_duration
    assert duration.series(CALL) is duration.series(dict(CALL))
    assert duration.series(CALL) is not duration.series({**CALL, "error.type": "timeout"})


def test_not_a_number_is_left_out() -> None:
    series = ConventionMetrics().operation_duration.series(CALL)
    series.record(math.nan)
    series.record(0.5)
    assert (series.count, series.total) == (1, 0.5)


def test_beyond_the_limit_one_series_takes_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conventions, "SERIES_MAX", 3)
    metrics = ConventionMetrics()
    for number in range(10):
        metrics.token_usage.series({"n": number}).record(1)
    metric = read(metrics)["gen_ai.client.token.usage"]
    points = metric.histogram.data_points
    counted = {tuple(decoding.attributes(p.attributes).items()): p.count for p in points}
    assert counted == {
        (("n", 0),): 1,
        (("n", 1),): 1,
        (("n", 2),): 1,
        (("otel.metric.overflow", True),): 7,
    }
