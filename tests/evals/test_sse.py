import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import sse

# Bytes in which line ends are frequent, so that every way of ending a line meets every other.
STREAMS = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"data: ", b"data:", b"data", b":", b"x", b" ", "é".encode(), b"id"]
    ),
    max_size=40,
).map(b"".join)


def whole(stream: bytes) -> list[bytes]:
    splitter = sse.Splitter()
    return [*splitter.feed(stream), splitter.flush()]


def pieced(stream: bytes, cuts: list[int]) -> list[bytes]:
    splitter = sse.Splitter()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    events = [
        event
        for start, end in itertools.pairwise(edges)
        for event in splitter.feed(stream[start:end])
    ]
    return [*events, splitter.flush()]


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=500, deadline=None)
def test_events_joined_are_the_stream_however_it_was_cut(stream: bytes, cuts: list[int]) -> None:
    assert b"".join(pieced(stream, cuts)) == stream


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=500, deadline=None)
def test_events_read_the_same_however_the_stream_was_cut(stream: bytes, cuts: list[int]) -> None:
    # The last event of a stream may be left to the flush when a line feed could still follow.
    assert joined(pieced(stream, cuts)) == joined(whole(stream))


def joined(events: list[bytes]) -> list[bytes]:
    return [event for event in events if event]


@given(STREAMS)
@settings(max_examples=500, deadline=None)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    assert joined(pieced(stream, list(range(len(stream))))) == joined(whole(stream))


def reference(stream: bytes) -> list[bytes]:
    """Return the data of each event, read line by line as the standard says."""
    found: list[bytes] = []
    lines: list[bytes] = []
    for line in re.split(rb"\r\n|\n|\r", stream):
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                lines.append(value.removeprefix(b" "))
        elif lines:
            found.append(b"\n".join(lines))
            lines = []
    return found


@given(STREAMS)
@settings(max_examples=500, deadline=None)
def test_data_is_what_a_reader_of_single_lines_finds(stream: bytes) -> None:
    ended = stream + b"\n\n"
    found = [sse.data_of(event) for event in whole(ended)]
    assert [data for data in found if data] == [data for data in reference(ended) if data]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_kind_of_line_end_ends_events(end: bytes) -> None:
    stream = b"event: a" + end + b"data: 1" + end + end + b": note" + end + end + b"data: 2" + end
    events = whole(stream + end)
    assert [sse.data_of(event) for event in joined(events)] == [b"1", b"", b"2"]


def test_an_event_is_out_as_soon_as_its_blank_line_is_here() -> None:
    splitter = sse.Splitter()
    assert list(splitter.feed(b"data: 1\n\ndata: 2\r\n\r\nda")) == [
        b"data: 1\n\n",
        b"data: 2\r\n\r\n",
    ]
    assert list(splitter.feed(b"ta: 3\n")) == []
    assert list(splitter.feed(b"\n")) == [b"data: 3\n\n"]
    assert splitter.flush() == b""


def test_several_data_lines_are_one_data() -> None:
    assert sse.data_of(b'data: {"a":\ndata:1}\n\n') == b'{"a":\n1}'
    assert sse.data_of(b"\xef\xbb\xbfdata: x\n\n") == b"x"
    assert sse.data_of(b"datax: 1\n\n") == b""


def test_an_event_that_never_ends_passes_without_being_kept() -> None:
    splitter = sse.Splitter()
    sent = b"data: " + b"x" * sse.EVENT_BYTES_MAX
    assert b"".join(splitter.feed(sent)) == sent
    assert splitter.overflowed
    assert splitter.flush() == b""
    assert [sse.data_of(e) for e in splitter.feed(b"\n\ndata: next\n\n")] == [b"", b"next"]


def test_text_with_line_separators_of_unicode_is_not_split() -> None:
    said = json.dumps("a\u2028b\u2029c\u0085d", ensure_ascii=False).encode()
    assert whole(b"data: " + said + b"\n\n") == [b"data: " + said + b"\n\n", b""]
