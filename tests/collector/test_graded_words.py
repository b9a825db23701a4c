"""Words of our own gateways: checks, and graders, who name the chance that they were drawn with."""

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from telemetry import names
from tests.collector.conftest import Start
from tests.collector.otlp import Trace, evaluation

SCORE = {"gen_ai.evaluation.score.value": 0.5}
CHANCE = {"tierwise.evaluation.chance": 0.25}


@pytest.mark.parametrize(
    ("scope", "more", "wanted"),
    [
        (names.SCOPE, {}, ("check", 1, None)),
        (names.SCOPE, CHANCE, ("event", 2, 0.25)),
        ("elsewhere", CHANCE, ("event", 2, 0.25)),
        ("elsewhere", {}, ("event", 2, None)),
    ],
)
async def test_a_word_with_a_chance_is_a_judge_s_and_ranks_above_checks(
    start: Start, scope: str, more: dict[str, float], wanted: tuple[str, int, float | None]
) -> None:
    running = await start()
    trace = Trace()
    span = trace.call({}, tokens=(1, 1))
    assert (await running.post("/v1/traces", trace.body()))[0] == 200
    body = evaluation("judge", SCORE | more, trace_id=trace.trace_id, span_id=span)
    request = ExportLogsServiceRequest.FromString(body)
    request.resource_logs[0].scope_logs[0].scope.name = scope
    assert (await running.post("/v1/logs", request.SerializeToString()))[0] == 200
    (row,) = running.store.read("SELECT source, rank, chance FROM evaluations")
    assert (row["source"], row["rank"], row["chance"]) == wanted
