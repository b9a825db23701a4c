"""`PinExpired`: pins of the policy past their last day, and run-time pins that have ended.

A pin of policy.toml holds on after its last day, so it alarms until somebody renews or removes it.
A pin that people set while the collector ran ends by itself: the role is decided by the revision
again, which is told for a day.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from collector.alerts.bodies import when
from collector.alerts.books import Books
from collector.alerts.epochs import roles_of
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.holds import DAY_NS, Hold
from telemetry.terms import PinTerms, Terms

EXPIRED: Final = "PinExpired"
RUN_TIME: Final = "run-time"  # value of the label that tells the two kinds apart
TOLD_NS: Final = DAY_NS
_HELD: Final = "pins"
_ENDED: Final = "pins ended"

Kept = Mapping[str, Any]  # a hold as plain values


def declared(terms: Terms, now_ns: int) -> Iterator[Sighting]:
    """Yield what there is to see of every role whose pin in the policy has a last day."""
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    for role in roles_of(terms):
        own = terms.of(role)
        if own is not None and own.pin is not None and own.pin.until is not None:
            yield Sighting(
                name=EXPIRED,
                role=role,
                look=Look(holds=own.pin.until < today),
                words=partial(_declared_words, own.pin),
            )


def set_while_running(books: Books, found: Iterable[Hold], now_ns: int) -> Iterator[Sighting]:
    """Yield what there is to see of every role that is pinned at run time, or was within a day.

    ``found`` is what people hold now. A pin that somebody took away before its time, or set again,
    has not expired.
    """
    now = {one.role: one.plain() for one in found if one.kind == "pin" and one.holds_at(now_ns)}
    held: Mapping[str, Kept] = books.fact(_HELD, {})
    over: Mapping[str, Kept] = books.fact(_ENDED, {}) | {
        role: pin for role, pin in held.items() if pin["until_ns"] <= now_ns
    }
    ended = {
        role: pin
        for role, pin in over.items()
        if role not in now and now_ns < pin["until_ns"] + TOLD_NS
    }
    for name, value in ((_HELD, now), (_ENDED, ended)):
        if value or books.fact(name, {}):
            books.note(name, value)
    for role, pin in {**ended, **now}.items():
        yield Sighting(
            name=EXPIRED,
            role=role,
            labels={"pin": RUN_TIME},
            look=Look(holds=role in ended),
            words=partial(_ended_words, pin),
        )


def _declared_words(pin: PinTerms) -> dict[str, str]:
    return {
        "summary": f"the pin to {pin.model} was to end on {pin.until}",
        "owner": pin.owner,
        "reason": pin.reason,
    }


def _ended_words(pin: Kept) -> dict[str, str]:
    return {
        "summary": f"the pin to {pin['arm']} ended at {when(pin['until_ns'])}; the role is decided "
        "as without it",
        "owner": pin["owner"],
        "reason": pin["reason"],
    }
