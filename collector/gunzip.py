"""Decompression that no bomb can fill the memory with."""

import zlib
from typing import Final

from collector.decode import BadBody

_GZIP: Final = 31  # zlib's number for "a gzip header and trailer, largest window"
_MEMBERS_MAX: Final = 64


class TooLarge(Exception):
    """The body is over the limit."""


def gunzip(body: bytes, bytes_max: int) -> bytes:
    """Return the content of gzip data; never more than ``bytes_max`` bytes are unpacked.

    Raises:
        TooLarge: there is more.
        BadBody: not gzip, cut off, or followed by something else.
    """
    parts: list[bytes] = []
    room = bytes_max
    for _ in range(_MEMBERS_MAX):
        unpacker = zlib.decompressobj(_GZIP)
        try:
            part = unpacker.decompress(body, room + 1)
        except zlib.error as error:
            raise BadBody(f"not gzip: {error}") from error
        if len(part) > room:
            raise TooLarge(f"over {bytes_max} bytes when decompressed")
        if not unpacker.eof:
            raise BadBody("the gzip data is cut off")
        parts.append(part)
        room -= len(part)
        body = unpacker.unused_data
        if not body:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise BadBody(f"more than {_MEMBERS_MAX} gzip members")
