"""Two collaboration modes whose best tiers differ, for a learner to find out.

A *debate* shows a critic two answers and asks which is right: the small tier does that as well as
the frontier. In *reflection* a critic must find what is wrong with its own draft: it does not.
"""

import itertools
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from evals.examples.example import FRONTIER, HERE, PROVIDER
from evals.examples.prices import FLASH_LITE, OPUS
from evals.workloads.tickets import CATEGORIES, Ticket, tickets

POLICY: Final = HERE / "policies" / "modes.toml"
PRICES: Final = {"small": FLASH_LITE, FRONTIER: OPUS}
DEBATE: Final = "debate"
REFLECTION: Final = "reflection"
UNSEEN: Final = "chain"  # a mode in which nobody worked before
MODES: Final = (DEBATE, REFLECTION)
OWN: Final = "reviewer"  # reflection has terms, and so a floor, of its own
SHARED: Final = "critic"  # one floor for the role
FLOOR: Final = 0.9
RECENT: Final = 150  # steps in a mode that its share and quality are those of
TRIED_MIN: Final = 12  # small answers in a mode before anything is said to be found there
DEBATE_MIN: Final = 0.8  # share of debates on small that counts as found
# Exploration stays; and what one floor has to spare in debates may be spent in reflection.
REFLECTION_MAX: Final = {OWN: 0.2, SHARED: 0.4}
TICKETS_AT_ONCE: Final = 500
# How often each tier is right: in debates equally often, in reflection not.
SKILLS: Final[dict[str, Any]] = {
    f"{PROVIDER}-small": {"right": {"classify": 0.97, "verify": 0.4}},
    f"{PROVIDER}-{FRONTIER}": {"right": {"classify": 0.97, "verify": 0.97}},
}
FORBIDDEN: Final = "guarantee"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One step of a critic, and what it should answer."""

    role: str
    mode: str
    session: str
    prompt: str
    answer: Any  # a word, or the value of a JSON object

    def is_right(self, text: str) -> bool:
        """Say whether ``text`` is the right answer."""
        if isinstance(self.answer, str):
            return text.strip() == self.answer
        try:
            return bool(json.loads(text) == self.answer)
        except ValueError:
            return False


def asks(role: str, *, seed: int) -> Iterator[Ask]:
    """Yield steps without end, the modes in turn and a ticket each."""
    made = (tickets(TICKETS_AT_ONCE, seed=seed * 1_000 + part) for part in itertools.count())
    for number, ticket in enumerate(itertools.chain.from_iterable(made)):
        if number % 2:
            yield reflect(ticket, role, sound=number % 4 == 1)
        else:
            yield debate(ticket, role)


def debate(ticket: Ticket, role: str, *, mode: str = DEBATE) -> Ask:
    """Return the step that asks which of two headings is right."""
    place = CATEGORIES.index(ticket.category)
    other = CATEGORIES[(place + 1) % len(CATEGORIES)]
    sides = ", ".join(sorted((ticket.category, other)))
    prompt = (
        "Two agents filed the ticket under different headings. Say who is right. Answer with one "
        f"of: {sides}.\n\n<ticket>\n{ticket.text}\n</ticket>"
    )
    return Ask(
        role=role, mode=mode, session=ticket.ticket_id, prompt=prompt, answer=ticket.category
    )


def reflect(ticket: Ticket, role: str, *, sound: bool) -> Ask:
    """Return the step that asks what is wrong with a draft."""
    order = ticket.order.order_id
    promise = "" if sound else f" We {FORBIDDEN} a {ticket.action}."
    prompt = (
        "You wrote this yourself. Check the draft against the policy. Answer as JSON with the keys "
        f"ok and violations.\n- the draft must contain '{order}'\n"
        f"- the draft must not contain '{FORBIDDEN}'\n\n"
        f"<draft>\nDear {ticket.customer}, about {order}: {ticket.action}.{promise}\n</draft>"
    )
    answer = {"ok": sound, "violations": [] if sound else [FORBIDDEN]}
    return Ask(role=role, mode=REFLECTION, session=ticket.ticket_id, prompt=prompt, answer=answer)


@dataclass(slots=True)
class Tally:
    """What became of the steps in one mode."""

    steps: int = 0
    tried: int = 0  # answered by small
    recent: deque[tuple[bool, bool]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def take(self, *, tier: str, right: bool) -> None:
        """Count one answered step."""
        self.steps += 1
        self.tried += tier == "small"
        self.recent.append((tier == "small", right))


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """How one mode stands; the share that starts small and the quality are its last steps'."""

    mode: str
    steps: int
    tried: int
    small_share: float | None  # None before there were as many steps
    quality: float | None
    reflection_max: float  # share of reflection's steps on small that still counts as found

    @property
    def best(self) -> bool:
        """Whether the learner found the mode's better tier, having tried the other."""
        if self.small_share is None or self.tried < TRIED_MIN:
            return False
        if self.mode == DEBATE:
            return self.small_share >= DEBATE_MIN
        return self.small_share <= self.reflection_max


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A whole run; ``unseen`` is the share of steps in a new mode that start small."""

    role: str
    found: Sequence[Found]
    unseen: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the better tier of each mode was found."""
        return all(one.best for one in self.found)

    @property
    def quality(self) -> float | None:
        """The role's quality over its last steps, as many of each mode."""
        known = [one.quality for one in self.found if one.quality is not None]
        return sum(known) / len(known) if len(known) == len(self.found) else None

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        modes = [asdict(one) | {"found": one.best} for one in self.found]
        own = {"quality": self.quality, "floor": FLOOR, "holds": self.holds}
        return asdict(self) | {"found": modes} | own


class Book:
    """The tallies of one role's run."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._tallies = {mode: Tally() for mode in MODES}

    def take(self, ask: Ask, *, tier: str, right: bool) -> None:
        """Count one answered step."""
        self._tallies[ask.mode].take(tier=tier, right=right)

    def found(self) -> list[Found]:
        """Return how each mode stands."""
        return [
            Found(
                mode=mode,
                steps=tally.steps,
                tried=tally.tried,
                small_share=_share(small for small, _ in tally.recent),
                quality=_share(right for _, right in tally.recent),
                reflection_max=REFLECTION_MAX[self.role],
            )
            for mode, tally in self._tallies.items()
        ]


def _share(values: Iterator[bool]) -> float | None:
    known = list(values)
    return sum(known) / RECENT if len(known) == RECENT else None
