"""The life of one alert: inactive, pending, firing, keep firing, resolved; and no data.

Time that an alert waits is counted in ticks of at most a minute each, never as a difference of
clock readings, so that a clock that jumps can neither fire nor resolve anything. Where outcomes
are few, waiting is counted in outcomes instead: ten minutes say nothing at five tasks an hour.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

TICK_NS_MAX: Final = 60_000_000_000
SHOWN_NS: Final = 900_000_000_000  # a resolved alert stays in sight for so long


class State(StrEnum):
    """Where an alert stands."""

    INACTIVE = "inactive"
    NO_DATA = "no_data"
    PENDING = "pending"
    FIRING = "firing"
    KEEP_FIRING = "keep_firing"
    RESOLVED = "resolved"

    @property
    def burning(self) -> bool:
        return self in (State.FIRING, State.KEEP_FIRING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a condition must hold before it fires, and be gone before it resolves.

    Both of ``steps`` and ``ns`` must have passed.
    """

    for_steps: int = 0
    for_ns: int = 0
    keep_steps: int = 0
    keep_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one tick saw of a condition; ``holds`` is None when there was nothing to see."""

    holds: bool | None
    steps: int = 0  # outcomes that came since the last look
    held: bool = False  # it must not resolve now, because the signal that would say so is gone


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where an alert stands and how long it has waited there; times are unix nanoseconds."""

    state: State = State.INACTIVE
    since_ns: int = 0
    starts_ns: int | None = None  # of the firing that lasts or was the last
    ends_ns: int | None = None
    waited_ns: int = 0
    waited_steps: int = 0


def advance(
    standing: Standing, look: Look, *, patience: Patience, now_ns: int, passed_ns: int
) -> Standing:
    """Return where the alert stands after one more look.

    ``passed_ns`` is the time since the look before, by whatever clock; less than nothing counts
    as nothing, more than a minute as a minute.
    """
    step = min(max(passed_ns, 0), TICK_NS_MAX)
    waiting = replace(
        standing,
        waited_ns=standing.waited_ns + step,
        waited_steps=standing.waited_steps + max(look.steps, 0),
    )
    if standing.state.burning:
        return _burning(standing, waiting, look, patience=patience, now_ns=now_ns)
    return _idle(standing, waiting, look, patience=patience, now_ns=now_ns)


def _burning(
    standing: Standing, waiting: Standing, look: Look, *, patience: Patience, now_ns: int
) -> Standing:
    if look.holds is None:
        return standing  # silence of the data is not good news
    if look.holds:
        fires = standing.state is State.FIRING
        return standing if fires else _move(standing, State.FIRING, now_ns)
    if standing.state is State.FIRING:
        waiting = _move(standing, State.KEEP_FIRING, now_ns)
    waited = waiting.waited_ns >= patience.keep_ns and waiting.waited_steps >= patience.keep_steps
    if waited and not look.held:
        return replace(_move(waiting, State.RESOLVED, now_ns), ends_ns=now_ns)
    return waiting


def _idle(
    standing: Standing, waiting: Standing, look: Look, *, patience: Patience, now_ns: int
) -> Standing:
    if look.holds:
        if standing.state is not State.PENDING:
            waiting = _move(standing, State.PENDING, now_ns)
        if waiting.waited_ns >= patience.for_ns and waiting.waited_steps >= patience.for_steps:
            return replace(_move(waiting, State.FIRING, now_ns), starts_ns=now_ns, ends_ns=None)
        return waiting
    if standing.state is State.RESOLVED and waiting.waited_ns < SHOWN_NS:
        return waiting
    quiet = State.NO_DATA if look.holds is None else State.INACTIVE
    return standing if standing.state is quiet else _move(standing, quiet, now_ns)


def _move(standing: Standing, state: State, now_ns: int) -> Standing:
    return replace(standing, state=state, since_ns=now_ns, waited_ns=0, waited_steps=0)
