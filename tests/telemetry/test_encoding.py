import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1 import trace_pb2

from telemetry import encoding
from telemetry.encoding import SpanEncoder, VerdictEncoder
from telemetry.otlp import Envelope
from telemetry.records import (
    Arm,
    Attempt,
    Cause,
    Context,
    Decision,
    Dialect,
    OnFail,
    Outcome,
    Reason,
    Result,
    RoleSource,
    Tokens,
    Verdict,
)
from telemetry.spans import Content, Span, describe
from tests.telemetry import decoding, steps

ENVELOPE = Envelope({"service.name": "tierwise"}, scope="tierwise", schema_url="urn:schema")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
counts = st.integers(0, 2**63 - 1)
times = st.integers(0, 2**64 - 1)
money = st.floats(0, 1e9)
span_ids = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
trace_ids = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
optional_text = st.none() | texts

verdicts = st.builds(
    Verdict, check=texts, version=texts, result=st.sampled_from(Result),
    score=st.none() | st.floats(0, 1), reason=texts,
    chance=st.none() | st.floats(0, 1, exclude_min=True),
)  # fmt: skip
tokens = st.builds(Tokens, **{field.name: st.none() | counts for field in fields(Tokens)})
attempts = st.builds(
    Attempt, number=st.integers(1, 9), cause=st.sampled_from(Cause), tier=texts, model=texts,
    provider=texts, request_model=texts, server_address=texts,
    server_port=st.none() | st.integers(1, 65_535), span_id=span_ids, started_ns=times,
    ended_ns=times, first_chunk_seconds=st.none() | money, status=st.none() | st.integers(100, 599),
    error_type=optional_text, response_id=optional_text, response_model=optional_text,
    finish_reasons=st.lists(texts, max_size=3).map(tuple), tokens=tokens,
    cost_usd=st.none() | money, cost_source=optional_text,
    verdicts=st.lists(verdicts, max_size=2).map(tuple),
)  # fmt: skip
contexts = st.builds(
    Context, role=texts, role_source=st.sampled_from(RoleSource), role_unknown=optional_text,
    dialect=st.sampled_from(Dialect), stream=st.booleans(), session=optional_text,
    mode=optional_text, plan=optional_text, key=optional_text,
)  # fmt: skip
arms = st.builds(Arm, tier=texts, on_fail=st.sampled_from(OnFail))


@st.composite
def decisions(draw: Any) -> Decision:
    offered = tuple(draw(st.lists(arms, min_size=1, max_size=4)))
    return Decision(
        decision_id=draw(texts), at_ns=draw(times), context=draw(contexts), offered=offered,
        arm=draw(st.sampled_from(offered)), propensity=draw(st.floats(1e-9, 1)),
        policy_hash=draw(texts), revision=draw(texts), reason=draw(st.sampled_from(Reason)),
        cell=draw(optional_text),
    )  # fmt: skip


outcomes = st.builds(
    Outcome, decision_id=texts, trace_id=trace_ids, span_id=span_ids,
    parent_span_id=st.none() | span_ids, sampled=st.booleans(), ended_ns=times,
    attempts=st.lists(attempts, max_size=3).map(tuple), status=st.integers(100, 599),
    error_code=optional_text, quality=st.none() | st.floats(0, 1), quality_source=optional_text,
    features=st.lists(st.floats(-1e9, 1e9), max_size=3).map(tuple),
    overhead_seconds=st.none() | money, replan=st.booleans(),
)  # fmt: skip


def expected(span: Span) -> dict[str, object]:
    """Return the attributes as OTLP shows them: enumerations and arms as text."""
    shown: dict[str, object] = {}
    for key, item in span.attributes.items():
        if isinstance(item, str):
            shown[key] = str(item)
        elif isinstance(item, tuple):
            shown[key] = tuple(str(part) for part in item)
        else:
            shown[key] = item
    return shown


@settings(max_examples=300, deadline=None)
@given(decisions(), outcomes, st.dictionaries(st.sampled_from(["tenant", "team"]), texts))
def test_the_official_classes_read_what_was_described(
    decision: Decision, outcome: Outcome, baggage: dict[str, str]
) -> None:
    described = describe(decision, outcome, baggage=tuple(baggage.items()))
    encoder = SpanEncoder()
    for _ in range(2):  # the second time from remembered blocks
        read = decoding.spans(ENVELOPE.wrap([encoder.encode(span) for span in described]))
        assert len(read) == len(described)
        for span, message in zip(described, read, strict=True):
            assert decoding.attributes(message.attributes) == expected(span)
            assert message.name == span.name[: encoding.NAME_CHARS_MAX]
            assert message.kind == span.layout.kind
            assert message.trace_id.hex() == span.trace_id
            assert message.span_id.hex() == span.span_id
            assert message.parent_span_id.hex() == (span.parent_span_id or "")
            assert message.start_time_unix_nano == span.start_ns
            assert message.end_time_unix_nano == span.end_ns
            assert message.flags & 1 == span.sampled
            remote = message.flags >> 8 == 0b11
            assert remote == (span.parent_remote and span.parent_span_id is not None)
            code = trace_pb2.Status.STATUS_CODE_ERROR if span.failed else 0
            assert message.status.code == code
            events = [(event.name, event.time_unix_nano) for event in message.events]
            assert events == ([(span.event, span.end_ns)] if span.event else [])


@settings(max_examples=200, deadline=None)
@given(decisions(), outcomes)
def test_verdicts_are_log_events_below_their_attempts(decision: Decision, outcome: Outcome) -> None:
    request = ENVELOPE.wrap(VerdictEncoder().encode(decision, outcome))
    given_verdicts = [(a, v) for a in outcome.attempts for v in a.verdicts]
    read = decoding.records(request)
    assert len(read) == len(given_verdicts)
    for (attempt, verdict), record in zip(given_verdicts, read, strict=True):
        assert record.event_name == "gen_ai.evaluation.result"
        assert record.trace_id.hex() == outcome.trace_id
        assert record.span_id.hex() == attempt.span_id
        assert record.time_unix_nano == attempt.ended_ns
        attributes = decoding.attributes(record.attributes)
        assert attributes["gen_ai.evaluation.name"] == verdict.check
        assert attributes.get("gen_ai.evaluation.score.value") == verdict.score
        assert attributes["gen_ai.evaluation.score.label"] == str(verdict.result)
        assert attributes.get("gen_ai.evaluation.explanation") == (verdict.reason or None)
        assert attributes.get("gen_ai.response.id") == attempt.response_id
        assert attributes["tierwise.decision.id"] == decision.decision_id
        assert attributes.get("tierwise.evaluation.chance") == verdict.chance


def encoded(span: Span) -> Any:
    (read,) = decoding.spans(ENVELOPE.wrap([SpanEncoder().encode(span)]))
    return read


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    context = replace(steps.CONTEXT, plan="a\ud800b", role="r\udfff")
    route = describe(steps.decision(context=context), steps.outcome())[0]
    read = encoded(route)
    assert read.name == "route r?"
    assert decoding.attributes(read.attributes)["tierwise.plan"] == "a?b"


def test_long_text_is_cut() -> None:
    context = replace(steps.CONTEXT, plan="x" * 10_000_000)
    outcome = steps.outcome()
    route, attempt = describe(
        steps.decision(context=context), outcome, content=Content(request=b"y" * 500)
    )
    assert len(SpanEncoder().encode(route)) < 6_000
    encoder = SpanEncoder(chars_max=10, content_chars_max=300)
    (read,) = decoding.spans(ENVELOPE.wrap([encoder.encode(attempt)]))
    attributes = decoding.attributes(read.attributes)
    assert attributes["tierwise.plan"] == "x" * 10
    assert attributes["gen_ai.input.messages"] == "y" * 300


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, "7", b"7", object(), [1]])
def test_a_value_that_has_no_encoding_is_left_out(odd: Any) -> None:
    tokens = Tokens(input=odd, output=3)
    attempt = replace(steps.ATTEMPT, tokens=tokens, first_chunk_seconds=odd)
    span = describe(steps.decision(), steps.outcome(attempts=(attempt,)))[1]
    attributes = decoding.attributes(encoded(span).attributes)
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert "gen_ai.usage.input_tokens" not in attributes
    assert "gen_ai.response.time_to_first_chunk" not in attributes


@pytest.mark.parametrize(
    ("number", "kept"), [(-1, True), (2**63 - 1, True), (-(2**63), True), (2**63, False)]
)
def test_a_whole_number_keeps_its_value_or_is_left_out(number: int, kept: bool) -> None:
    attempt = replace(steps.ATTEMPT, tokens=Tokens(input=number))
    span = describe(steps.decision(), steps.outcome(attempts=(attempt,)))[1]
    read = decoding.attributes(encoded(span).attributes).get("gen_ai.usage.input_tokens")
    assert read == (number if kept else None)


@pytest.mark.parametrize("wrong", ["", "zz" * 8, "00" * 7, "00" * 9])
def test_a_span_without_a_proper_id_is_refused(wrong: str) -> None:
    span = describe(steps.decision(), steps.outcome())[0]._replace(span_id=wrong)
    with pytest.raises(ValueError, match=r"hex"):
        SpanEncoder().encode(span)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "BLOCKS_MAX", 8)
    encoder = SpanEncoder()
    for number in range(100):
        context = replace(steps.CONTEXT, mode=f"mode-{number}")
        encoder.encode(describe(steps.decision(context=context), steps.outcome())[0])
    huge = replace(steps.CONTEXT, mode="m" * 100_000)
    encoder.encode(describe(steps.decision(context=huge), steps.outcome())[0])
    blocks = [block for kind in encoder._blocks.values() for block in kind]
    assert len(blocks) <= 8
    assert not [values for values in blocks if "m" * 100_000 in values]


def test_joined_requests_read_as_one() -> None:
    encoder = SpanEncoder()
    spans = describe(steps.decision(), steps.outcome())
    requests = [ENVELOPE.wrap([encoder.encode(span)]) for span in spans]
    assert [span.name for span in decoding.spans(b"".join(requests))] == [
        "route worker",
        "chat gpt-5.5",
    ]
