"""The parts that serve steps, wired once per process."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from learning.learner import Learner
from router.reload import Loaded
from router.request import Limits
from router.upstream import Upstream
from telemetry.clock import Clock
from telemetry.records import Decision, Outcome


class Recorder(Protocol):
    """Takes what became of each step; never blocks and never raises."""

    def record(
        self,
        decision: Decision,
        outcome: Outcome,
        *,
        baggage: tuple[tuple[str, str], ...] = (),
        content: tuple[tuple[bytes, bytes], ...] | None = None,
    ) -> None:
        """Take one step; ``content`` holds request and answer bytes of each attempt."""
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
    learner: Learner
    upstream: Upstream
    recorder: Recorder
    clock: Clock
    rng: random.Random
    limits: Limits
    load: Load
    answer_bytes_max: int = 16_777_216  # a longer answer is relayed unread
    baggage: tuple[str, ...] = ()  # keys that the route span may carry
    content: bool = False
    rejected: Callable[[str], None] = field(default=lambda code: None)  # counts by error code
