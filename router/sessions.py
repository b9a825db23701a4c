"""What is remembered between the steps of a session and of a plan; bounded, and only in memory.

A worker forgets it when it restarts; then a session starts at its role's tier again, which costs
a failed check at worst.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from telemetry.clock import Clock

REMEMBERED_MAX: Final = 65_536
IDLE_SECONDS_MAX: Final = 86_400.0


@dataclass(slots=True)
class _Note:
    value: int
    until: float


@dataclass(kw_only=True, slots=True)
class Notes:
    """Small numbers by name, the least recently used forgotten first."""

    clock: Clock
    _notes: "OrderedDict[str, _Note]" = field(default_factory=OrderedDict)

    def get(self, name: str) -> int:
        """Return the number kept under ``name``; 0 when there is none."""
        note = self._notes.get(name)
        if note is None:
            return 0
        now = self.clock.monotonic()
        if note.until < now:
            del self._notes[name]
            return 0
        note.until = now + IDLE_SECONDS_MAX
        self._notes.move_to_end(name)
        return note.value

    def put(self, name: str, value: int) -> None:
        """Keep ``value`` until it has not been asked about for a day."""
        self._notes[name] = _Note(value, self.clock.monotonic() + IDLE_SECONDS_MAX)
        self._notes.move_to_end(name)
        while len(self._notes) > REMEMBERED_MAX:
            self._notes.popitem(last=False)


@dataclass(kw_only=True, slots=True)
class Memory:
    """Which tier a session has been raised to, and how often a plan has escalated."""

    clock: Clock
    _tiers: Notes = field(init=False)
    _escalations: Notes = field(init=False)

    def __post_init__(self) -> None:
        self._tiers = Notes(clock=self.clock)
        self._escalations = Notes(clock=self.clock)

    def tier_floor(self, session: str, role: str) -> int:
        """Return the lowest tier, as its place on the ladder, that the session's role starts at."""
        return self._tiers.get(f"{role}\n{session}")

    def raise_to(self, session: str, role: str, *, tier: int) -> None:
        """Start the session's further steps of ``role`` no lower than ``tier``."""
        if tier > self.tier_floor(session, role):
            self._tiers.put(f"{role}\n{session}", tier)

    def escalated(self, plan: str) -> int:
        """Count an escalation of ``plan``; return how many it has had."""
        count = self._escalations.get(plan) + 1
        self._escalations.put(plan, count)
        return count

    def escalations(self, plan: str) -> int:
        """Return how often ``plan`` has escalated."""
        return self._escalations.get(plan)
