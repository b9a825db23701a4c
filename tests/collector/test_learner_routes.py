"""The learner over HTTP: what it knows, and a tick at once."""

from typing import Any

import pytest

from tests.collector.conftest import Running, Start
from tests.collector.otlp import Trace, evaluation
from tests.collector.teaching import role, role_terms, terms

LOGS = "/v1/logs"


async def ticked(running: Running, query: str = "") -> tuple[int, Any]:
    async with running.session.post(f"{running.console}/api/learning/tick{query}") as answer:
        return answer.status, await answer.json()


async def test_a_tick_can_be_asked_for_and_its_report_be_read(start: Start) -> None:
    running = await start(terms=terms(role_terms("worker"), role_terms("idle", learn="off")))
    assert (await running.get("/api/learning"))["roles"] == []
    status, report = await ticked(running)
    assert status == 200
    assert role(report, "idle")["idle"] == "learn is off"
    entry = role(report, "worker")
    assert entry["standing"] == "unproven"
    assert entry["blocked_by"] == ["quality_disarmed"]  # the alert has seen nothing and has no sink
    assert [arm["arm"] for arm in entry["arms"]] == [
        "small/accept",
        "small/step",
        "frontier/accept",
    ]
    assert await running.get("/api/learning") == report


async def test_a_dry_tick_leaves_no_trace(start: Start) -> None:
    running = await start(terms=terms(role_terms("worker")))
    status, report = await ticked(running, "?dry=true")
    assert (status, len(report["roles"])) == (200, 1)
    assert (await running.get("/api/learning"))["roles"] == []


async def test_without_a_policy_there_is_nothing_to_learn(start: Start) -> None:
    running = await start()
    status, report = await ticked(running, "?dry=true")
    assert (status, report["trouble"]) == (200, "the collector has no policy")


@pytest.mark.parametrize("token", [None, "s3cret"])
async def test_words_over_otlp_are_proven_where_senders_must_show_a_token(
    start: Start, token: str | None
) -> None:
    running = await start(token=token)
    sent = {} if token is None else {"authorization": f"Bearer {token}"}
    trace = Trace()
    span = trace.call({}, tokens=(1, 1))
    assert (await running.post("/v1/traces", trace.body(), **sent))[0] == 200
    score = {"gen_ai.evaluation.score.value": 0.5, "tierwise.evaluation.chance": 0.25}
    body = evaluation("judge", score, trace_id=trace.trace_id, span_id=span)
    assert (await running.post(LOGS, body, **sent))[0] == 200
    rows = running.store.read("SELECT authenticated, chance FROM evaluations")
    assert rows == [{"authenticated": token is not None, "chance": 0.25}]
