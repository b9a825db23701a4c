import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router import body
from telemetry.errors import InvalidRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = TEXT | st.sampled_from(["model", "stream", "messages", "model ", "Model", 'mo"del', "\\"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(['{"model": 1}', '"model":"x"', "}", "model"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
SPACE = st.text(" \t\r\n", max_size=3)


@st.composite
def spellings(draw: st.DrawFn, value: Any) -> str:
    """Draw one of the many ways to write ``value`` as JSON."""
    if isinstance(value, dict):
        members = [
            f"{draw(SPACE)}{draw(strings(key))}{draw(SPACE)}:{draw(SPACE)}"
            f"{draw(spellings(member))}{draw(SPACE)}"
            for key, member in value.items()
        ]
        return "{" + (",".join(members) or draw(SPACE)) + "}"
    if isinstance(value, list):
        items = [f"{draw(SPACE)}{draw(spellings(item))}{draw(SPACE)}" for item in value]
        return "[" + ",".join(items) + "]"
    return draw(strings(value)) if isinstance(value, str) else json.dumps(value)


@st.composite
def strings(draw: st.DrawFn, value: str) -> str:
    """Draw a spelling of a string: some of its characters escaped, as any writer may."""
    written = []
    for character in value:
        if draw(st.integers(0, 3)) == 0 and ord(character) < 0x10000:
            written.append(f"\\u{ord(character):04x}")
        else:
            written.append(json.dumps(character, ensure_ascii=False)[1:-1])
    return '"' + "".join(written) + '"'


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    value = draw(OBJECTS)
    return value, (draw(SPACE) + draw(spellings(value)) + draw(SPACE)).encode()


@given(documents(), st.dictionaries(KEYS, VALUES, max_size=3))
@settings(max_examples=150, deadline=None)
def test_edits_set_their_fields_and_leave_every_other_value(
    document: tuple[dict[str, Any], bytes], edits: dict[str, Any]
) -> None:
    value, raw = document
    edited = body.parse(raw).with_values({k: json.dumps(v).encode() for k, v in edits.items()})
    assert json.loads(edited) == {**value, **edits}


@given(documents(), VALUES)
@settings(max_examples=150, deadline=None)
def test_one_replaced_value_leaves_every_byte_before_and_after_it(
    document: tuple[dict[str, Any], bytes], new: Any
) -> None:
    value, raw = document
    parsed = body.parse(raw)
    written = json.dumps(new).encode()
    for key in value:
        start, end = parsed.places[key]
        assert json.loads(raw[start:end]) == value[key]
        assert parsed.with_values({key: written}) == raw[:start] + written + raw[end:]


@given(documents())
@settings(max_examples=100, deadline=None)
def test_an_added_field_is_inserted_before_the_last_brace_and_nowhere_else(
    document: tuple[dict[str, Any], bytes],
) -> None:
    value, raw = document
    added = body.parse(raw).with_values({"a key that nobody drew": b"[1]"})
    close = raw.rindex(b"}")
    assert added[:close] == raw[:close]
    assert added.endswith(raw[close:])
    assert json.loads(added) == {**value, "a key that nobody drew": [1]}


@given(documents())
@settings(max_examples=100, deadline=None)
def test_no_edit_gives_the_same_bytes(document: tuple[dict[str, Any], bytes]) -> None:
    assert body.parse(document[1]).with_values({}) == document[1]


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_a_top_level_key_that_stands_twice_is_always_refused(
    value: dict[str, Any], data: st.DataObject
) -> None:
    members = list(value.items())
    again = data.draw(st.sampled_from(sorted(value)))
    twin = (again, data.draw(st.just(value[again]) | VALUES))
    members.insert(data.draw(st.integers(0, len(members))), twin)
    written = (
        f"{data.draw(strings(key))}{data.draw(SPACE)}:{data.draw(SPACE)}{json.dumps(member)}"
        for key, member in members
    )
    raw = ("{" + ",".join(written) + "}").encode()
    with pytest.raises(InvalidRequest) as refused:
        body.parse(raw)
    assert refused.value.code == "duplicate_key"


@given(st.binary(max_size=64))
@example(b"{}")
@example(b"")
@settings(max_examples=500, deadline=None)
def test_arbitrary_bytes_are_parsed_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        parsed = body.parse(raw)
    except InvalidRequest:
        return
    assert isinstance(json.loads(raw), dict)
    assert parsed.raw == raw


@given(documents(), st.integers(0, 400), st.binary(max_size=3))
@settings(max_examples=150, deadline=None)
def test_damaged_documents_are_parsed_as_python_reads_them_or_refused(
    document: tuple[dict[str, Any], bytes], place: int, damage: bytes
) -> None:
    raw = document[1]
    place %= len(raw) + 1
    damaged = raw[:place] + damage + raw[place + 1 :]
    try:
        parsed = body.parse(damaged)
    except InvalidRequest:
        return
    loaded = json.loads(damaged)
    assert {key: json.loads(bytes(found)) for key, found in parsed.fields.items()} == loaded


def test_only_the_top_level_model_is_replaced_whatever_else_is_called_so() -> None:
    raw = (
        b'{"tools": [{"model": "a", "x": {"model": "b"}}], "text": "\\"model\\": \\"c\\"",'
        b' "mod\\u0065l" :\t"old" ,"metadata":{"model":"d"}}'
    )
    assert body.parse(raw).with_values({"model": b'"new"'}) == raw.replace(b'"old"', b'"new"')


def test_an_escaped_spelling_of_a_key_counts_as_the_key() -> None:
    with pytest.raises(InvalidRequest) as refused:
        body.parse(b'{"model": "a", "\\u006dodel": "b"}')
    assert refused.value.code == "duplicate_key"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 12, "a": 1}',
        b'{"a": 1, "a": 12}',
        b'{"a": 12, "b": 2, "a": 1}',
        b'{"a": 1, "b": 2, "a": 1}',
        b'{"a": 1, "b": 2, "c": 3, "b": 2}',
        b'{"a": "x, \\"a\\": 1", "a": "x, \\"a\\": 1"}',
        b'{"a": [1], "b": {"a": 2}, "a": [1]}',
        b'{"": 1, "": 1}',
        # As long as if the second "a" stood first and the inner "b" were the outer one.
        b'{"a":1,"b":{"x":0,"b"      :0},"a":"1234567890"}',
    ],
)
def test_duplicates_that_nearly_hide_are_found(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body.parse(raw)
    assert refused.value.code == "duplicate_key"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("empty", b""),
        ("white space", b" \n"),
        ("an array", b"[1]"),
        ("a string", b'"x"'),
        ("null", b"null"),
        ("cut off", b'{"a": 1'),
        ("bytes after the object", b'{"a": 1} x'),
        ("a second object", b'{"a": 1}{"a": 2}'),
        ("a zero byte after the object", b'{"a": 1}\x00'),
        ("a byte order mark", b'\xef\xbb\xbf{"a": 1}'),
        ("UTF-16", '{"a": 1}'.encode("utf-16")),
        ("not UTF-8 in a value", b'{"a": "\xff"}'),
        ("not UTF-8 in a key", b'{"\xff": 1}'),
        ("not UTF-8 deep inside", b'{"a": [{"b": "\xc3\x28"}]}'),
        ("an encoded surrogate", b'{"a": "\xed\xa0\x80"}'),
        ("an overlong slash", b'{"a": "\xc0\xaf"}'),
        ("a lone surrogate in a key", b'{"\\ud800": 1}'),
        ("NaN", b'{"a": NaN}'),
        ("Infinity", b'{"a": -Infinity}'),
        ("a comment", b'{"a": 1 /* b */}'),
        ("a trailing comma", b'{"a": 1,}'),
        ("single quotes", b"{'a': 1}"),
        ("a bare key", b"{a: 1}"),
        ("a line break in a string", b'{"a": "x\ny"}'),
        ("a form feed between tokens", b'{\f"a": 1}'),
        ("a leading zero", b'{"a": 01}'),
        ("a wrong escape", b'{"a": "\\x41"}'),
    ],
)
def test_what_is_not_a_json_object_is_refused_as_such(name: str, raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body.parse(raw)
    assert refused.value.code == "invalid_json", name


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"[" * 1_000_000,
    ],
)
def test_deep_nesting_is_refused_without_falling_over(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body.parse(raw)
    assert refused.value.code in ("json_too_deep", "invalid_json")


def test_a_megabyte_of_text_keeps_every_byte() -> None:
    text = "日本語 🙂 é " * 60_000
    raw = json.dumps({"messages": [text], "model": "a", "z": text}, ensure_ascii=False).encode()
    assert len(raw) > 1_000_000
    edited = body.parse(raw).with_values({"model": b'"b"'})
    assert edited == raw.replace(b'"model": "a"', b'"model": "b"')


def test_a_field_is_read_as_its_type_or_refused_by_name() -> None:
    parsed = body.parse(b'{"model": "m", "stream": null, "n": 1.5, "deep": {"x": [1]}}')
    assert parsed.get("model", str) == "m"
    assert parsed.get("stream", bool) is None
    assert parsed.get("absent", str) is None
    assert parsed.get("deep", dict) == {"x": [1]}
    with pytest.raises(InvalidRequest, match="n: Expected `str`, got `float`") as refused:
        parsed.get("n", str)
    assert refused.value.code == "invalid_field"
