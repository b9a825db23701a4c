"""Server-sent events, split without touching a byte.

Source: WHATWG HTML, section 9.2 (a line ends with CR LF, LF or CR; an empty line ends an event).
"""

import re
from collections.abc import Iterator

EVENT_BYTES_MAX = 1_048_576
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Splitter:
    """Cuts a stream of chunks into whole events; the events joined are the stream."""

    def __init__(self) -> None:
        self._rest = b""
        self.overflowed = False  # an event was too long to keep; it went out unparsed

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield each event that ``chunk`` completes, with the empty line that ends it."""
        data = self._rest + chunk if self._rest else chunk
        # A blank line may have begun up to three bytes before the new chunk.
        start, search = 0, max(0, len(self._rest) - 3)
        while found := _BLANK_LINE.search(data, search):
            end = found.end()
            if end == len(data) and data.endswith(b"\r"):
                break  # a line feed that belongs to it may follow
            yield data[start:end]
            start = search = end
        self._rest = data[start:]
        if len(self._rest) > EVENT_BYTES_MAX:
            self.overflowed = True
            yield self.flush()

    def flush(self) -> bytes:
        """Return what is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        return rest


def ends_event(data: bytes) -> bool:
    """Say whether ``data`` holds the whole of an event, or of a comment."""
    return _BLANK_LINE.search(data) is not None


def data_of(event: bytes) -> bytes:
    """Return the event's data; empty when it has none."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]
    lines = []
    for line in _LINE_END.split(event.removeprefix(b"\xef\xbb\xbf")):
        name, colon, value = line.partition(b":")
        if name == b"data" and (colon or not value):
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
