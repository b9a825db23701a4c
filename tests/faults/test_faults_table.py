"""Every way in which a provider goes wrong, and what the caller gets: the fault table.

Each row is asked in two dialects, streamed and not, by a role that has nobody else to ask, by one
that has, and by one that also checks its answers and holds its streams.
"""

import contextlib
import gzip
import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from telemetry.records import Dialect, Outcome
from tests import wire
from tests.faults.answers import error_frame, frames, whole
from tests.faults.behaviours import BEHAVIOURS, BROKEN, FRAMES_BEFORE_FAULT, RATE_LIMITED
from tests.faults.house import House, house
from tests.faults.server import blackhole, refused_port
from tests.needs import SAID

DIALECTS = (Dialect.CHAT, Dialect.MESSAGES)
MIB = 1_048_576
BOTH, STREAM, WHOLE = (True, False), (True,), (False,)


class Row(NamedTuple):
    """One fault; what a caller gets when nobody else, somebody else, or somebody else holding.

    `same`: what the provider said, byte for byte. `cut`: that, then one error event.
    `healed`: another model's healthy answer. `either`: healed if the error came together with the
    first event, else the same. A number: our error with that status.
    """

    alone: str
    backed: str
    held: str
    asked: tuple[bool, ...] = BOTH
    calls: int = 1  # how often the faulty model is called
    cost: str = "unknown"  # of the faulty model's first attempt: known, unknown, zero


def later(asked: tuple[bool, ...] = BOTH, *, calls: int = 1) -> Row:
    """Return the row of a status that says "not now"."""
    return Row("same", "healed", "healed", asked, calls, "zero")


USAGE = Row("same", "same", "same")
TABLE: dict[str, Row] = {
    "ok": Row("same", "same", "same", cost="known"),
    "redirected": Row("same", "same", "same", cost="known"),
    "late": Row("same", "same", "same", cost="known"),
    "silent": Row("504", "healed", "healed"),
    "headers_then_silent": Row("504", "healed", "healed"),
    "silent_mid_stream": Row("cut", "cut", "healed", STREAM),
    "reset_before_headers": Row("502", "healed", "healed"),
    "reset_mid_stream": Row("cut", "cut", "healed", STREAM),
    "close_before_headers": Row("502", "healed", "healed"),
    "clean_eof": Row("cut", "cut", "healed", STREAM),
    "truncated_eof": Row("cut", "cut", "healed", STREAM),
    "half_close": Row("same", "same", "same", WHOLE, cost="known"),
    "rate_limited": later(calls=2),
    "rate_limited_seconds": later(WHOLE, calls=2),
    "rate_limited_date": later(WHOLE, calls=2),
    "rate_limited_negative": later(calls=2),
    "rate_limited_huge": later(),
    "rate_limited_garbage": later(calls=2),
    "status_500": later(),
    "status_502": later(),
    "status_503": later(calls=2),
    "status_504": later(),
    "status_529": later(calls=2),
    "denied_401": Row("502", "healed", "healed", cost="zero"),
    "denied_402": Row("502", "healed", "healed", cost="zero"),
    "denied_403": Row("502", "healed", "healed", cost="zero"),
    "error_first_event": Row("same", "healed", "healed", STREAM),
    "error_mid_stream": Row("same", "either", "healed", STREAM),
    "usage_missing": USAGE,
    "usage_negative": USAGE,
    "usage_huge": USAGE,
    "usage_absurd": USAGE,
    "usage_text": USAGE,
    "usage_null": USAGE,
    "huge_line": Row("same", "same", "same", STREAM, cost="known"),
    "one_byte_chunks": Row("same", "same", "same", STREAM, cost="known"),
    "million_one_byte_chunks": Row("same", "same", "same", STREAM, cost="known"),
    "drip": Row("same", "same", "same", STREAM, cost="known"),
    "length_too_long": Row("502", "healed", "healed", WHOLE),
    "length_too_short": Row("502", "healed", "healed", WHOLE),
    "gzip_unasked": Row("same", "same", "healed", WHOLE),
    "redirect": Row("same", "same", "same", cost="zero"),
    "garbage": Row("502", "healed", "healed"),
}
CONNECTIONS: dict[str, Row] = {
    "refused": Row("502", "healed", "healed", calls=0, cost="zero"),
    "blackhole": Row("502", "healed", "healed", calls=0, cost="zero"),
}
# Seconds of waiting, or a million chunks, show as much in a few cases as in all.
HEAVY = (
    "rate_limited_seconds",
    "rate_limited_date",
    "million_one_byte_chunks",
    "huge_line",
    "drip",
    "late",
)
SILENT = ("silent", "headers_then_silent", "silent_mid_stream", "blackhole")
FEW = {
    **dict.fromkeys(HEAVY, ((Dialect.CHAT, "alone"), (Dialect.MESSAGES, "held"))),
    **dict.fromkeys(
        SILENT, ((Dialect.CHAT, "alone"), (Dialect.CHAT, "backed"), (Dialect.MESSAGES, "held"))
    ),
}
ALL = tuple((dialect, role) for dialect in DIALECTS for role in ("alone", "backed", "held"))
USAGE_VALUES = {
    "missing": None,
    "negative": "-5",
    "huge": "1e308",
    "absurd": "9007199254740993",
    "text": '"many"',
    "null": "null",
}


def tiny_chunks(count: int, dialect: Dialect) -> bytes:
    """Return what `one_byte_chunks` sends, joined."""
    healthy = frames(dialect)
    middle = b"".join(healthy[1:FRAMES_BEFORE_FAULT])
    repeats = max(1, (count - len(healthy[0])) // len(middle))
    return healthy[0] + middle * repeats + b"".join(healthy[FRAMES_BEFORE_FAULT:])


def said_by(behaviour: str, dialect: Dialect, *, stream: bool) -> tuple[int, bytes]:
    """Return the status and the body that a behaviour sends."""
    begun = b"".join(frames(dialect)[:FRAMES_BEFORE_FAULT])
    rest = b"".join(frames(dialect)[FRAMES_BEFORE_FAULT:])
    if behaviour.startswith("rate_limited"):
        return 429, RATE_LIMITED
    if behaviour.startswith("status_"):
        return int(behaviour[-3:]), BROKEN
    if behaviour.startswith("usage_"):
        value = USAGE_VALUES[behaviour.removeprefix("usage_")]
        spoilt = b"".join(frames(dialect, usage=value)) if stream else whole(dialect, usage=value)
        return 200, spoilt
    said = {
        "error_first_event": (200, error_frame(dialect)),
        "error_mid_stream": (200, begun + error_frame(dialect)),
        "huge_line": (200, begun + b": " + b"x" * 10 * MIB + b"\n\n" + rest),
        "one_byte_chunks": (200, tiny_chunks(20_000, dialect)),
        "million_one_byte_chunks": (200, tiny_chunks(1_000_000, dialect)),
        "gzip_unasked": (200, gzip.compress(whole(dialect), mtime=0)),
        "redirect": (302, b""),
    }
    return said.get(behaviour, (200, begun + rest if stream else whole(dialect)))


def is_what_was_wanted(
    wanted: str, reply: wire.Reply, behaviour: str, dialect: Dialect, *, stream: bool
) -> None:
    """Check a reply against one word of the table."""
    status, content = said_by(behaviour, dialect, stream=stream)
    assert reply.complete, "the reply's framing is broken"
    if wanted == "same":
        assert reply.status == status
        body = reply.body
        if behaviour == "gzip_unasked":  # the head of a gzip file holds the time
            body, content = gzip.decompress(body), gzip.decompress(content)
        assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest()
    elif wanted == "healed":
        assert reply.status == 200
        assert reply.body == (b"".join(frames(dialect)) if stream else whole(dialect))
        assert reply.headers["x-tierwise-tier"] == "mid"
        assert reply.headers["x-tierwise-escalated-from"] == "small"
    elif wanted == "cut":
        begun = b"".join(frames(dialect)[:FRAMES_BEFORE_FAULT])
        assert reply.status == 200
        assert reply.body.startswith(begun)
        after = reply.body[len(begun) :]
        assert after.count(b"data: ") == 1
        assert b"upstream_" in after
        assert b"[DONE]" not in after
    else:
        assert reply.status == int(wanted)
        error = json.loads(reply.body)["error"]
        denied = ["upstream_denied"] if behaviour.startswith("denied_") else []
        assert error["code"] in (
            denied or ["upstream_broken", "upstream_timeout", "upstream_unreachable"]
        )
        assert reply.headers["x-tierwise-decision"]


def is_recorded(row: Row, wanted: str, outcome: Outcome, met: list[str]) -> None:
    """Check the record of one case against the table and against whom the provider met."""
    attempts = outcome.attempts
    reached = [
        attempt for attempt in attempts if attempt.error_type != "upstream_error" or row.calls
    ]
    assert len(met) == len(reached), "every call is an attempt and every attempt a call"
    assert met.count("ok") == (wanted == "healed") + (row.cost == "known" and met == ["ok"])
    first = attempts[0].cost_usd
    assert {"zero": first == 0.0, "unknown": first is None}.get(
        row.cost, first is not None and first > 0.0
    ), f"cost {first} is not {row.cost}"
    assert len(attempts) == max(row.calls, 1) + (wanted == "healed")
    if wanted in ("cut", "502", "504"):
        assert attempts[-1].error_type is not None
        assert outcome.quality is None
    if wanted == "healed":
        assert attempts[-1].error_type is None


async def ask_each(at: House, row: Row, behaviour: str) -> int:
    """Ask every case of a row; return how many there were."""
    cases = 0
    for dialect, role in FEW.get(behaviour, ALL):
        for stream in row.asked:
            wanted = {"alone": row.alone, "backed": row.backed, "held": row.held}[role]
            reply, outcome = await at.post(dialect, role, stream=stream)
            if wanted == "either":
                wanted = "healed" if len(outcome.attempts) == 2 else "same"
            try:
                is_what_was_wanted(wanted, reply, behaviour, dialect, stream=stream)
                is_recorded(row, wanted, outcome, at.contacts())
                await at.check(reply, [outcome])
            except AssertionError as error:
                case = f"{behaviour} · {dialect} · stream={stream} · {role} · {wanted}"
                raise AssertionError(f"{case}: {error}") from error
            cases += 1
    return cases


@pytest.mark.parametrize("behaviour", TABLE)
async def test_a_fault_of_a_provider_gives_what_the_table_says(
    behaviour: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(behaviour, caplog, silence=0.8 if behaviour in SILENT else 5.0) as at:
        assert await ask_each(at, TABLE[behaviour], behaviour) >= 2
        sent = [contact.headers for contact in at.faults.contacts]
        assert all("canary-provider" in repr(headers) for headers in sent)
        assert all("canary-caller" not in repr(headers) for headers in sent)


@pytest.mark.parametrize("fault", CONNECTIONS)
async def test_a_provider_that_cannot_be_connected_to_gives_what_the_table_says(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as held:
        port = held.enter_context(refused_port() if fault == "refused" else blackhole())
        async with house(fault, caplog, bad_port=port) as at:
            assert await ask_each(at, CONNECTIONS[fault], fault) >= 6


def test_the_table_has_a_row_for_every_behaviour_and_says_how_many(
    record_property: Callable[[str, object], None],
) -> None:
    assert set(TABLE) == set(BEHAVIOURS)
    cases = sum(
        len(row.asked) * len(FEW.get(name, ALL)) for name, row in (TABLE | CONNECTIONS).items()
    )
    faults = len(TABLE) + len(CONNECTIONS)
    record_property(SAID, f"fault table: {faults} faults, {cases} cases")
    assert (faults, cases) == (45, 395)
