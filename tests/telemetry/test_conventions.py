from typing import Any

from telemetry import names
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
    spread = metrics.token_usage.spread({**CALL, names.TOKEN_TYPE: "input"})
    for tokens in (0, 1, 2, 1_200, 10**9):
        spread.record(tokens)
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
    metrics.token_usage.spread(CALL)
    assert metrics.encode(start_ns=START_NS, now_ns=NOW_NS) == []


def test_the_same_attributes_are_counted_together() -> None:
    duration = ConventionMetrics().operation_duration
    assert duration.spread(CALL) is duration.spread(dict(CALL))
    assert duration.spread(CALL) is not duration.spread({**CALL, "error.type": "timeout"})
