from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.decode import Reception, decode_traces
from collector.lineage import Lineage
from collector.rows import Batch
from tests.collector.conftest import pricing
from tests.collector.otlp import NOW_NS, Trace

RECEPTION = Reception(received_ns=NOW_NS + 10**9, pricing=pricing())


@dataclass(frozen=True)
class Seen:
    role: str | None
    role_from: str | None
    counted: bool
    reason: str | None


def ids(number: int) -> bytes:
    return number.to_bytes(8, "big")


def arrive(batches: list[Batch]) -> dict[str, Seen]:
    """Feed batches one by one, as the store does, and return what it would hold in the end."""
    lineage, stored = Lineage(), {}
    for batch in batches:
        for correction in lineage.apply([batch]):
            stored[correction.key[1]] = Seen(
                correction.role, correction.role_from, correction.counted,
                correction.uncounted_reason,
            )  # fmt: skip
        for call in batch.calls:
            stored[call.span_id] = Seen(
                call.role, call.role_from, call.counted, call.uncounted_reason
            )
    return stored


def decoded(trace: Trace) -> Batch:
    return decode_traces(trace.body(), RECEPTION)


def agent(trace: Trace, number: int, *, parent: int | None, role: str | None) -> None:
    named = {"gen_ai.agent.name": role} if role else {}
    trace.span(
        "invoke_agent", {"gen_ai.operation.name": "invoke_agent", **named},
        span_id=ids(number), parent=ids(parent) if parent else None,
    )  # fmt: skip


def test_a_role_comes_from_the_nearest_ancestor_that_has_one() -> None:
    trace = Trace()
    agent(trace, 1, parent=None, role="planner")
    agent(trace, 2, parent=1, role="worker")
    agent(trace, 3, parent=2, role=None)
    trace.call(span_id=ids(4), parent=ids(3))
    found = arrive([decoded(trace)])
    assert found[ids(4).hex()] == Seen("worker", "ancestor", True, None)


def test_a_call_s_own_role_beats_its_ancestors_and_those_beat_baggage() -> None:
    trace = Trace()
    agent(trace, 1, parent=None, role="planner")
    trace.call({"gen_ai.agent.name": "critic"}, span_id=ids(2), parent=ids(1))
    trace.call({"baggage.gen_ai.agent.name": "b"}, span_id=ids(3), parent=ids(1))
    trace.call({"baggage.gen_ai.agent.name": "b"}, span_id=ids(4), parent=ids(9))
    found = arrive([decoded(trace)])
    assert found[ids(2).hex()].role == "critic"
    assert found[ids(3).hex()].role == "planner"
    assert found[ids(4).hex()] == Seen("b", "baggage", True, None)


def test_a_parent_that_arrives_later_names_the_calls_that_are_stored_already() -> None:
    first, second, third = Trace(), Trace(), Trace()
    first.call(span_id=ids(3), parent=ids(2))
    agent(second, 2, parent=1, role=None)
    agent(third, 1, parent=None, role="worker")
    found = arrive([decoded(first), decoded(second), decoded(third)])
    assert found[ids(3).hex()] == Seen("worker", "ancestor", True, None)


def test_a_layer_around_a_call_does_not_count() -> None:
    trace = Trace()
    trace.call(span_id=ids(1))
    trace.span("http", span_id=ids(2), parent=ids(1))
    trace.call(span_id=ids(3), parent=ids(2))
    found = arrive([decoded(trace)])
    assert found[ids(1).hex()] == Seen(None, None, False, "nested")
    assert found[ids(3).hex()].counted


def test_two_instrumentations_of_one_call_count_once_and_the_fuller_one_wins() -> None:
    trace = Trace()
    same = {"gen_ai.response.id": "r1"}
    trace.call(same, span_id=ids(1), parent=ids(9))
    trace.call({**same, "gen_ai.response.model": "m"}, span_id=ids(2), parent=ids(9))
    trace.call({"gen_ai.response.id": "r2"}, span_id=ids(3), parent=ids(9))
    found = arrive([decoded(trace)])
    assert found[ids(1).hex()] == Seen(None, None, False, "duplicate")
    assert found[ids(2).hex()].counted
    assert found[ids(3).hex()].counted


def test_attempts_of_our_own_gateway_always_count() -> None:
    trace = Trace()
    for number in (1, 2):
        trace.call(
            {"gen_ai.response.id": "r", "tierwise.decision.id": "d", "tierwise.role": "w"},
            span_id=ids(number), parent=ids(9),
        )  # fmt: skip
    trace.call({"gen_ai.response.id": "r"}, span_id=ids(3), parent=ids(9))
    found = arrive([decoded(trace)])
    assert [found[ids(number).hex()].counted for number in (1, 2, 3)] == [True, True, False]


def test_a_circle_of_parents_ends() -> None:
    trace = Trace()
    trace.call(span_id=ids(1), parent=ids(2))
    agent(trace, 2, parent=3, role=None)
    agent(trace, 3, parent=2, role=None)
    assert arrive([decoded(trace)])[ids(1).hex()].role is None


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[tuple[int, int, str | None, bool, str | None]], int]:
    size = draw(st.integers(2, 9))
    spans = []
    for number in range(1, size + 1):
        parent = draw(st.integers(0, number - 1))
        role = draw(st.sampled_from([None, None, "a", "b"]))
        call = draw(st.booleans())
        response = draw(st.sampled_from([None, "r1", "r2"])) if call else None
        spans.append((number, parent, role, call, response))
    return spans, draw(st.integers(0, 10**6))


@settings(max_examples=300, deadline=None)
@given(forests(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(
    forest: tuple[list[tuple[int, int, str | None, bool, str | None]], int], rng: object
) -> None:
    spans, _ = forest

    def single(numbers: list[int]) -> list[Batch]:
        batches = []
        for number in numbers:
            _, parent, role, call, response = spans[number - 1]
            trace = Trace()
            if call:
                more = {"gen_ai.agent.name": role} if role else {}
                if response:
                    more["gen_ai.response.id"] = response
                trace.call(more, span_id=ids(number), parent=ids(parent) if parent else None)
            else:
                agent(trace, number, parent=parent or None, role=role)
            batches.append(decoded(trace))
        return batches

    order = list(range(1, len(spans) + 1))
    expected = arrive(single(order))
    rng.shuffle(order)  # type: ignore[attr-defined]
    assert arrive(single(order)) == expected
    roots = [n for n, _, _, call, response in spans if call and response is None]
    calls_under = {
        n: any(_descends(spans, m, n) for m, _, _, call, _ in spans if call and m != n)
        for n in roots
    }
    for number, nested in calls_under.items():
        assert expected[ids(number).hex()].counted is not nested


def _descends(
    spans: list[tuple[int, int, str | None, bool, str | None]], number: int, ancestor: int
) -> bool:
    while number:
        number = spans[number - 1][1]
        if number == ancestor:
            return True
    return False


def own(trace: Trace, number: int, **more: str | int) -> None:
    """An attempt of our gateway, in a trace of its own."""
    attributes = {"tierwise.decision.id": f"d{number}", "tierwise.attempt": 1, **more}
    trace.call(attributes, span_id=ids(number), trace_id=number.to_bytes(16, "big"))


def test_a_client_s_word_of_a_call_that_our_gateway_made_does_not_count_again() -> None:
    told, made = Trace(), Trace()
    told.call({"gen_ai.response.id": "r1"}, span_id=ids(1))
    own(made, 2, **{"gen_ai.response.id": "r1"})
    for batches in ([told, made], [made, told]):
        found = arrive([decoded(trace) for trace in batches])
        assert found[ids(1).hex()] == Seen(None, None, False, "duplicate")
        assert found[ids(2).hex()].counted


def test_two_strangers_with_one_response_id_in_two_traces_both_count() -> None:
    trace = Trace()
    for number in (1, 2):
        named = {"gen_ai.response.id": "chatcmpl-1"}
        trace.call(named, span_id=ids(number), trace_id=number.to_bytes(16, "big"))
    found = arrive([decoded(trace)])
    assert [found[ids(number).hex()].counted for number in (1, 2)] == [True, True]


def test_a_response_id_with_other_usage_or_at_another_time_is_another_call() -> None:
    told, made = Trace(), Trace()
    told.call({"gen_ai.response.id": "r"}, span_id=ids(1), tokens=(7, 7))
    told.call({"gen_ai.response.id": "r"}, span_id=ids(2), trace_id=b"2" * 16, seconds=11.1)
    own(made, 3, **{"gen_ai.response.id": "r"})
    found = arrive([decoded(told), decoded(made)])
    assert [found[ids(number).hex()].counted for number in (1, 2, 3)] == [True, True, True]


def test_a_session_s_name_says_nothing_about_calls_that_no_coding_agent_made() -> None:
    told, made = Trace(), Trace()
    told.call({"gen_ai.conversation.id": "s"}, span_id=ids(1))
    own(made, 2, **{"gen_ai.conversation.id": "s"})
    found = arrive([decoded(told), decoded(made)])
    assert [found[ids(number).hex()].counted for number in (1, 2)] == [True, True]


def test_a_client_that_hands_our_decision_on_tells_of_our_call() -> None:
    trace = Trace(scope="litellm")
    headers = '{"additional_headers": {"llm_provider-x-tierwise-decision": "d"}}'
    trace.call({"hidden_params": headers, "gen_ai.response.id": "own"}, span_id=ids(1))
    trace.call({"hidden_params": '{"additional_headers": {}}'}, span_id=ids(2))
    found = arrive([decoded(trace)])
    assert found[ids(1).hex()] == Seen(None, None, False, "duplicate")
    assert found[ids(2).hex()].counted
