from typing import Any

import pytest

from telemetry.evaluators import EvaluatorConfig
from telemetry.terms import Terms
from tests.collector.conftest import Running, Start
from tests.collector.otlp import NOW_NS, Trace, evaluation
from tests.collector.test_duckdb_store import routed


async def feedback(running: Running, **body: Any) -> tuple[int, Any]:
    headers = {}
    if "token" in body:
        headers["authorization"] = f"Bearer {body.pop('token')}"
    async with running.session.post(
        running.console + "/v1/feedback", json=body, headers=headers
    ) as answer:
        return answer.status, await answer.json()


async def test_health_says_ready_and_metrics_are_text(start: Start) -> None:
    running = await start()
    assert await running.get("/livez") == {"status": "ok"}
    assert await running.get("/readyz") == {"status": "ok", "collector": "ok"}
    async with running.session.get(running.console + "/metrics") as answer:
        assert "tierwise_collector_store_up 1.0" in await answer.text()


async def test_the_scoreboard_shows_spend_and_quality_by_role_and_tier(start: Start) -> None:
    running = await start()
    trace = Trace()
    # planner: 0.002 + 0.0008 on no tier; worker: two calls on mid, 0.002 each, one of them failed
    trace.call({"gen_ai.agent.name": "planner"}, tokens=(1_000, 100), seconds=1.0)
    worker = {"gen_ai.agent.name": "worker", "tierwise.tier": "mid"}
    good = trace.call(worker, tokens=(1_000, 0), seconds=2.0)
    trace.call({**worker, "error.type": "timeout"}, tokens=(1_000, 0), seconds=4.0)
    trace.call({"gen_ai.request.model": "no-such-model"}, seconds=0.5)
    assert (await running.post("/v1/traces", trace.body()))[0] == 200
    word = {"gen_ai.evaluation.score.value": 0.5}
    await running.post("/v1/logs", evaluation("judge", word, trace_id=trace.trace_id, span_id=good))
    board = await running.settled(
        "/api/roles", lambda found: any(role["quality"] for role in found["roles"])
    )
    assert board["calls"] == 4
    assert board["spend_usd"] == pytest.approx(0.0068)
    assert board["role_coverage"] == pytest.approx(1.0)
    assert board["coverage"]["price"] == pytest.approx(0.75)
    assert [role["role"] for role in board["roles"]] == ["worker", "planner", None]
    found = board["roles"][0]
    assert found["spend_share"] == pytest.approx(0.004 / 0.0068)
    assert found["error_rate"] == 0.5
    assert found["quality"] == pytest.approx(
        {"mean": 0.5, "low": 0.0546, "high": 0.9454, "n": 1}, abs=1e-3
    )
    assert found["latency"]["p95"] == pytest.approx(4.0, rel=0.03)
    assert found["tiers"][0]["tier"] == "mid"
    assert found["cost_per_task_usd"] == pytest.approx(0.004)
    assert found["cost_per_passed_task_usd"] == pytest.approx(0.004)
    assert found["first_tier_pass_rate"] is None
    assert board["roles"][2]["spend_usd"] == 0
    assert board["roles"][2]["cost_per_task_usd"] is None


async def test_a_decision_is_explained_with_attempts_verdicts_and_feedback(start: Start) -> None:
    running = await start()
    await running.post("/v1/traces", routed().body())
    word = {"gen_ai.evaluation.score.label": "fail", "tierwise.decision.id": "d1"}
    await running.post("/v1/logs", evaluation("schema", word))
    assert (await feedback(running, decision="d1", name="user", score=1))[0] == 202
    found = await running.get("/api/decisions/d1")
    assert found["decision"]["tier_start"] == "small"
    assert [attempt["tier"] for attempt in found["attempts"]] == ["small", "mid"]
    assert [word["name"] for word in found["verdicts"]] == ["schema"]
    assert [word["source"] for word in found["feedback"]] == ["feedback:api"]
    listed = await running.get("/api/decisions?role=worker")
    assert [row["decision_id"] for row in listed["decisions"]] == ["d1"]
    assert (await running.get("/api/decisions?role=other"))["decisions"] == []
    board = await running.settled(
        "/api/roles", lambda board: any(role["quality"] for role in board["roles"])
    )
    assert board["roles"][0]["quality"]["mean"] == 1.0  # feedback outranks the check
    assert board["roles"][0]["escalation_rate"] == 1.0
    assert board["roles"][0]["first_tier_pass_rate"] == 0.0


async def test_a_decision_that_is_not_known_is_a_404_that_says_so(start: Start) -> None:
    running = await start()
    async with running.session.get(running.console + "/api/decisions/nope") as answer:
        assert answer.status == 404
        assert "may be on its way" in (await answer.json())["error"]["message"]


async def test_feedback_before_its_span_counts_and_counts_once(start: Start) -> None:
    running = await start()
    assert (await feedback(running, response_id="r9", name="user", label="good"))[0] == 202
    again = await feedback(running, response_id="r9", name="user", label="good")
    assert (again[0], again[1]["status"]) == (200, "duplicate")
    assert (await feedback(running, response_id="r9", name="user", label="bad"))[0] == 409
    trace = Trace()
    trace.call({"gen_ai.response.id": "r9", "gen_ai.agent.name": "w"})
    await running.post("/v1/traces", trace.body())
    board = await running.settled(
        "/api/roles", lambda board: any(role["quality"] for role in board["roles"])
    )
    assert board["roles"][0]["quality"]["n"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"name": "n", "score": 1},
        {"decision": "d", "score": 1},
        {"decision": "d", "name": "n"},
        {"decision": "d", "response_id": "r", "name": "n", "score": 1},
        {"trace_id": "ab" * 16, "name": "n", "score": 1},
        {"trace_id": "x" * 32, "span_id": "ab" * 8, "name": "n", "score": 1},
        {"decision": "d", "name": "n", "score": 2.0},
        {"decision": "d", "name": "n", "score": -0.1},
        {"decision": "d", "name": "n", "score": "pass"},
        {"decision": "d", "name": "n", "score": True},
        {"decision": "d", "name": "n", "score": 1, "comment": "x" * 5_000},
        {"decision": "d", "name": "n", "score": 1, "sorce": "x"},
        {"decision": "d" * 300, "name": "n", "score": 1},
    ],
)
async def test_feedback_that_makes_no_sense_is_refused_not_clipped(
    start: Start, body: dict[str, Any]
) -> None:
    running = await start()
    status, answer = await feedback(running, **body)
    assert status == 422
    assert answer["error"]["message"]


async def test_nan_is_refused(start: Start) -> None:
    running = await start()
    async with running.session.post(
        running.console + "/v1/feedback",
        data=b'{"decision": "d", "name": "n", "score": NaN}',
        headers={"content-type": "application/json"},
    ) as answer:
        assert answer.status == 422


async def test_a_source_without_the_token_has_an_hour_s_worth_and_is_told_when_more(
    start: Start,
) -> None:
    running = await start(token="s3cret", feedback_per_hour=2)

    async def graded(decision: str, **more: Any) -> int:
        return (await feedback(running, decision=decision, name="n", score=1, **more))[0]

    assert [await graded(one) for one in "aabc"] == [202, 200, 202, 429]
    assert await graded("c", source="other") == 202
    assert [await graded(one, token="s3cret") for one in "defg"] == [202] * 4
    async with running.session.post(
        running.console + "/v1/feedback", json={"decision": "h", "name": "n", "score": 1}
    ) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 3_600
        assert "feedback_per_hour" in (await answer.json())["error"]["message"]
    assert b"tierwise_collector_feedback_capped_total 2.0" in running.meters.text()
    assert len(running.store.read("SELECT 1 FROM evaluations")) == 7


async def test_only_the_token_makes_feedback_authenticated(start: Start) -> None:
    running = await start(token="s3cret")
    assert (await feedback(running, decision="a", name="n", score=1))[0] == 202
    assert (await feedback(running, decision="b", name="n", score=1, token="s3cret"))[0] == 202
    assert (await feedback(running, decision="c", name="n", score=1, token="wrong"))[0] == 401
    rows = running.store.read(
        "SELECT decision_id, authenticated FROM evaluations ORDER BY decision_id"
    )
    assert rows == [
        {"decision_id": "a", "authenticated": False},
        {"decision_id": "b", "authenticated": True},
    ]


async def test_the_policy_says_how_an_evaluator_s_words_are_read(start: Start) -> None:
    evaluators = {
        "stars": EvaluatorConfig(scale=(1, 5)), "words": EvaluatorConfig(labels={"meh": 0.4}),
    }  # fmt: skip
    terms = Terms(policy_hash="p1", ladder=(), tiers={}, roles=(), evaluators=evaluators)
    running = await start(terms=terms)
    assert (await feedback(running, decision="a", name="stars", score=4))[0] == 202
    assert (await feedback(running, decision="a", name="words", label="meh"))[0] == 202
    assert (await feedback(running, decision="a", name="words", label="overprovisioned"))[0] == 409
    assert (await feedback(running, decision="a", name="x", label="overprovisioned"))[0] == 202
    rows = running.store.read("SELECT name, score, score_raw FROM evaluations ORDER BY name")
    assert rows == [
        {"name": "stars", "score": 0.75, "score_raw": 4.0},
        {"name": "words", "score": 0.4, "score_raw": None},
        {"name": "x", "score": None, "score_raw": None},
    ]


async def test_sql_reads_and_never_writes(start: Start) -> None:
    running = await start()
    trace = Trace()
    trace.call()
    await running.post("/v1/traces", trace.body())
    async with running.session.post(
        running.console + "/api/sql", json={"sql": "SELECT input_tokens FROM v_calls"}
    ) as answer:
        assert await answer.json() == {
            "columns": ["input_tokens"], "rows": [[100]], "truncated": False,
        }  # fmt: skip
    async with running.session.post(
        running.console + "/api/sql", json={"sql": "DELETE FROM calls"}
    ) as answer:
        assert answer.status == 400


async def test_an_export_is_a_page_and_a_cursor(start: Start) -> None:
    running = await start()
    trace = Trace()
    trace.call()
    await running.post("/v1/traces", trace.body())
    async with running.session.get(running.console + "/api/export/calls") as answer:
        cursor = answer.headers["x-tierwise-cursor"]
        assert f'"start_ns":{NOW_NS}' in await answer.text()
    async with running.session.get(
        running.console + "/api/export/calls", params={"cursor": cursor}
    ) as answer:
        assert answer.status == 204
    async with running.session.get(
        running.console + "/api/export/calls", params={"form": "parquet"}
    ) as answer:
        assert (await answer.read())[:4] == b"PAR1"
    async with running.session.get(running.console + "/api/export/secrets") as answer:
        assert answer.status == 400
