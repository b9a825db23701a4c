"""Encoded attributes mean what the protocol's own parser finds in them."""

import math
from typing import Any

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from collector import reading
from collector.dialects import RULES, SLOTS
from collector.reading import REMEMBERED_MAX, read_encoded, read_plain

VALUES = st.one_of(
    st.builds(AnyValue, string_value=st.text(max_size=300)),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, int_value=st.integers(0, 40_000)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.just(AnyValue()),
    st.builds(
        AnyValue,
        array_value=st.builds(
            ArrayValue, values=st.lists(st.builds(AnyValue, string_value=st.text(max_size=9)))
        ),
    ),
)
KEYS = st.one_of(st.sampled_from(sorted(RULES)), st.text(max_size=200))


def plain(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if which is None else getattr(value, which)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8))
def test_bytes_mean_what_the_same_values_mean_in_json(pairs: list[tuple[str, AnyValue]]) -> None:
    encoded = [KeyValue(key=key, value=value).SerializeToString() for key, value in pairs]
    expected = read_plain([(key, plain(value)) for key, value in pairs])
    for _ in range(2):  # the second time from memory
        found = read_encoded(encoded)
        assert repr(found.slots) == repr(expected.slots)  # NaN equals itself here
        assert (found.bits, found.uncoerced) == (expected.bits, expected.uncoerced)
        assert repr(found.extra) == repr(expected.extra)


@given(KEYS, VALUES, st.integers(0, 400), st.binary(max_size=4))
def test_damaged_bytes_are_refused_or_read_as_the_parser_reads_them(
    key: str, value: AnyValue, cut: int, inserted: bytes
) -> None:
    whole = KeyValue(key=key, value=value).SerializeToString()
    damaged = whole[:cut] + inserted + whole[cut + len(inserted) :]
    for raw in (damaged, whole[:cut]):
        try:
            attribute = KeyValue.FromString(raw)
        except DecodeError:
            with pytest.raises(DecodeError):
                read_encoded([raw])
        else:
            again = read_encoded([attribute.SerializeToString()])
            assert repr(read_encoded([raw])) == repr(again)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AnyValue(int_value=0), 0),
        (AnyValue(int_value=127), 127),
        (AnyValue(int_value=128), 128),
        (AnyValue(int_value=16_383), 16_383),
        (AnyValue(int_value=16_384), 16_384),
        (AnyValue(int_value=2_097_151), 2_097_151),
        (AnyValue(int_value=2_097_152), 2_097_152),
        (AnyValue(int_value=-1), None),
        (AnyValue(string_value="12"), 12),
        (AnyValue(double_value=12.0), 12),
        (AnyValue(double_value=math.nan), None),
    ],
)
def test_counts_of_every_length_are_read(value: AnyValue, expected: int | None) -> None:
    raw = KeyValue(key="gen_ai.usage.input_tokens", value=value).SerializeToString()
    found = read_encoded([raw])
    assert found.slots[SLOTS["input_tokens"]] == expected
    assert found.uncoerced == (expected is None)


@pytest.mark.parametrize("text", ["x", "chatcmpl-1", "é" * 40, "a" * 90, "b" * 300, ""])
def test_texts_that_vary_by_span_are_read_and_not_remembered(text: str) -> None:
    raw = KeyValue(key="gen_ai.response.id", value=AnyValue(string_value=text)).SerializeToString()
    found = read_encoded([raw])
    assert found.slots[SLOTS["response_id"]] == (text[:256] or None)
    assert found.uncoerced == 0
    assert raw not in reading._entries


def test_what_is_remembered_of_attributes_has_a_limit() -> None:
    for number in range(REMEMBERED_MAX + 10):
        value = AnyValue(string_value=str(number))
        read_encoded([KeyValue(key="app.number", value=value).SerializeToString()])
    assert len(reading._entries) <= REMEMBERED_MAX


@pytest.mark.parametrize(
    ("text", "role", "unreadable"),
    [
        ("{'role': 'worker', 'spend': None, 'paid': True}", "worker", 0),
        ('{"role": "worker"}', "worker", 0),
        ("", None, 0),
        ("null", None, 0),
        ("{'role': worker}", None, 1),
        ("{'role': open('x')}", None, 1),
        ("{'a': " + "[" * 4_000 + "}", None, 1),
        ("{'a': '" + "x" * 8_192 + "', 'role': 'worker'}", None, 1),
    ],
)
def test_a_dictionary_is_read_as_json_or_as_python_writes_it(
    text: str, role: str | None, unreadable: int
) -> None:
    found = read_plain([("metadata.requester_metadata", text)])
    assert (found.slots[SLOTS["role"]], found.uncoerced) == (role, unreadable)
