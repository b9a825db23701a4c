"""The attempts of one step: who is asked next, what each one costs, what the caller sees."""

import json
from typing import Any

import pytest

from telemetry.errors import StepError, UpstreamError, UpstreamTimeout
from telemetry.records import Attempt, Cause, Dialect, Outcome, Tokens
from tests import streams
from tests.harness import config_for
from tests.inprocess import EVENTS, JSON, Bench, Script, make_bench

CHAT = "/v1/chat/completions"
POLICY = b"""
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.small.params.chat]
reasoning_effort = "low"
temperature = 0
[tiers.mid]
models = ["standin/standin-mid", "standin/standin-small"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.worker]
tier = "mid"
on_fail = "step"
[roles.firm]
tier = "mid"
on_fail = "accept"
[roles.lowest]
tier = "small"
on_fail = "top"
[roles.default]
tier = "small"
on_fail = "accept"
"""
# 1,000 input tokens at 1 dollar and 100 output tokens at 4 dollars per million on the mid tier.
ANSWER = b'{"id": "chatcmpl-1", "choices": [{"finish_reason": "stop"}], "usage": %s}' % (
    b'{"prompt_tokens": 1000, "completion_tokens": 100}'
)
MID_COST, SMALL_COST, FRONTIER_COST = 0.0014, 0.00014, 0.0075
DOWN = [408, 500, 502, 504]
BROKEN = UpstreamError("upstream_broken", "it broke off")
UNREACHABLE = UpstreamError("upstream_unreachable", "nobody there")
SILENT = UpstreamTimeout("upstream_timeout", "it stayed silent")


def ask(role: str = "worker", **fields: Any) -> bytes:
    return json.dumps({"model": f"tierwise/{role}", "messages": [], **fields}).encode()


def good() -> Script:
    return Script(pieces=[ANSWER])


def failing(status: int) -> Script:
    body = b'{"error": {"message": "status %d"}}' % status
    return Script(status=status, pieces=[body], headers=(JSON, (b"Retry-After", b"60")))


def bench_of(*scripts: Script | StepError) -> Bench:
    bench = make_bench(POLICY)
    bench.upstream.scripts = list(scripts)
    return bench


def outcome_of(bench: Bench) -> Outcome:
    ((_, outcome),) = bench.kept.pairs
    assert [attempt.number for attempt in outcome.attempts] == list(
        range(1, len(outcome.attempts) + 1)
    )
    return outcome


def short(attempt: Attempt) -> tuple[str, str, Cause, int | None, str | None]:
    return (
        attempt.tier,
        attempt.request_model.removeprefix("standin-"),
        attempt.cause,
        attempt.status,
        attempt.error_type,
    )


@pytest.mark.parametrize("status", DOWN)
async def test_a_tiers_second_model_is_asked_when_its_first_is_down(status: int) -> None:
    bench = bench_of(failing(status), good())
    delivered = await bench.post(CHAT, ask())
    outcome = outcome_of(bench)
    assert [short(attempt) for attempt in outcome.attempts] == [
        ("mid", "mid", Cause.START, status, f"http_{status}"),
        ("mid", "small", Cause.FAILOVER, 200, None),
    ]
    assert (delivered.status, delivered.body) == (200, ANSWER)
    assert delivered.headers["x-tierwise-attempts"] == "2"
    assert delivered.headers["x-tierwise-tier"] == "mid"
    assert delivered.headers["x-tierwise-model"] == "standin/standin-small"
    assert "x-tierwise-escalated-from" not in delivered.headers
    # An error status is not billed.
    assert outcome.cost_usd == pytest.approx(SMALL_COST)
    assert float(delivered.headers["x-tierwise-cost-usd"]) == pytest.approx(SMALL_COST)
    sent = [json.loads(body)["model"] for _, _, body in bench.upstream.sent]
    assert sent == ["standin-mid", "standin-small"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_an_error_that_is_the_callers_own_is_not_tried_elsewhere(status: int) -> None:
    bench = bench_of(failing(status))
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == status
    assert delivered.headers["x-tierwise-attempts"] == "1"
    assert delivered.body == b'{"error": {"message": "status %d"}}' % status
    assert outcome_of(bench).cost_usd == 0.0


async def test_a_step_climbs_when_a_whole_tier_is_down() -> None:
    bench = bench_of(failing(500), failing(502), good())
    delivered = await bench.post(CHAT, ask())
    outcome = outcome_of(bench)
    assert [short(attempt) for attempt in outcome.attempts] == [
        ("mid", "mid", Cause.START, 500, "http_500"),
        ("mid", "small", Cause.FAILOVER, 502, "http_502"),
        ("frontier", "frontier", Cause.ESCALATION, 200, None),
    ]
    assert delivered.headers["x-tierwise-tier"] == "frontier"
    assert delivered.headers["x-tierwise-escalated-from"] == "mid"
    assert outcome.cost_usd == pytest.approx(FRONTIER_COST)


async def test_a_step_whose_arm_goes_to_the_top_skips_the_tiers_between() -> None:
    bench = bench_of(failing(500), good())
    await bench.post(CHAT, ask("lowest"))
    tiers = [attempt.tier for attempt in outcome_of(bench).attempts]
    assert tiers == ["small", "frontier"]


async def test_when_all_are_down_the_last_ones_answer_is_relayed_as_it_came() -> None:
    bench = bench_of(failing(500), failing(502), failing(504))
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == 504
    assert delivered.body == b'{"error": {"message": "status 504"}}'
    assert delivered.headers["retry-after"] == "60"
    outcome = outcome_of(bench)
    assert outcome.status == 504
    assert outcome.cost_usd == 0.0


async def test_an_arm_that_accepts_stays_on_its_tier() -> None:
    bench = bench_of(failing(500), failing(502))
    delivered = await bench.post(CHAT, ask("firm"))
    assert delivered.status == 502
    assert {attempt.tier for attempt in outcome_of(bench).attempts} == {"mid"}


async def test_a_provider_that_cannot_be_reached_costs_nothing() -> None:
    bench = bench_of(UNREACHABLE, good())
    delivered = await bench.post(CHAT, ask())
    first, second = outcome_of(bench).attempts
    assert (first.error_type, first.status, first.cost_usd) == ("upstream_error", None, 0.0)
    assert second.cost_usd == pytest.approx(SMALL_COST)
    assert delivered.body == ANSWER


@pytest.mark.parametrize("error", [SILENT, BROKEN])
async def test_what_an_answer_that_never_came_cost_is_unknown(error: StepError) -> None:
    bench = bench_of(error, good())
    delivered = await bench.post(CHAT, ask())
    first, second = outcome_of(bench).attempts
    assert first.error_type == error.type
    assert first.cost_usd is None
    assert second.cost_usd == pytest.approx(SMALL_COST)
    assert outcome_of(bench).cost_usd is None
    assert "x-tierwise-cost-usd" not in delivered.headers


@pytest.mark.parametrize(("error", "status"), [(UNREACHABLE, 502), (BROKEN, 502), (SILENT, 504)])
async def test_when_nobody_answers_the_caller_gets_our_error(error: StepError, status: int) -> None:
    bench = bench_of(error, error)
    delivered = await bench.post(CHAT, ask("firm"))
    assert delivered.status == status
    said = json.loads(delivered.body)["error"]
    assert (said["type"], said["code"]) == (error.type, error.code)
    assert delivered.headers["x-tierwise-attempts"] == "2"
    outcome = outcome_of(bench)
    assert (outcome.status, outcome.error_code) == (status, error.code)


async def test_an_answer_that_breaks_off_before_it_is_whole_is_asked_for_elsewhere() -> None:
    bench = bench_of(Script(pieces=[ANSWER[:30], BROKEN]), good())
    delivered = await bench.post(CHAT, ask())
    assert delivered.body == ANSWER
    first, second = outcome_of(bench).attempts
    assert (first.error_type, first.status) == ("upstream_error", 200)
    assert second.error_type is None


# Streams --------------------------------------------------------------------------------------


async def test_a_stream_that_begins_with_an_error_is_asked_for_elsewhere() -> None:
    bad = b'data: {"error": {"type": "overloaded", "message": "x"}}\n\n'
    sent = streams.chat()
    bench = bench_of(
        Script(pieces=[bad], headers=(EVENTS,)), Script(pieces=[sent], headers=(EVENTS,))
    )
    body = ask(stream=True, stream_options={"include_usage": True})
    delivered = await bench.post(CHAT, body)
    assert delivered.body == sent
    first, second = outcome_of(bench).attempts
    assert first.error_type == "overloaded"
    assert second.tokens == streams.TOKENS[Dialect.CHAT]


@pytest.mark.parametrize(("dialect", "path"), streams.PATHS.items())
async def test_a_stream_that_breaks_in_the_middle_ends_with_an_error_event(
    dialect: Dialect, path: str
) -> None:
    sent = streams.stream_of(dialect)[:700]
    bench = bench_of(Script(pieces=[sent, BROKEN], headers=(EVENTS,)))
    body = ask(stream=True, stream_options={"include_usage": True})
    delivered = await bench.post(path, body)
    assert delivered.status == 200
    assert delivered.body.startswith(sent)
    assert delivered.ended
    said = delivered.body[len(sent) :]
    assert b"upstream_broken" in said
    assert said.endswith(b"\n\n")
    (attempt,) = outcome_of(bench).attempts
    assert attempt.error_type == "upstream_error"
    assert outcome_of(bench).cost_usd is None
    assert len(bench.upstream.sent) == 1


@pytest.mark.parametrize(("dialect", "path"), streams.PATHS.items())
async def test_a_stream_that_just_stops_in_the_middle_is_not_taken_for_whole(
    dialect: Dialect, path: str
) -> None:
    whole = streams.stream_of(dialect)
    cut = whole.index(b"\n\n", 700) + 2
    bench = bench_of(Script(pieces=[whole[:cut]], headers=(EVENTS,)))
    body = ask(stream=True, stream_options={"include_usage": True})
    delivered = await bench.post(path, body)
    assert delivered.body.startswith(whole[:cut])
    assert b"upstream_broken" in delivered.body[cut:]
    (attempt,) = outcome_of(bench).attempts
    assert attempt.error_type == "truncated"
    assert attempt.tokens.output is None


async def test_a_stream_is_a_stream_only_if_the_provider_says_so() -> None:
    bench = bench_of(good())
    delivered = await bench.post(CHAT, ask(stream=True))
    assert delivered.body == ANSWER
    assert delivered.headers["content-length"] == str(len(ANSWER))
    assert outcome_of(bench).attempts[0].tokens == Tokens(input=1_000, output=100)


# What is sent ---------------------------------------------------------------------------------


async def test_a_tiers_parameters_are_set_on_its_dialect_alone() -> None:
    bench = bench_of(good())
    await bench.post(CHAT, ask("default", temperature=1, top_p=0.5))
    sent = json.loads(bench.upstream.sent[0][2])
    assert sent == {
        "model": "standin-small",
        "messages": [],
        "temperature": 0,
        "top_p": 0.5,
        "reasoning_effort": "low",
    }
    other = bench_of(good())
    await other.post("/v1/responses", ask("default", temperature=1))
    assert json.loads(other.upstream.sent[0][2])["temperature"] == 1


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        (
            {"stream_options": {"include_usage": False, "x": 1}},
            {"include_usage": True, "x": 1},
        ),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
    ],
)
async def test_a_chat_streams_usage_is_always_asked_for(
    given: dict[str, Any], sent: dict[str, Any]
) -> None:
    bench = bench_of(Script(pieces=[streams.chat()], headers=(EVENTS,)))
    await bench.post(CHAT, ask(stream=True, **given))
    assert json.loads(bench.upstream.sent[0][2])["stream_options"] == sent


async def test_usage_is_not_asked_for_where_it_does_not_belong() -> None:
    quiet = make_bench(POLICY, config=config_for(9, provider="stream_usage = false"))
    quiet.upstream.scripts = [Script(pieces=[streams.chat()], headers=(EVENTS,))]
    delivered = await quiet.post(CHAT, ask(stream=True))
    assert "stream_options" not in json.loads(quiet.upstream.sent[0][2])
    assert delivered.body == streams.chat()
    for path, stream in ((CHAT, False), ("/v1/responses", True), ("/v1/messages", True)):
        bench = bench_of(good())
        await bench.post(path, ask(stream=stream))
        assert "stream_options" not in json.loads(bench.upstream.sent[0][2])


async def test_each_path_leads_to_the_same_path_at_the_provider() -> None:
    for path in (CHAT, "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"):
        bench = bench_of(good())
        await bench.post(path, ask())
        assert str(bench.upstream.sent[0][0]) == f"http://127.0.0.1:9{path}"
        assert len(bench.kept.pairs) == (0 if path.endswith("count_tokens") else 1)


async def test_text_is_kept_only_where_the_operator_wants_it_and_only_so_much() -> None:
    silent = bench_of(good())
    await silent.post(CHAT, ask())
    assert silent.kept.contents == [None]
    asked = ask()
    bench = make_bench(POLICY, content_bytes_max=20)
    bench.upstream.scripts = [failing(500), good()]
    await bench.post(CHAT, asked)
    (content,) = bench.kept.contents
    assert content is not None
    assert content.request == asked[:20]
    assert content.answers[-1] == ANSWER[:20]
    assert len(content.answers) == 2
