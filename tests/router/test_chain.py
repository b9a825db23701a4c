"""The attempts of one step: who is asked next, what each one costs, what the caller sees."""

import json
from typing import Any

import pytest

from telemetry.errors import StepError, UpstreamError, UpstreamTimeout
from telemetry.records import Attempt, Cause, Dialect, Outcome, Result, Tokens
from tests import streams
from tests.harness import config_for
from tests.inprocess import EVENTS, JSON, Bench, Delivered, Script, make_bench

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
range = ["mid", "mid"]
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
BROKEN = UpstreamError("upstream_broken", "it broke off", hint="try again")
UNREACHABLE = UpstreamError("upstream_unreachable", "nobody there", hint="try again")
SILENT = UpstreamTimeout("upstream_timeout", "it stayed silent", hint="try again")


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


@pytest.mark.parametrize("status", [400, 404, 413, 422])
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


async def test_a_range_of_one_tier_is_never_left() -> None:
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


# Checks ---------------------------------------------------------------------------------------

CHECK = """
checks = ["not_empty", { check = "required_keys", keys = ["a", "b"] }]
"""
CHECKED = f"""
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[plans]
escalations_max = 2
[roles.worker]
tier = "small"
{CHECK}
[roles.strict]
tier = "small"
unpassed = "refuse"
{CHECK}
[roles.top]
tier = "small"
on_fail = "top"
{CHECK}
[roles.alone]
tier = "small"
range = ["small", "small"]
{CHECK}
[roles.firm]
tier = "small"
on_fail = "accept"
{CHECK}
[roles.few]
tier = "small"
attempts_max = 2
{CHECK}
[roles.effects]
tier = "small"
side_effects = true
{CHECK}
[roles.default]
tier = "small"
""".encode()
NOTHING, HALF, WHOLE = "{}", '{"a": 1}', '{"a": 1, "b": 2}'  # scores 0, 0.5 and 1


def said(text: str, *, dialect: Dialect = Dialect.CHAT) -> Script:
    """Return an answer of 1,000 input and 100 output tokens."""
    usage: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 100}
    body: dict[str, Any]
    if dialect is Dialect.MESSAGES:
        body = {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    elif dialect is Dialect.RESPONSES:
        content = [{"type": "output_text", "text": text}]
        body = {"output": [{"type": "message", "content": content}], "status": "completed"}
    else:
        usage = {"prompt_tokens": 1_000, "completion_tokens": 100}
        body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    return Script(pieces=[json.dumps({"id": f"id-{text}", **body, "usage": usage}).encode()])


def checked(*texts: str | Script | StepError, dialect: Dialect = Dialect.CHAT) -> Bench:
    bench = make_bench(CHECKED)
    bench.upstream.scripts = [
        said(text, dialect=dialect) if isinstance(text, str) else text for text in texts
    ]
    return bench


def text_of(delivered: Delivered) -> str:
    found: str = json.loads(delivered.body)["choices"][0]["message"]["content"]
    return found


async def test_an_answer_that_passes_is_the_only_one() -> None:
    bench = checked(WHOLE)
    delivered = await bench.post(CHAT, ask())
    assert text_of(delivered) == WHOLE
    assert delivered.headers["x-tierwise-check"] == "pass"
    outcome = outcome_of(bench)
    assert (outcome.quality, outcome.quality_source) == (1.0, "not_empty")
    assert outcome.cost_usd == pytest.approx(SMALL_COST)


async def test_a_failed_check_asks_one_tier_up_and_every_attempt_counts() -> None:
    bench = checked(HALF, NOTHING, WHOLE)
    delivered = await bench.post(CHAT, ask())
    assert text_of(delivered) == WHOLE
    decision, outcome = bench.kept.pairs[0]
    assert [short(attempt) for attempt in outcome.attempts] == [
        ("small", "small", Cause.START, 200, None),
        ("mid", "mid", Cause.ESCALATION, 200, None),
        ("frontier", "frontier", Cause.ESCALATION, 200, None),
    ]
    verdicts = [[said.result for said in attempt.verdicts] for attempt in outcome.attempts]
    assert verdicts == [
        [Result.PASS, Result.FAIL],
        [Result.PASS, Result.FAIL],
        [Result.PASS, Result.PASS],
    ]
    total = SMALL_COST + MID_COST + FRONTIER_COST
    assert outcome.cost_usd == pytest.approx(total)
    assert float(delivered.headers["x-tierwise-cost-usd"]) == pytest.approx(total)
    assert delivered.headers["x-tierwise-attempts"] == "3"
    assert delivered.headers["x-tierwise-escalated-from"] == "small"
    assert delivered.headers["x-tierwise-tier"] == "frontier"
    # What the chain did later does not change how likely its beginning was.
    assert (decision.arm.tier, decision.propensity) == ("small", 1.0)
    assert outcome.delivered == 3


@pytest.mark.parametrize(
    ("texts", "best", "score"),
    [
        ((NOTHING, HALF, NOTHING), 2, 0.5),
        ((HALF, NOTHING, NOTHING), 1, 0.5),
        ((HALF, HALF, NOTHING), 2, 0.5),  # of equals the dearer one
        ((NOTHING, NOTHING, NOTHING), 3, 0.0),
    ],
)
async def test_when_none_passed_the_caller_gets_the_best(
    texts: tuple[str, ...], best: int, score: float
) -> None:
    bench = checked(*texts)
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == 200
    assert delivered.headers["x-tierwise-check"] == "fail"
    assert delivered.headers["x-tierwise-replan"] == "true"
    assert delivered.headers["x-tierwise-tier"] == ["small", "mid", "frontier"][best - 1]
    assert text_of(delivered) == texts[best - 1]
    outcome = outcome_of(bench)
    assert outcome.delivered == best
    assert (outcome.quality, outcome.quality_source) == (score, "required_keys")


@pytest.mark.parametrize(("dialect", "path"), streams.PATHS.items())
async def test_a_role_may_want_an_error_when_none_passed(dialect: Dialect, path: str) -> None:
    bench = checked(HALF, NOTHING, NOTHING, dialect=dialect)
    delivered = await bench.post(path, ask("strict"))
    assert delivered.status == 422
    body = json.loads(delivered.body)
    assert body["error"]["type"] == "check_failed"
    assert body["error"]["code"] == "check_failed"
    assert "strict" in body["error"]["message"]
    assert "required_keys" in body["error"]["message"]
    assert body.get("type") == ("error" if dialect is Dialect.MESSAGES else None)
    total = SMALL_COST + MID_COST + FRONTIER_COST
    assert float(delivered.headers["x-tierwise-cost-usd"]) == pytest.approx(total)
    assert delivered.headers["x-tierwise-replan"] == "true"
    outcome = outcome_of(bench)
    assert (outcome.status, outcome.error_code) == (422, "check_failed")
    assert (outcome.quality, outcome.quality_source) == (0.5, "required_keys")
    assert len(outcome.attempts) == 3


@pytest.mark.parametrize(
    ("role", "tiers"),
    [
        ("top", ["small", "frontier"]),
        ("firm", ["small"]),
        ("few", ["small", "mid"]),
        ("effects", ["small"]),
    ],
)
async def test_how_far_a_flagged_step_goes_is_its_arms_and_its_roles_affair(
    role: str, tiers: list[str]
) -> None:
    bench = checked(*[HALF] * len(tiers))
    delivered = await bench.post(CHAT, ask(role))
    assert delivered.headers["x-tierwise-check"] == "fail"
    assert [attempt.tier for attempt in outcome_of(bench).attempts] == tiers
    assert ("x-tierwise-replan" in delivered.headers) is (role == "top")


@pytest.mark.parametrize("status", [400, 404, 413, 302, 500])
async def test_a_doubtful_answer_is_better_than_the_error_of_the_tier_above(status: int) -> None:
    rest = [failing(status)] * (2 if status == 500 else 1)
    bench = checked(HALF, *rest)
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == 200
    assert text_of(delivered) == HALF
    outcome = outcome_of(bench)
    assert outcome.attempts[1].error_type == f"http_{status}"
    assert outcome.quality == 0.5


async def test_an_error_status_is_not_judged() -> None:
    bench = checked(failing(400))
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == 400
    assert outcome_of(bench).attempts[0].verdicts == ()
    assert outcome_of(bench).quality is None


async def test_embeddings_hold_no_text_and_are_not_judged() -> None:
    policy = CHECKED.replace(b'"standin/standin-small"', b'"embedder/standin-embedding"')
    policy = policy.replace(b'"standin/standin-mid"', b'"embedder/standin-embedding"')
    bench = make_bench(policy)
    body = b'{"data": [], "usage": {"prompt_tokens": 10}}'
    bench.upstream.scripts = [Script(pieces=[body])]
    delivered = await bench.post("/v1/embeddings", ask("strict", input="x"))
    assert (delivered.status, delivered.body) == (200, body)
    assert outcome_of(bench).attempts[0].verdicts == ()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b'{"error": {"message": "no capacity", "type": "server_error", "code": 502}}'),
        ("/v1/messages", b'{"type": "error", "error": {"type": "overloaded_error"}}'),
        ("/v1/responses", b'{"status": "failed", "error": {"code": "server_error"}}'),
    ],
)
async def test_an_error_under_status_200_is_no_answer(path: str, body: bytes) -> None:
    dialect = next(known for known, at in streams.PATHS.items() if at == path)
    bench = checked(Script(pieces=[body]), WHOLE, dialect=dialect)
    delivered = await bench.post(path, ask("default"))
    assert delivered.headers["x-tierwise-tier"] == "mid"
    first, second = outcome_of(bench).attempts
    assert first.error_type in ("server_error", "overloaded_error")
    assert second.error_type is None
    alone = checked(Script(pieces=[body]), dialect=dialect)
    assert (await alone.post(path, ask("alone"))).body == body


# A plan's escalations --------------------------------------------------------------------------


async def planned(bench: Bench, *texts: str, role: str = "worker") -> Delivered:
    bench.upstream.scripts = [said(text) for text in texts]
    headers = {"content-type": "application/json", "x-tierwise-plan": "p1"}
    return await bench.post(CHAT, ask(role), headers=headers)


async def test_a_plan_whose_escalations_are_spent_is_told_to_revise() -> None:
    bench = checked()
    first = await planned(bench, HALF, WHOLE)
    assert "x-tierwise-replan" not in first.headers
    second = await planned(bench, HALF, WHOLE)
    assert second.headers["x-tierwise-replan"] == "true"  # the last one is spent
    third = await planned(bench, HALF)
    assert third.headers["x-tierwise-replan"] == "true"
    assert third.headers["x-tierwise-check"] == "fail"
    assert text_of(third) == HALF
    assert len(bench.kept.pairs[-1][1].attempts) == 1
    fourth = await planned(bench, WHOLE)
    assert "x-tierwise-replan" not in fourth.headers
    other = {"content-type": "application/json", "x-tierwise-plan": "p2"}
    bench.upstream.scripts = [said(HALF), said(WHOLE)]
    assert (await bench.post(CHAT, ask(), headers=other)).headers["x-tierwise-tier"] == "mid"


async def test_an_upstreams_failure_still_climbs_when_the_plan_is_spent() -> None:
    bench = checked()
    for _ in range(2):
        await planned(bench, HALF, WHOLE)
    bench.upstream.scripts = [failing(500), said(WHOLE)]
    headers = {"content-type": "application/json", "x-tierwise-plan": "p1"}
    delivered = await bench.post(CHAT, ask(), headers=headers)
    assert delivered.headers["x-tierwise-tier"] == "mid"
    assert delivered.headers["x-tierwise-replan"] == "true"


# Retries, breakers and budgets -----------------------------------------------------------------


def busy(status: int = 429, wait: bytes = b"0") -> Script:
    return Script(status=status, pieces=[b"{}"], headers=(JSON, (b"Retry-After", wait)))


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_a_tiers_last_model_that_says_not_now_is_asked_once_more(status: int) -> None:
    bench = checked(busy(status), said(WHOLE))
    await bench.post(CHAT, ask())
    assert [short(attempt)[:3] for attempt in outcome_of(bench).attempts] == [
        ("small", "small", Cause.START),
        ("small", "small", Cause.RETRY),
    ]


async def test_it_is_not_asked_once_more_when_that_failure_opened_its_circuit() -> None:
    bench = checked(busy(), said(WHOLE))
    for _ in range(4):
        bench.gateway.breakers.failed(bench.gateway.breakers.enter("standin/standin-small"))
    await bench.post(CHAT, ask())
    causes = [attempt.cause for attempt in outcome_of(bench).attempts]
    assert causes == [Cause.START, Cause.ESCALATION]


async def test_it_is_asked_once_more_and_not_twice() -> None:
    bench = checked(busy(), busy(), said(WHOLE))
    await bench.post(CHAT, ask())
    causes = [attempt.cause for attempt in outcome_of(bench).attempts]
    assert causes == [Cause.START, Cause.RETRY, Cause.ESCALATION]


@pytest.mark.parametrize("wait", [b"3", b"1000000000", b"Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_wait_that_is_too_long_sends_the_step_up_at_once(wait: bytes) -> None:
    bench = checked(busy(wait=wait), said(WHOLE))
    await bench.post(CHAT, ask())
    assert [attempt.tier for attempt in outcome_of(bench).attempts] == ["small", "mid"]


async def test_without_another_tier_the_providers_wait_reaches_the_caller() -> None:
    bench = checked(busy(wait=b"1000000000"))
    delivered = await bench.post(CHAT, ask("alone"))
    assert (delivered.status, delivered.headers["retry-after"]) == (429, "1000000000")


async def test_no_more_than_so_many_models_are_called_for_a_step() -> None:
    bench = checked(failing(500), failing(500))
    delivered = await bench.post(CHAT, ask("few"))
    assert delivered.status == 500
    assert len(outcome_of(bench).attempts) == 2


async def test_a_spent_retry_budget_leaves_one_call_a_step() -> None:
    bench = checked(failing(500))
    while bench.gateway.retries.take():
        pass
    delivered = await bench.post(CHAT, ask())
    assert delivered.status == 500
    assert len(outcome_of(bench).attempts) == 1


async def test_a_spent_retry_budget_does_not_keep_checks_from_escalating() -> None:
    bench = checked(HALF, WHOLE)
    while bench.gateway.retries.take():
        pass
    assert (await bench.post(CHAT, ask())).headers["x-tierwise-tier"] == "mid"


def trip(bench: Bench, *models: str) -> None:
    for model in models:
        for _ in range(5):
            bench.gateway.breakers.failed(bench.gateway.breakers.enter(f"standin/{model}"))


async def test_a_model_whose_circuit_is_open_is_passed_over() -> None:
    bench = checked(WHOLE)
    trip(bench, "standin-small")
    delivered = await bench.post(CHAT, ask())
    assert delivered.headers["x-tierwise-attempts"] == "1"
    assert delivered.headers["x-tierwise-escalated-from"] == "small"
    (attempt,) = outcome_of(bench).attempts
    assert (attempt.tier, attempt.cause) == ("mid", Cause.ESCALATION)


async def test_when_every_circuit_is_open_one_call_is_made_all_the_same() -> None:
    bench = checked(failing(500))
    trip(bench, "standin-small", "standin-mid", "standin-frontier")
    assert (await bench.post(CHAT, ask())).status == 500
    assert [attempt.tier for attempt in outcome_of(bench).attempts] == ["small"]


async def test_a_flagged_answer_stands_when_all_above_are_kept_away_from() -> None:
    bench = checked(HALF)
    trip(bench, "standin-mid", "standin-frontier")
    delivered = await bench.post(CHAT, ask())
    assert text_of(delivered) == HALF
    assert bench.gateway.memory.escalations("p1") == 0


async def test_streams_that_break_in_the_middle_open_the_circuit_too() -> None:
    bench = checked()
    for _ in range(5):
        bench.upstream.scripts = [Script(pieces=[streams.chat()[:700], BROKEN], headers=(EVENTS,))]
        await bench.post(CHAT, ask("default", stream=True))
    assert bench.gateway.breakers.allows("standin/standin-mid")
    assert not bench.gateway.breakers.allows("standin/standin-small")


async def test_a_providers_own_refusal_of_the_request_opens_no_circuit() -> None:
    bench = checked()
    for _ in range(8):
        bench.upstream.scripts = [failing(400)]
        await bench.post(CHAT, ask("default"))
    assert bench.gateway.breakers.allows("standin/standin-small")


# Providers that refuse the gateway itself -------------------------------------------------------


def denying(status: int = 401) -> Script:
    body = b'{"error": {"message": "Incorrect API key provided: sk-proj-***7b2d"}}'
    return Script(status=status, pieces=[body], headers=(JSON, (b"Retry-After", b"60")))


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_provider_that_refuses_our_key_is_passed_over_inside_the_tier(status: int) -> None:
    bench = bench_of(denying(status), good())
    delivered = await bench.post(CHAT, ask())
    assert (delivered.status, delivered.body) == (200, ANSWER)
    outcome = outcome_of(bench)
    assert [short(attempt) for attempt in outcome.attempts] == [
        ("mid", "mid", Cause.START, status, f"http_{status}"),
        ("mid", "small", Cause.FAILOVER, 200, None),
    ]
    assert outcome.cost_usd == pytest.approx(SMALL_COST)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_step_climbs_when_a_whole_tier_refuses_our_key(status: int) -> None:
    bench = bench_of(denying(status), denying(status), good())
    delivered = await bench.post(CHAT, ask())
    assert delivered.headers["x-tierwise-tier"] == "frontier"
    assert delivered.headers["x-tierwise-escalated-from"] == "mid"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refusal_of_our_key_never_reaches_the_caller_in_the_providers_words(
    status: int, path: str
) -> None:
    bench = bench_of(denying(status), denying(status), denying(status))
    delivered = await bench.post(path, ask())
    assert delivered.status == 502
    error = json.loads(delivered.body)["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_denied")
    assert f"status {status}" in error["message"]
    assert b"sk-proj" not in delivered.body
    assert "retry-after" not in delivered.headers
    assert delivered.headers["x-tierwise-attempts"] == "3"
    outcome = outcome_of(bench)
    assert (outcome.status, outcome.error_code) == (502, "upstream_denied")
    assert outcome.cost_usd == 0.0


async def test_the_last_providers_answer_decides_what_the_caller_hears() -> None:
    bench = bench_of(denying(), denying(), failing(500))
    assert (await bench.post(CHAT, ask())).status == 500
    bench = bench_of(failing(500), failing(500), denying())
    assert (await bench.post(CHAT, ask())).status == 502


async def test_a_revoked_key_costs_no_step_however_many_come() -> None:
    bench = bench_of()
    while bench.gateway.retries.take():
        pass  # as after a bad hour: failovers of failed calls would not be made any more
    bench.upstream.scripts = [denying(), *[good() for _ in range(20)]]
    for _ in range(20):
        assert (await bench.post(CHAT, ask())).status == 200
    # The first refusal opened the circuit, so the others went past that model at once.
    asked = [json.loads(body)["model"] for _, _, body in bench.upstream.sent]
    assert asked.count("standin-mid") == 1


async def test_one_refused_request_does_not_keep_others_from_a_model() -> None:
    # 403 may be about what was asked: that alone opens no circuit.
    bench = bench_of(denying(403), good())
    await bench.post(CHAT, ask())
    assert bench.gateway.breakers.allows("standin/standin-mid")


@pytest.mark.parametrize(("status", "calls"), [(401, 2), (402, 2), (403, 1), (503, 1)])
async def test_a_step_with_side_effects_goes_on_only_from_a_model_that_cannot_have_acted(
    status: int, calls: int
) -> None:
    bench = make_bench(
        POLICY.replace(
            b"[roles.firm]", b'[roles.acts]\nside_effects = true\ntier = "mid"\n[roles.firm]'
        )
    )
    bench.upstream.scripts = [denying(status), good()]
    await bench.post(CHAT, ask("acts"))
    assert len(bench.upstream.sent) == calls


# Signed reasoning ------------------------------------------------------------------------------

TWO = b"""
schema = 1
[providers.standin]
base_url = "http://127.0.0.1:9/v1"
dialects = ["messages"]
[providers.other]
base_url = "http://127.0.0.1:9/v1"
dialects = ["messages"]
[prices]
"standin/a" = { input = 1, output = 1 }
"standin/b" = { input = 1, output = 1 }
"other/c" = { input = 1, output = 1 }
"""
FAMILIES = b"""
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/a"]
[tiers.mid]
models = ["other/c"]
[tiers.frontier]
models = ["standin/b"]
[roles.default]
tier = "small"
"""


async def test_signed_reasoning_goes_only_to_the_provider_that_the_step_started_with() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    text = {"type": "text", "text": "so"}
    body = json.loads(ask("default"))
    body["messages"] = [{"role": "assistant", "content": [thinking, text]}]
    bench = make_bench(FAMILIES, config=TWO)
    bench.upstream.scripts = [failing(500), failing(500), said(WHOLE, dialect=Dialect.MESSAGES)]
    asked = json.dumps(body).encode()
    await bench.post("/v1/messages", asked)
    first, second, third = (body for _, _, body in bench.upstream.sent)
    assert first == asked.replace(b"tierwise/default", b"a")
    assert json.loads(second)["messages"] == [{"role": "assistant", "content": [text]}]
    assert third == asked.replace(b"tierwise/default", b"b")
