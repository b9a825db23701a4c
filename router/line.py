"""The sockets between the workers of one gateway; the parent makes them and hands them out."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One worker's end: where it hears the others, and where each of them hears it."""

    inbox: socket.socket
    others: tuple[socket.socket, ...]


def lines(count: int) -> list[Line]:
    """Return the ends for so many workers; they outlive a worker that is started again."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    return [
        Line(inbox=inbox, others=tuple(outbox for end, outbox in pairs if end is not inbox))
        for inbox, _ in pairs
    ]


def hang_up(ends: Sequence[Line]) -> None:
    """Close all sockets of ``ends``; safe to call twice."""
    for line in ends:
        for end in (line.inbox, *line.others):
            end.close()
