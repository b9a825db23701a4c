"""What every span has, whoever wrote it."""

import msgspec


class Frame(msgspec.Struct, gc=False):
    """A span's identity, place in its trace and times, checked."""

    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int
    received_ns: int
    name: str
    kind: int
    status: int
    service: str | None
    scope: str | None
    weight: float
