"""What is remembered between the steps of a session and of a plan; bounded, and only in memory.

A worker forgets it when it restarts; then a session starts at its role's tier again, which costs
a failed check at worst, and nobody is known to have signed what a conversation holds. What one
worker learns it tells the others of its gateway; see ``router/siblings.py``.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from telemetry.clock import Clock
from telemetry.records import History

REMEMBERED_MAX: Final = 65_536
IDLE_SECONDS_MAX: Final = 86_400.0

T = TypeVar("T")


class Author(NamedTuple):
    """Who signed the reasoning in a conversation."""

    provider: str  # of the turns from ``since`` on
    since: int  # turns before it hold signatures of others too


class Word(msgspec.Struct, frozen=True, array_like=True):
    """What one worker tells the others; what is absent is not what it is about."""

    name: str | None = None  # of a plan, or of a session's role
    raised_to: int | None = None  # the session's role, to this place on the ladder
    fails: int | None = None  # of the session's role, in a row
    escalated: bool = False  # the plan, once more
    author: tuple[bytes, str, int] | None = None  # conversation, provider, since which turn


@dataclass(slots=True)
class _Note(Generic[T]):
    value: T
    until: float


@dataclass(kw_only=True, slots=True)
class Notes(Generic[T]):
    """Small things by name, the least recently used forgotten first."""

    clock: Clock
    told: Callable[[str | bytes, T], None] | None = None  # hears of what was put
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
        """Keep ``value`` until it has not been asked about for a day, and let others know."""
        self.keep(name, value)
        if self.told is not None:
            self.told(name, value)

    def keep(self, name: str | bytes, value: T) -> None:
        """Keep ``value`` as ``put`` does, as something that others know already."""
        self._notes[name] = _Note(value, self.clock.monotonic() + IDLE_SECONDS_MAX)
        self._notes.move_to_end(name)
        while len(self._notes) > REMEMBERED_MAX:
            self._notes.popitem(last=False)


@dataclass(kw_only=True, slots=True)
class Memory:
    """What sessions were raised to and came to, how often plans escalated, who signed what."""

    clock: Clock
    tell: Callable[[Word], None] | None = None  # the gateway's other workers, if there are any
    authors: Notes[Author] = field(init=False)  # by conversation
    _tiers: Notes[int] = field(init=False)
    _escalations: Notes[int] = field(init=False)
    _fails: Notes[int] = field(init=False)

    def __post_init__(self) -> None:
        self.authors = Notes(clock=self.clock, told=self._tell_author)
        self._tiers = Notes(clock=self.clock)
        self._escalations = Notes(clock=self.clock)
        self._fails = Notes(clock=self.clock)

    def tier_floor(self, session: str, role: str) -> int:
        """Return the lowest tier, as its place on the ladder, that the session's role starts at."""
        return self._tiers.get(f"{role}\n{session}") or 0

    def raise_to(self, session: str, role: str, *, tier: int) -> None:
        """Start the session's further steps of ``role`` no lower than ``tier``."""
        if tier > self.tier_floor(session, role):
            name = f"{role}\n{session}"
            self._tiers.put(name, tier)
            self._tell(Word(name, raised_to=tier))

    def judged(self, session: str, role: str, *, passed: bool) -> None:
        """Note whether the answer to a step of the session's role was good."""
        name = f"{role}\n{session}"
        before = self._fails.get(name)
        fails = 0 if passed else (before or 0) + 1
        self._fails.put(name, fails)
        if fails != before:
            self._tell(Word(name, fails=fails))

    def history(self, session: str, role: str) -> History:
        """Return what the session's steps of ``role`` have come to."""
        name = f"{role}\n{session}"
        return History(raised=self._tiers.get(name) or 0, fails=self._fails.get(name))

    def escalated(self, plan: str) -> int:
        """Count an escalation of ``plan``; return how many it has had."""
        count = self.escalations(plan) + 1
        self._escalations.put(plan, count)
        self._tell(Word(plan, escalated=True))
        return count

    def escalations(self, plan: str) -> int:
        """Return how often ``plan`` has escalated."""
        return self._escalations.get(plan) or 0

    def hear(self, word: Word) -> None:
        """Remember what another worker tells."""
        if word.author is not None:
            conversation, provider, since = word.author
            self.authors.keep(conversation, Author(provider, since))
        name = word.name
        if name is None:
            return
        if word.raised_to is not None and word.raised_to > (self._tiers.get(name) or 0):
            self._tiers.put(name, word.raised_to)
        if word.fails is not None:
            self._fails.put(name, word.fails)
        if word.escalated:
            self._escalations.put(name, (self._escalations.get(name) or 0) + 1)

    def _tell(self, word: Word) -> None:
        if self.tell is not None:
            self.tell(word)

    def _tell_author(self, conversation: str | bytes, author: Author) -> None:
        assert isinstance(conversation, bytes), "conversations are known by their digest"
        self._tell(Word(author=(conversation, author.provider, author.since)))
