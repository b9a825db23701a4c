"""What is remembered between the steps of a session and of a plan; bounded, and only in memory.

A worker forgets it when it restarts; then a session starts at its role's tier again, which costs
a failed check at worst, and nobody is known to have signed what a conversation holds.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from telemetry.clock import Clock
from telemetry.records import History

REMEMBERED_MAX: Final = 65_536
IDLE_SECONDS_MAX: Final = 86_400.0

T = TypeVar("T")


class Author(NamedTuple):
    """Who signed the reasoning in a conversation."""

    provider: str  # of the turns from ``since`` on
    since: int  # turns before it hold signatures of others too


@dataclass(slots=True)
class _Note(Generic[T]):
    value: T
    until: float


@dataclass(kw_only=True, slots=True)
class Notes(Generic[T]):
    """Small things by name, the least recently used forgotten first."""

    clock: Clock
    _notes: "OrderedDict[str | bytes, _Note[T]]" = field(default_factory=OrderedDict)

    def get(self, name: str | bytes) -> T | None:
        """Return what is kept under ``name``; None when nothing is."""
        note = self._notes.get(name)
        if note is None:
            return None
        now = self.clock.monotonic()
        if note.until < now:
            del self._notes[name]
            return None
        note.until = now + IDLE_SECONDS_MAX
        self._notes.move_to_end(name)
        return note.value

    def put(self, name: str | bytes, value: T) -> None:
        """Keep ``value`` until it has not been asked about for a day."""
        self._notes[name] = _Note(value, self.clock.monotonic() + IDLE_SECONDS_MAX)
        self._notes.move_to_end(name)
        while len(self._notes) > REMEMBERED_MAX:
            self._notes.popitem(last=False)


@dataclass(kw_only=True, slots=True)
class Memory:
    """What sessions were raised to and came to, how often plans escalated, who signed what."""

    clock: Clock
    authors: Notes[Author] = field(init=False)  # by conversation
    _tiers: Notes[int] = field(init=False)
    _escalations: Notes[int] = field(init=False)
    _fails: Notes[int] = field(init=False)

    def __post_init__(self) -> None:
        self.authors = Notes(clock=self.clock)
        self._tiers = Notes(clock=self.clock)
        self._escalations = Notes(clock=self.clock)
        self._fails = Notes(clock=self.clock)

    def tier_floor(self, session: str, role: str) -> int:
        """Return the lowest tier, as its place on the ladder, that the session's role starts at."""
        return self._tiers.get(f"{role}\n{session}") or 0

    def raise_to(self, session: str, role: str, *, tier: int) -> None:
        """Start the session's further steps of ``role`` no lower than ``tier``."""
        if tier > self.tier_floor(session, role):
            self._tiers.put(f"{role}\n{session}", tier)

    def judged(self, session: str, role: str, *, passed: bool) -> None:
        """Note whether the answer to a step of the session's role was good."""
        name = f"{role}\n{session}"
        self._fails.put(name, 0 if passed else (self._fails.get(name) or 0) + 1)

    def history(self, session: str, role: str) -> History:
        """Return what the session's steps of ``role`` have come to."""
        name = f"{role}\n{session}"
        return History(raised=self._tiers.get(name) or 0, fails=self._fails.get(name))

    def escalated(self, plan: str) -> int:
        """Count an escalation of ``plan``; return how many it has had."""
        count = self.escalations(plan) + 1
        self._escalations.put(plan, count)
        return count

    def escalations(self, plan: str) -> int:
        """Return how often ``plan`` has escalated."""
        return self._escalations.get(plan) or 0
