"""What was counted in a dump or a store: sums by role, shape and model, and how it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evals.audit.kinds import Kind
from telemetry.records import Tokens

EXAMPLES_MAX: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a row of the report is about: a role, or where nobody named one, a kind of step."""

    role: str | None
    kind: Kind | None  # absent where the role is known

    @property
    def inferred(self) -> bool:
        return self.role is None

    def __str__(self) -> str:
        return self.role if self.role is not None else f"({self.kind})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Calls of one step, kind and model whose inputs price alike; sums, never averages."""

    step: Step
    kind: Kind
    provider: str | None
    model: str | None  # as served
    named: str | None  # as asked for, which is what a policy would name
    tier: str | None  # as a gateway of ours reported it
    calls: int
    errors: int
    tokens: Tokens  # sums
    metered: bool  # input and output of every call are known
    cost_usd: float  # of the calls whose cost is known
    costed: int
    graded: int = 0
    quality_sum: float = 0.0
    quality_squares: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How the context of a step's tasks grows from turn to turn."""

    tasks: int  # with more than one turn
    turns: int  # in those tasks
    first_tokens: float  # mean input of the first turn
    last_tokens: float
    per_turn_tokens: float  # mean growth from one turn to the next


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """Calls that asked again what had been asked; the first of each is not counted."""

    duplicates: int  # the same prompt, anywhere in the dump
    duplicates_usd: float
    rephrasings: int  # the same telling words in the same task
    rephrasings_usd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Needless:
    """Calls of a step whose answer code could have given, one way."""

    way: str
    calls: int
    answers: int  # different ones
    usd: float
    example: str  # trace id:span id


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFacts:
    """What only makes sense for a step as a whole; ``texts`` is how many calls showed theirs."""

    texts: int
    growth: Growth | None = None
    repeats: Repeats | None = None
    needless: tuple[Needless, ...] = ()


@dataclass(kw_only=True, slots=True)
class Reading:
    """How the input was read; every oddity is counted, and the first few are named."""

    sources: list[str] = field(default_factory=list)
    bytes_read: int = 0
    records: int = 0  # spans, log records and rows understood
    duplicates: int = 0  # told twice, kept once
    uncoerced: int = 0  # values that cannot be what they claim: negative, not a number ...
    biased: int = 0  # spans that a sampler kept for what became of them
    evaluations: int = 0
    unrooted: int = 0  # calls without a role whose ancestors are not in the dump
    refused: dict[str, int] = field(default_factory=dict)  # records, by reason
    aside: dict[str, int] = field(default_factory=dict)  # calls that do not count, by reason
    examples: list[str] = field(default_factory=list)
    dialects: dict[str, int] = field(default_factory=dict)
    forms: dict[str, int] = field(default_factory=dict)  # records, by format

    def refuse(self, reason: str, *, where: str = "", count: int = 1) -> None:
        """Count records that could not be used, and name the first few."""
        self.refused[reason] = self.refused.get(reason, 0) + count
        if where:
            self.name(f"{where}: {reason}")

    def name(self, example: str) -> None:
        """Keep one of the first few examples."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that the audit's arithmetic looks at."""

    groups: tuple[Group, ...]
    steps: Mapping[Step, StepFacts]
    reading: Reading
    tasks: int
    first_ns: int | None
    last_ns: int | None
    weighted_calls: float  # what the calls stand for, where senders sampled

    @property
    def days(self) -> float | None:
        """The stretch from the first call to the last; None without two moments."""
        if self.first_ns is None or self.last_ns is None or self.last_ns <= self.first_ns:
            return None
        return (self.last_ns - self.first_ns) / 86_400e9
