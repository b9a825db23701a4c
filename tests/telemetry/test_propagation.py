import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.propagation import (
    Caller,
    format_traceparent,
    new_span_id,
    new_trace_id,
    parse_baggage,
    parse_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # the random flag beside it
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01", True),  # a version to come
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_traceparent_names_the_caller(header: str, sampled: bool) -> None:
    assert parse_traceparent(header) == Caller(TRACE, SPAN, sampled)
    assert parse_traceparent(header.encode()) == Caller(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.extra",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0\u0661",
    ],
)
def test_a_malformed_traceparent_is_nobody(header: str) -> None:
    assert parse_traceparent(header) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_an_error(header: bytes) -> None:
    parse_traceparent(header)
    parse_baggage(header)


@given(st.randoms(use_true_random=False), st.booleans())
def test_opentelemetry_reads_what_is_written(rng: random.Random, sampled: bool) -> None:
    trace_id, span_id = new_trace_id(rng), new_span_id(rng)
    header = format_traceparent(trace_id, span_id, sampled=sampled)
    theirs = get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": header})
    ).get_span_context()
    assert (f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}") == (trace_id, span_id)
    assert bool(theirs.trace_flags) is sampled
    assert parse_traceparent(header) == Caller(trace_id, span_id, sampled)


class Zero(random.Random):
    def getrandbits(self, k: int, /) -> int:
        return 0


def test_an_id_is_never_zero() -> None:
    assert int(new_trace_id(Zero()), 16) == 1
    assert int(new_span_id(Zero()), 16) == 1


def test_baggage_is_percent_decoded_and_its_properties_are_left_out() -> None:
    header = "gen_ai.agent.name=plan%20ner;ttl=5;x , tenant =\tacme,empty=,umlaut=%C3%BC,eq=a=b"
    assert parse_baggage(header) == {
        "gen_ai.agent.name": "plan ner",
        "tenant": "acme",
        "empty": "",
        "umlaut": "ü",
        "eq": "a=b",
    }


def test_malformed_members_are_skipped() -> None:
    header = 'a=1,b,=2,c d=3,e="4",f=5 6,,g=7,h=\\,i=ü'
    assert parse_baggage(header) == {"a": "1", "g": "7"}


def test_the_later_of_two_members_counts() -> None:
    assert parse_baggage("a=1,a=2") == {"a": "2"}


def test_only_64_members_are_read() -> None:
    header = ",".join(f"k{number}=v" for number in range(65))
    members = parse_baggage(header)
    assert len(members) == 64
    assert "k63" in members
    assert "k64" not in members


def test_a_member_that_crosses_8_kib_is_left_out() -> None:
    header = f"a=1,b={'x' * 8_000},c={'y' * 300},d=2"
    assert set(parse_baggage(header)) == {"a", "b"}
    exact = f"a={'x' * 8_190}"
    assert len(exact) == 8_192
    assert parse_baggage(exact) == {"a": "x" * 8_190}


@given(
    st.dictionaries(
        st.text("abcdefghijklmnopqrstuvwxyz.-_", min_size=1, max_size=10),
        st.text(max_size=10).map(str.strip),  # theirs strips what was encoded, too
        max_size=8,
    )
)
def test_baggage_reads_as_opentelemetry_reads_it(members: dict[str, str]) -> None:
    header = ",".join(f"{key}={quote(value)}" for key, value in members.items())
    assert parse_baggage(header) == members
    context = W3CBaggagePropagator().extract({"baggage": header})
    assert dict(get_all(context)) == members
