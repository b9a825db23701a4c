"""The parts that serve steps, wired once per process."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from router.breaker import Breakers, RetryBudget
from router.decider import Decider
from router.feedback import FeedbackDesk
from router.reload import Loaded
from router.request import Limits
from router.sessions import Memory
from router.spending import Spending
from router.upstream import Upstream
from telemetry.clock import Clock
from telemetry.metrics import Meters
from telemetry.records import Decision, Outcome
from telemetry.spans import Content

if TYPE_CHECKING:
    from router.exchange import Exchange, Grading
    from router.route import Route


class Shadowing(Protocol):
    """Takes steps that were answered, to run some again; never blocks and never raises."""

    def offer(self, exchange: "Exchange", outcome: Outcome) -> None:
        """Take one step; its answer is out, or on its way."""
        ...


class Grader(Protocol):
    """Draws steps whose answers are graded, and takes these; never blocks and never raises."""

    def drawn(self, exchange: "Exchange", route: "Route") -> "Grading | None":
        """Return what is needed to grade the answer of a step; None when it was not drawn."""
        ...

    def offer(self, exchange: "Exchange", outcome: Outcome) -> None:
        """Take one step that was drawn; its answer is out, or on its way."""
        ...


class Recorder(Protocol):
    """Takes what became of each step; never blocks and never raises."""

    def record(
        self,
        decision: Decision,
        outcome: Outcome,
        *,
        baggage: Mapping[str, str] = ...,
        content: Content | None = None,
    ) -> None:
        """Take one step, with the baggage it came with and its text if that is kept."""
        ...


@dataclass(kw_only=True, slots=True)
class Load:
    """Steps in flight, and how many may be."""

    steps_max: int
    steps: int = 0
    draining: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gateway:
    """Everything a step needs."""

    loaded: Callable[[], Loaded]  # a step keeps what it began with
    decider: Decider
    upstream: Upstream
    recorder: Recorder
    meters: Meters
    clock: Clock
    rng: random.Random
    limits: Limits
    load: Load
    breakers: Breakers
    retries: RetryBudget
    memory: Memory
    spending: Spending = field(default_factory=Spending)
    feedback: FeedbackDesk | None = None  # None: there is no console to hand it to
    shadows: Shadowing | None = None  # None: no step is run again
    graders: Grader | None = None  # None: no answer is graded
    answer_bytes_max: int = 16_777_216  # a longer answer is relayed unread
    content_bytes_max: int | None = None  # of each body; None: text is not recorded
