import math
from dataclasses import replace

from telemetry import names
from telemetry.names import ATTRIBUTES
from telemetry.records import Cause, Dialect, Reason, Tokens
from telemetry.spans import ATTEMPT, CLIENT, ROUTE, SERVER, Content, describe
from tests.telemetry import steps


def test_a_step_is_a_route_span_and_one_client_span_per_attempt() -> None:
    route, attempt = describe(steps.decision(), steps.outcome())
    assert (route.name, route.layout.kind) == ("route worker", SERVER)
    assert (attempt.name, attempt.layout.kind) == ("chat gpt-5.5", CLIENT)
    assert route.parent_span_id == "53995c3f42cd8ad8"
    assert attempt.parent_span_id == route.span_id == "b7ad6b7169203331"
    assert route.trace_id == attempt.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (route.start_ns, route.end_ns) == (steps.AT_NS, steps.AT_NS + 901_000_000)


def test_the_route_span_tells_the_decision() -> None:
    route = describe(steps.decision(), steps.outcome())[0]
    assert route.attributes == {
        "http.response.status_code": 200,
        "tierwise.role": "worker",
        "tierwise.role.source": "header",
        "tierwise.tier": "mid",
        "tierwise.tier.start": "mid",
        "tierwise.on_fail": "step",
        "tierwise.decision.offered": steps.ARMS,
        "tierwise.model": "openai/gpt-5.5",
        "tierwise.dialect": "chat",
        "tierwise.cost.usd": 0.0125,
        "tierwise.quality.score": 1.0,
        "tierwise.quality.source": "json_schema",
        "tierwise.decision.id": "0190a6f2b4c87000a1b2c3d4e5f60718",
        "tierwise.decision.propensity": 0.75,
        "tierwise.decision.reason": "declared",
        "tierwise.attempts": 1,
        "tierwise.policy.hash": "9f2c41d07a3b",
        "tierwise.revision": "declared",
        "tierwise.mode": "plan-execute",
        "tierwise.plan": "plan-1",
        "tierwise.cell": "worker|plan-execute|plain",
        "tierwise.features": "6.216,0,1",
        "tierwise.key": "team-a",
        "tierwise.overhead_ms": 0.4,
    }


def test_the_attempt_span_tells_the_call() -> None:
    attempt = describe(steps.decision(), steps.outcome())[1]
    assert attempt.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.5",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-5.5-2026-10-01",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 1_200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.usage.cache_read.input_tokens": 1_000,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 16,
        "gen_ai.usage.cost.amount": 0.0125,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
        "gen_ai.usage.cost": 0.0125,
        "gen_ai.agent.name": "worker",
        "gen_ai.conversation.id": "session-1",
        "server.address": "api.openai.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "tierwise.role": "worker",
        "tierwise.tier": "mid",
        "tierwise.model": "openai/gpt-5.5",
        "tierwise.cost.usd": 0.0125,
        "tierwise.quality.score": 1.0,
        "tierwise.quality.source": "json_schema",
        "tierwise.decision.id": "0190a6f2b4c87000a1b2c3d4e5f60718",
        "tierwise.attempt": 1,
        "tierwise.attempt.cause": "start",
        "tierwise.policy.hash": "9f2c41d07a3b",
        "tierwise.revision": "declared",
        "tierwise.mode": "plan-execute",
        "tierwise.plan": "plan-1",
    }


def test_each_span_carries_exactly_the_attributes_that_the_names_place_on_it() -> None:
    for layout, place in ((ROUTE, "route"), (ATTEMPT, "attempt")):
        carried = [*layout.recurring, *layout.single]
        assert len(carried) == len(set(carried))
        assert set(carried) == {a for a in ATTRIBUTES if a.place in (place, "both")}


def test_no_gen_ai_attribute_stands_on_the_route_span() -> None:
    assert not [key for key in ROUTE.recurring + ROUTE.single if key.startswith("gen_ai.")]


def test_unknown_is_absent_and_zero_is_zero() -> None:
    unknown = replace(
        steps.ATTEMPT, tokens=Tokens(input=0), cost_usd=None, response_id=None, status=None
    )
    spans = describe(steps.decision(), steps.outcome(attempts=(unknown,), quality=None))
    route, attempt = (span.attributes for span in spans)
    assert attempt["gen_ai.usage.input_tokens"] == 0
    for key in (
        names.OUTPUT_TOKENS, names.COST_AMOUNT, names.COST_LEGACY, names.COST_CURRENCY,
        names.COST_SOURCE, names.COST_USD, names.RESPONSE_ID, names.HTTP_STATUS,
        names.QUALITY_SCORE,
    ):  # fmt: skip
        assert key not in attempt
    assert names.COST_USD not in route
    assert names.QUALITY_SCORE not in route


def test_a_cost_that_is_not_a_number_is_unknown() -> None:
    odd = replace(steps.ATTEMPT, cost_usd=math.nan)
    spans = describe(steps.decision(), steps.outcome(attempts=(odd,)))
    assert not [key for span in spans for key in span.attributes if "cost" in key]


def test_flags_stand_only_where_they_are_true() -> None:
    plain = describe(steps.decision(context=replace(steps.CONTEXT, stream=False)), steps.outcome())
    assert names.EXPLORE not in plain[0].attributes
    assert names.PINNED not in plain[0].attributes
    assert names.REQUEST_STREAM not in plain[1].attributes
    explored = describe(steps.decision(reason=Reason.EXPLORED), steps.outcome())[0]
    assert explored.attributes[names.EXPLORE] is True
    for reason in (Reason.PINNED, Reason.CALLER_PIN):
        pinned = describe(steps.decision(reason=reason), steps.outcome())[0]
        assert pinned.attributes[names.PINNED] is True


def test_an_escalated_chain_names_where_it_came_from_and_costs_all_of_it() -> None:
    second = replace(
        steps.ATTEMPT, number=2, cause=Cause.ESCALATION, tier="frontier", cost_usd=0.05,
        model="openai/gpt-5.5-pro", span_id="1111111111111111",
    )  # fmt: skip
    outcome = steps.outcome(attempts=(steps.ATTEMPT, second), quality=0.9)
    route, first, last = (span.attributes for span in describe(steps.decision(), outcome))
    assert route[names.TIER] == "frontier"
    assert route[names.MODEL] == "openai/gpt-5.5-pro"
    assert route[names.ESCALATED_FROM] == last[names.ESCALATED_FROM] == "mid"
    assert route[names.COST_USD] == 0.0625
    assert route[names.ATTEMPTS] == 2
    assert names.ESCALATED_FROM not in first
    assert names.QUALITY_SCORE not in first  # it is the delivered answer's
    assert last[names.QUALITY_SCORE] == 0.9


def test_an_error_is_named_and_fails_the_span() -> None:
    failed = replace(steps.ATTEMPT, status=None, error_type="upstream_timeout")
    outcome = steps.outcome(attempts=(failed,), status=504, error_code="upstream_timeout")
    for span in describe(steps.decision(), outcome):
        assert span.failed
        assert span.attributes[names.ERROR_TYPE] == "upstream_timeout"
    refused = replace(steps.ATTEMPT, status=429)
    outcome = steps.outcome(attempts=(refused,), status=429)
    for span in describe(steps.decision(), outcome):
        assert span.attributes[names.ERROR_TYPE] == "429"


def test_a_step_that_never_reached_a_model_is_a_route_span_alone() -> None:
    outcome = steps.outcome(attempts=(), status=503, error_code="too_many_steps", quality=None)
    (route,) = describe(steps.decision(), outcome)
    assert names.TIER not in route.attributes
    assert route.attributes[names.COST_USD] == 0.0
    assert route.attributes[names.TIER_START] == "mid"


def test_embeddings_are_called_so() -> None:
    context = replace(steps.CONTEXT, dialect=Dialect.EMBEDDINGS)
    attempt = describe(steps.decision(context=context), steps.outcome())[1]
    assert attempt.name == "embeddings gpt-5.5"
    assert attempt.attributes[names.OPERATION] == "embeddings"


def test_text_stands_on_attempts_only_when_it_is_given() -> None:
    content = Content(request=b'{"a": "\xc3\xbc"}', answers=(b"\xff{}",))
    route, attempt = describe(steps.decision(), steps.outcome(), content=content)
    assert attempt.attributes[names.INPUT_MESSAGES] == '{"a": "ü"}'
    assert attempt.attributes[names.OUTPUT_MESSAGES] == "\ufffd{}"
    assert names.INPUT_MESSAGES not in route.attributes
    assert content.bytes == 14
    assert content.cut(3) == Content(request=b'{"a', answers=(b"\xff{}",))


def test_baggage_stands_on_the_route_span_under_its_own_key() -> None:
    route, attempt = describe(steps.decision(), steps.outcome(), baggage=[("tenant", "acme")])
    assert route.attributes["tenant"] == "acme"
    assert "tenant" not in attempt.attributes


def test_a_plan_that_should_be_revised_is_an_event_of_the_route_span_alone() -> None:
    route, attempt = describe(steps.decision(), steps.outcome(replan=True))
    assert (route.event, attempt.event) == (names.REPLAN_EVENT, None)
    assert describe(steps.decision(), steps.outcome())[0].event is None
