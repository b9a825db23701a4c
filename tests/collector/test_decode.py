import contextlib
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.decode import BadBody, Reception, decode_traces, weight
from collector.dialects import Kind
from collector.duckdb_store import DuckDBStore
from collector.events import decode_logs
from collector.intake import Export, Signal, decoded
from collector.reading import coerce, packed, read_plain
from collector.rows import Refusal
from tests.collector.conftest import pricing
from tests.collector.otlp import NOW_NS, Trace, evaluation, put

RECEPTION = Reception(received_ns=NOW_NS + 10**9, pricing=pricing())
SOUND = Trace()
SOUND.call({"gen_ai.response.finish_reasons": ["stop"], "other": [1.5, True, "x"]})
SOUND.span("route w", {"tierwise.decision.id": "d", "tierwise.decision.reason": "declared"})
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_body_with_any_bytes_changed_is_read_or_refused_and_never_crashes(
    data: st.DataObject,
) -> None:
    body = bytearray(SOUND.body())
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(len(body) // 2, len(body))) :]
    for signal in Signal:
        with contextlib.suppress(BadBody):
            decoded(Export(signal=signal, body=bytes(body)), RECEPTION, 10**6)


def test_whatever_is_read_from_changed_bodies_can_be_stored(store: DuckDBStore) -> None:
    rng = random.Random(4)
    stored = 0
    for _ in range(400):
        body = bytearray(SOUND.body())
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        with contextlib.suppress(BadBody):
            batch = decode_traces(bytes(body), RECEPTION)
            stored += store.write([batch], now_ns=NOW_NS).records
    assert stored > 20  # most are the same spans again


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: plain
            for name in (
                "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano",
                "endTimeUnixNano", "attributes", "events", "status", "traceState",
            )
        },
    )
)  # fmt: skip
def test_json_spans_with_any_values_are_kept_or_refused(changes: dict[str, Any]) -> None:
    span = {
        "traceId": "ab" * 16, "spanId": "cd" * 8, "name": "chat",
        "startTimeUnixNano": str(NOW_NS), "endTimeUnixNano": str(NOW_NS + 5),
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
    } | changes  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    try:
        batch = decode_traces(body, RECEPTION, json=True)
    except BadBody:
        return
    assert batch.rejected_count + len(batch.calls) + len(batch.spans) == 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["gen_ai.usage.input_tokens", "metadata", "x"]), plain)))
def test_attributes_of_any_kind_are_read_within_the_limits(pairs: list[tuple[str, Any]]) -> None:
    reading = read_plain(pairs)
    text, _ = packed(reading.extra)
    assert text is None or len(text.encode()) <= 4_096


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        (0, 0, False),
        (10**9, 2 * 10**9, False),  # 1970
        (NOW_NS + 2 * 86_400 * 10**9, NOW_NS, False),
        (4_102_444_800 * 10**9, 4_102_444_800 * 10**9, False),  # 2100
        (2**64 - 1, 2**64 - 1, False),
        (NOW_NS, NOW_NS - 5, True),
        (NOW_NS, 2**64 - 1, True),
    ],
)
def test_times_that_cannot_be_are_refused_and_odd_ends_mended(
    start: int, end: int, kept: bool
) -> None:
    trace = Trace()
    trace.call()
    span = trace.scope.spans[0]
    span.start_time_unix_nano, span.end_time_unix_nano = start, end
    batch = decode_traces(trace.body(), RECEPTION)
    assert len(batch.calls) == int(kept)
    assert batch.rejected == ({} if kept else {Refusal.TIME: 1})
    if kept:
        assert batch.calls[0].end_ns == batch.calls[0].start_ns


def test_unreadable_values_stay_unknown_and_are_counted() -> None:
    trace = Trace()
    trace.call(
        {
            "gen_ai.usage.input_tokens": "many",
            "gen_ai.usage.output_tokens": -3,
            "gen_ai.usage.cost.amount": math.inf,
            "gen_ai.response.time_to_first_chunk": math.nan,
        }
    )
    batch = decode_traces(trace.body(), RECEPTION)
    call = batch.calls[0]
    assert (call.input_tokens, call.output_tokens, call.cost_usd) == (None, None, None)
    assert call.first_chunk_seconds is None
    assert batch.uncoerced == 4


def test_zero_is_zero_and_absent_is_unknown() -> None:
    trace = Trace()
    trace.call(tokens=(0, 0))
    trace.span("chat", {"gen_ai.operation.name": "chat"})
    zero, absent = decode_traces(trace.body(), RECEPTION).calls
    assert (zero.input_tokens, zero.output_tokens) == (0, 0)
    assert (absent.input_tokens, absent.output_tokens, absent.cost_usd) == (None, None, None)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:fd70a4", pytest.approx(100, rel=1e-3)),
        ("ot=th:zz", 1.0),
        ("ot=th:" + "f" * 15, 1.0),
        ("other=th:8", 1.0),
    ],
)
def test_the_weight_comes_from_the_trace_state(state: str, expected: float) -> None:
    assert weight(state) == expected


def test_spans_that_a_tail_sampler_kept_are_counted() -> None:
    trace = Trace()
    trace.call({"tailsampling.policy": "errors"})
    trace.call()
    assert decode_traces(trace.body(), RECEPTION).biased == 1


def test_an_evaluation_without_a_name_or_a_word_is_refused() -> None:
    sound = {"gen_ai.evaluation.score.value": 1.0}
    assert len(decode_logs(evaluation("x", sound), RECEPTION).evaluations) == 1
    for body in (evaluation("", sound), evaluation("x")):
        assert decode_logs(body, RECEPTION).rejected == {Refusal.VALUE: 1}


def test_an_evaluation_as_a_span_event_speaks_of_its_span() -> None:
    trace = Trace()
    span_id = trace.call()
    event = trace.scope.spans[0].events.add(name="gen_ai.evaluation.result")
    put(event.attributes, "gen_ai.evaluation.name", "judge")
    put(event.attributes, "gen_ai.evaluation.score.value", 0.5)
    (found,) = decode_traces(trace.body(), RECEPTION).evaluations
    assert (found.name, found.score_raw, found.span_id) == ("judge", 0.5, span_id.hex())


@pytest.mark.parametrize("content", [False, True])
def test_a_log_s_body_is_kept_only_when_asked_for(content: bool) -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = "the prompt"
    reception = Reception(received_ns=NOW_NS, pricing=pricing(), content=content)
    (log,) = decode_logs(request.SerializeToString(), reception).logs
    assert log.body == ("the prompt" if content else None)
    assert log.time_ns == NOW_NS  # it had none of its own


def test_coerce_keeps_what_it_can() -> None:

    assert coerce(True, Kind.COUNT) is None
    assert coerce(1e300, Kind.COUNT) is None
    assert coerce("1e3", Kind.COUNT) == 1_000
    assert coerce(["a", 1, None], Kind.JOINED) == "a,1"
    assert coerce("[not json", Kind.FIRST) is None
