"""What the demo shows: the stated table, one line a step, the spend, the comparison."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from evals.standin.skills import SKILLS, SkillTable, Step
from evals.workloads.steps import StepResult
from router.demo.files import PRICES, TIERS
from router.demo.ledgers import Bill, Check
from router.demo.sink import AttemptSpan

METHOD = (
    "Uniform frontier: the very requests that the agents sent, replayed in the same order against "
    "a fresh frontier stand-in and priced by what it counted, its prompt cache included."
)
STATED = (
    "The providers are stand-ins: real HTTP servers on this machine that answer by the table "
    "below. Their skill is chosen, not measured; nothing is billed. Prices are list prices of the "
    "models named."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spend:
    """What one role spent on one tier."""

    role: str
    tier: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    steps_right: int
    steps_judged: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that a run found."""

    spend: Sequence[Spend]
    checks: Sequence[Check]
    routed: Bill
    frontier: Bill
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    @property
    def saved_share(self) -> float | None:
        """Share of uniform frontier's cost that routing saved; negative when it cost more.

        None when a check is broken: figures that do not add up support no claim.
        """
        if self.frontier.usd == 0 or not self.holds:
            return None
        return 1 - self.routed.usd / self.frontier.usd

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "event": "summary",
            "holds": self.holds,
            "checks": [asdict(check) for check in self.checks],
            "spend": [asdict(row) for row in self.spend],
            "routed": asdict(self.routed),
            "uniform_frontier": {**asdict(self.frontier), "method": METHOD},
            "saved_share": self.saved_share,
            "seconds": round(self.seconds, 3),
        }


def stated_json() -> dict[str, Any]:
    """Return the stated table as plain values."""
    return {
        "event": "stated",
        "note": STATED,
        "skills": SkillTable().as_json(),
        "prices": {tier: asdict(price) for tier, price in PRICES.items()},
    }


def skills_table() -> Table:
    """Return the stated table: chance of a right answer by step and tier, pace and price."""
    table = Table(title="The stand-ins, as stated", title_justify="left")
    table.add_column("chance of a right answer")
    for tier in TIERS:
        table.add_column(tier, justify="right")
    models = [SKILLS[PRICES[tier].model.partition("/")[2]] for tier in TIERS]
    for step in Step:
        if step is not Step.OTHER:
            table.add_row(step.value, *(f"{model.steps[step].right:.1%}" for model in models))
    table.add_section()
    table.add_row("first byte, s", *(f"{model.first_byte_seconds:g}" for model in models))
    table.add_row("tokens/s", *(f"{1 / model.token_seconds:.0f}" for model in models))
    prices = [PRICES[tier] for tier in TIERS]
    table.add_row("$ per million in / out", *(f"{p.input:g} / {p.output:g}" for p in prices))
    table.add_row("cache read / write", *(f"{p.cache_read:g} / {p.cache_write:g}" for p in prices))
    table.add_row("price of", *(price.like for price in prices))
    return table


def step_line(number: int, result: StepResult) -> str:
    """Return one line for one routed step; a stream's cost is known from its span only."""
    said = result.said
    cost = "in its span" if result.cost_usd is None else f"${result.cost_usd:.6f}"
    mark = {True: "right", False: "WRONG", None: "not judged"}[result.right]
    if said.error is not None:
        mark = f"FAILED {said.error[:60]}"
    tokens = f"{_known(said.input_tokens)} in {_known(said.output_tokens)} out"
    return (
        f"{number:>4} {result.role:<16}{result.step:<15}{result.tier or '?':<9}"
        f"{said.headers.get('model', '?'):<23}{tokens:<17}{cost:<12}{mark}"
    )


def step_json(number: int, result: StepResult) -> dict[str, Any]:
    """Return the same as plain values."""
    headers = result.said.headers
    return {
        "event": "step",
        "number": number,
        "role": result.role,
        "step": result.step,
        "session": result.session,
        "tier": result.tier,
        "model": headers.get("model"),
        "decision": headers.get("decision"),
        "attempts": headers.get("attempts"),
        "input_tokens": result.said.input_tokens,
        "output_tokens": result.said.output_tokens,
        "cost_usd": result.cost_usd,
        "right": result.right,
        "error": result.said.error,
    }


def spend_of(attempts: Sequence[AttemptSpan], results: Sequence[StepResult]) -> list[Spend]:
    """Return spend by role and tier, dearest first; right and wrong count for the last attempt."""
    judged = {r.said.headers.get("decision"): r.right for r in results if r.right is not None}
    last = {span.decision_id: n for n, span in enumerate(attempts)}
    groups: dict[tuple[str, str], list[int]] = {}
    for n, span in enumerate(attempts):
        groups.setdefault((span.role, span.tier), []).append(n)
    rows = []
    for (role, tier), numbers in groups.items():
        spans = [attempts[n] for n in numbers]
        ended = [attempts[n].decision_id for n in numbers if last[attempts[n].decision_id] == n]
        marks = [judged[decision] for decision in ended if decision in judged]
        rows.append(
            Spend(
                role=role,
                tier=tier,
                calls=len(spans),
                input_tokens=sum(span.input_tokens or 0 for span in spans),
                output_tokens=sum(span.output_tokens or 0 for span in spans),
                cost_usd=sum(span.cost_usd or 0.0 for span in spans),
                steps_right=sum(marks),
                steps_judged=len(marks),
            )
        )
    return sorted(rows, key=lambda row: -row.cost_usd)


def spend_table(rows: Sequence[Spend]) -> Table:
    """Return spend by role and tier."""
    table = Table(title="Spend by role and tier, from the spans", title_justify="left")
    for name in ("role", "tier"):
        table.add_column(name)
    for name in ("calls", "input", "output", "cost", "share", "right"):
        table.add_column(name, justify="right")
    total = sum(row.cost_usd for row in rows)
    for row in rows:
        table.add_row(
            row.role,
            row.tier,
            str(row.calls),
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
            f"${row.cost_usd:.6f}",
            f"{row.cost_usd / total:.1%}" if total else "",
            f"{row.steps_right}/{row.steps_judged}",
        )
    table.add_section()
    table.add_row(
        "all", "",
        str(sum(row.calls for row in rows)),
        f"{sum(row.input_tokens for row in rows):,}",
        f"{sum(row.output_tokens for row in rows):,}",
        f"${total:.6f}", "",
        f"{sum(row.steps_right for row in rows)}/{sum(row.steps_judged for row in rows)}",
    )  # fmt: skip
    return table


def comparison(findings: Findings) -> list[str]:
    """Return what routing cost and gave beside uniform frontier, in words."""
    routed, frontier = findings.routed, findings.frontier
    saved = findings.saved_share
    points = (_right_share(frontier) - _right_share(routed)) * 100
    claim = "unknown, because a check is broken"
    if saved is not None:
        claim = f"{saved:.1%} of the money, for {points:.1f} points fewer right answers"
    return [
        f"routed            ${routed.usd:.6f}   {_right_share(routed):.1%} of answers right",
        f"uniform frontier  ${frontier.usd:.6f}   {_right_share(frontier):.1%} of answers right",
        f"saved             {claim}",
        METHOD,
    ]


def _right_share(bill: Bill) -> float:
    return bill.right_count / bill.requests_count if bill.requests_count else 0.0


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
