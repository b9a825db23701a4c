"""What a worked example consists of, and what a run of it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from evals.examples.prices import Price

HERE: Final = Path(__file__).parent
CODE: Final = "code"
PROVIDER: Final = "standin"
FRONTIER: Final = "frontier"


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """Who asks: the size of its calls in tokens, and the tiers its attempts take in their order."""

    name: str
    tokens_in: int
    tokens_out: int
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One step of an agent."""

    role: str
    prompt: str
    answer: str  # the right one


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Steps made while stand-ins are right so often, by model and kind of step; else as stated."""

    name: str
    skills: Mapping[str, Mapping[str, float]]
    asks: Sequence[Ask]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """Calls of one size that the frontier would make without routing."""

    name: str
    tokens_in: int
    tokens_out: int
    prompts: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What became of one ask, as the gateway told it."""

    phase: str
    ask: Ask
    tier: str
    attempts: int
    cost_usd: float
    right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Billed:
    """One line of a stand-in's ledger."""

    model: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """A whole run: every step, and both of the stand-in's ledgers."""

    made: Sequence[Made]
    billed: Sequence[Billed]
    uniform: Sequence[Billed]
    seconds: float

    def of(self, *, phase: str | None = None, role: str | None = None) -> list[Made]:
        """Return the steps of a phase, of a role, or both."""
        return [
            one for one in self.made if phase in (None, one.phase) and role in (None, one.ask.role)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure that is claimed in the field, and ours; ``why`` explains what lies between.

    Without ``claimed`` it is ours alone: what the claim leaves out.
    """

    name: str
    unit: str  # share, usd or ratio
    ours: float
    why: str
    claimed: str | None = None  # as it is said
    low: float = 0.0  # what agrees with the claim lies in low..high
    high: float = 0.0

    @property
    def agrees(self) -> bool | None:
        """Whether ours is what is claimed; None where nothing is."""
        return None if self.claimed is None else self.low <= self.ours <= self.high

    @property
    def verdict(self) -> str:
        """The same in words."""
        words = {None: "ours alone", True: "as claimed", False: "differs"}
        return words[self.agrees]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One worked example. ``tokens_thought`` is hidden output by the stand-ins' kind of step."""

    name: str
    title: str
    claim: str
    inputs: str
    scale: str
    prices: Mapping[str, Price]  # by tier
    roles: Sequence[Role]
    phases: Sequence[Phase]
    uniform: Sequence[Turns]
    figures: Callable[["Example", Played], list[Figure]]
    tokens_thought: Mapping[str, int] = field(default_factory=dict)
    uniform_times: int = 1  # how often the frontier's turns would be made for the steps routed
    functions: str | None = None  # the file of its code tier, beside its policy

    @property
    def policy(self) -> Path:
        """The policy that it runs under, for people to read."""
        return HERE / "policies" / f"{self.name}.toml"

    def role(self, name: str) -> Role:
        """Return the role of that name."""
        return next(role for role in self.roles if role.name == name)

    def usd(self, entry: Billed) -> float:
        """Return what a line of the ledger costs at the example's prices."""
        price = self.prices[entry.model.removeprefix(f"{PROVIDER}-")]
        return price.usd(entry.tokens_in, entry.tokens_out)


def saved(spent: float, *, of: float) -> float:
    """Return the share of ``of`` that was not spent; negative when more was.

    >>> saved(25.0, of=100.0), saved(125.0, of=100.0)
    (0.75, -0.25)
    """
    return 1.0 - spent / of
