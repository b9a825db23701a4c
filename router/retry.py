"""When the same model may be asked once more: what `Retry-After` says, or a jittered pause."""

import math
import random
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from router.upstream import RawHeaders

ASKED_SECONDS_MAX: Final = 1e9  # longer is the same as this
WAIT_SECONDS_MAX: Final = 2.0  # a longer wait is the caller's to decide on
PAUSE_SECONDS_MAX: Final = 0.25
RETRIED: Final = frozenset({429, 503, 529})  # statuses that say nothing was done


def retry_after_seconds(received: RawHeaders, *, now_ns: int) -> float | None:
    """Return what `Retry-After` asks for, in seconds from now; None when it says nothing usable.

    Both forms of RFC 9110 section 10.2.3 are read, and the `retry-after-ms` of OpenAI and
    Anthropic; negative waits are 0, and none is longer than ``ASKED_SECONDS_MAX``.
    """
    named = {name.lower(): value for name, value in received}
    milliseconds = _number(named.get(b"retry-after-ms"))
    if milliseconds is not None:
        return min(ASKED_SECONDS_MAX, milliseconds / 1e3)
    value = named.get(b"retry-after")
    seconds = _number(value)
    if seconds is not None:
        return min(ASKED_SECONDS_MAX, seconds)
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return min(ASKED_SECONDS_MAX, max(0.0, date.timestamp() - now_ns / 1e9))
    except (ValueError, OverflowError, IndexError, TypeError):
        # What the standard library raises on dates that are none depends on what is wrong.
        return None


def pause_seconds(asked: float | None, rng: random.Random) -> float | None:
    """Return how long to wait before asking the same model again; None: too long to wait.

    Full jitter is added even to a stated wait, so that callers do not return together.
    """
    pause = rng.uniform(0.0, PAUSE_SECONDS_MAX)
    if asked is None:
        return pause
    return asked + pause if asked <= WAIT_SECONDS_MAX else None


def _number(value: bytes | None) -> float | None:
    if value is None:
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return None if math.isnan(found) else max(0.0, found)
