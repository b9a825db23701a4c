"""An example's bill, counted a second time by hand: calls, of so many tokens, at a price."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from evals.examples.example import CODE, FRONTIER, Billed, Example, Figure, Played, saved
from evals.examples.prices import Price

TOLERANCE_USD: Final = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """So many calls of one kind at one tier; ``usd`` is their sum."""

    name: str
    tier: str
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float

    def formula(self, price: Price | None) -> str:
        """Return the line as anybody can check it."""
        if price is None:
            return f"{self.calls:,} x $0 = $0"
        return (
            f"{self.calls:,} x ({self.tokens_in:,} x ${price.input:g} + {self.tokens_out:,} x "
            f"${price.output:g}) / 1M = ${self.usd:.6f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A run as it is told: expected beside measured, claimed beside ours."""

    example: Example
    routed: list[Line]
    uniform: list[Line]
    gateway_usd: float  # as the replies' headers add up
    billed_usd: float  # as the stand-ins' ledger adds up
    uniform_usd: float  # the same, of the frontier alone
    steps: int
    right: int
    model_calls: int
    seconds: float
    figures: list[Figure]

    @property
    def expected_usd(self) -> float:
        """The routed bill, from first principles."""
        return sum(line.usd for line in self.routed)

    @property
    def expected_uniform_usd(self) -> float:
        """The frontier's bill, from first principles."""
        return sum(line.usd for line in self.uniform)

    @property
    def saved(self) -> float:
        """The share of the frontier's bill that was not spent."""
        return saved(self.billed_usd, of=self.uniform_usd * self.example.uniform_times)

    @property
    def adds_up(self) -> bool:
        """Whether the gateway, both ledgers and the arithmetic by hand say the same."""
        pairs = (
            (self.gateway_usd, self.billed_usd),
            (self.expected_usd, self.billed_usd),
            (self.expected_uniform_usd, self.uniform_usd),
        )
        return all(abs(one - other) <= TOLERANCE_USD for one, other in pairs)

    @property
    def explained(self) -> bool:
        """Whether each claim is reproduced, or the difference is said."""
        return all(figure.agrees or figure.why.strip() for figure in self.figures)

    def as_json(self) -> dict[str, Any]:
        """Return the whole account as plain values."""
        example = self.example
        return {
            "example": example.name,
            "title": example.title,
            "claim": example.claim,
            "inputs": example.inputs,
            "scale": example.scale,
            "policy": example.policy.name,
            "prices": {tier: asdict(price) for tier, price in example.prices.items()},
            "steps": self.steps,
            "right": self.right,
            "model_calls": self.model_calls,
            "expected": {
                "routed_usd": self.expected_usd,
                "uniform_usd": self.expected_uniform_usd,
                "routed": [self._line(line) for line in self.routed],
                "uniform": [self._line(line) for line in self.uniform],
            },
            "measured": {
                "gateway_usd": self.gateway_usd,
                "billed_usd": self.billed_usd,
                "uniform_usd": self.uniform_usd,
                "uniform_times": example.uniform_times,
                "saved": self.saved,
            },
            "figures": [asdict(each) | {"verdict": each.verdict} for each in self.figures],
            "adds_up": self.adds_up,
            "seconds": self.seconds,
        }

    def formula(self, line: Line) -> str:
        """Return one of its lines as anybody can check it."""
        return line.formula(self.example.prices.get(line.tier))

    def _line(self, line: Line) -> dict[str, Any]:
        return asdict(line) | {"formula": self.formula(line)}


def account(example: Example, played: Played) -> Account:
    """Return the account of a run."""
    return Account(
        example=example,
        routed=_routed(example, played),
        uniform=_uniform(example),
        gateway_usd=sum(one.cost_usd for one in played.made),
        billed_usd=_sum(example, played.billed),
        uniform_usd=_sum(example, played.uniform),
        steps=len(played.made),
        right=sum(one.right for one in played.made),
        model_calls=len(played.billed),
        seconds=played.seconds,
        figures=example.figures(example, played),
    )


def _sum(example: Example, entries: Iterable[Billed]) -> float:
    return sum(example.usd(entry) for entry in entries)


def _routed(example: Example, played: Played) -> list[Line]:
    """One line for each role and tier: a step's attempts take its role's path, one after another.

    How often an answer failed is the run's to say; what each attempt costs is not.
    """
    counts: Counter[tuple[str, int]] = Counter()
    for one in played.made:
        counts.update((one.ask.role, number) for number in range(one.attempts))
    lines = []
    for role in example.roles:
        for number, tier in enumerate(role.path):
            calls = counts[role.name, number]
            if not calls:
                continue
            each = 0.0
            if tier != CODE:
                each = example.prices[tier].usd(role.tokens_in, role.tokens_out)
            lines.append(
                Line(
                    name=role.name if number == 0 else f"{role.name}, escalated",
                    tier=tier,
                    calls=calls,
                    tokens_in=0 if tier == CODE else role.tokens_in,
                    tokens_out=0 if tier == CODE else role.tokens_out,
                    usd=calls * each,
                )
            )
    return lines


def _uniform(example: Example) -> list[Line]:
    price = example.prices[FRONTIER]
    return [
        Line(
            name=turns.name,
            tier=FRONTIER,
            calls=len(turns.prompts),
            tokens_in=turns.tokens_in,
            tokens_out=turns.tokens_out,
            usd=len(turns.prompts) * price.usd(turns.tokens_in, turns.tokens_out),
        )
        for turns in example.uniform
    ]
