"""What each role spent and how good its answers were, from the spans and both judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from router.demo.store import Attempt, Chain
from router.demo.telling import Told


@dataclass(frozen=True, kw_only=True, slots=True)
class Spend:
    """What one role spent on one tier; answers are judged where they were delivered."""

    role: str
    tier: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    steps_right: int
    steps_judged: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleQuality:
    """What checks did for one role."""

    role: str
    steps: int
    first_passed: int  # steps whose first answer passed its checks
    escalations: int  # caused by failed checks or failed models
    abstained: int  # steps that the tier `code` handed on
    first_right: int  # steps whose first answer, before any check, was right
    right: int  # steps whose delivered answer was right
    first_cost_usd: float  # of those first answers
    cost_usd: float  # of all attempts


def spend_of(steps: Sequence[Told]) -> list[Spend]:
    """Return spend by role and tier, dearest first; every attempt counts."""
    groups: dict[tuple[str, str], list[Attempt]] = {}
    marks: dict[tuple[str, str], list[bool]] = {}
    for step in steps:
        for attempt in step.chain.attempts if step.chain else ():
            groups.setdefault((attempt.role, attempt.tier), []).append(attempt)
        if step.result.right is not None and step.result.tier is not None:
            key = (step.result.role, step.result.tier)
            marks.setdefault(key, []).append(step.result.right)
    rows = [
        Spend(
            role=role,
            tier=tier,
            calls=len(attempts),
            input_tokens=sum(attempt.input_tokens or 0 for attempt in attempts),
            output_tokens=sum(attempt.output_tokens or 0 for attempt in attempts),
            cost_usd=sum(attempt.cost_usd or 0.0 for attempt in attempts),
            steps_right=sum(marks.get((role, tier), ())),
            steps_judged=len(marks.get((role, tier), ())),
        )
        for (role, tier), attempts in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.cost_usd, row.role, row.tier))


def quality_of(steps: Sequence[Told], believed: Mapping[str, bool]) -> list[RoleQuality]:
    """Return one row a role, most steps first; steps that nobody was asked are left out.

    ``believed`` says by response id whether a stand-in's answer was right: the only judge of an
    answer that nobody got. What the tier `code` answered is judged where it was delivered.
    """
    roles: dict[str, list[tuple[Told, Chain]]] = {}
    for step in steps:
        if step.chain is not None and step.chain.attempts:
            roles.setdefault(step.result.role, []).append((step, step.chain))
    rows = [
        RoleQuality(
            role=role,
            steps=len(members),
            first_passed=sum(_first_passed(chain) for _, chain in members),
            escalations=sum(chain.escalations_count for _, chain in members),
            abstained=sum(chain.abstained for _, chain in members),
            first_right=sum(_first_right(step, chain, believed) for step, chain in members),
            right=sum(step.result.right is True for step, _ in members),
            first_cost_usd=sum(_first_cost(chain) for _, chain in members),
            cost_usd=sum(a.cost_usd or 0.0 for _, chain in members for a in chain.attempts),
        )
        for role, members in roles.items()
    ]
    return sorted(rows, key=lambda row: (-row.steps, row.role))


def _first_passed(chain: Chain) -> bool:
    return chain.first_answer is not None and not chain.first_answer.failed


def _first_cost(chain: Chain) -> float:
    return (chain.first_answer.cost_usd or 0.0) if chain.first_answer else 0.0


def _first_right(step: Told, chain: Chain, believed: Mapping[str, bool]) -> bool:
    first = chain.first_answer
    if first is None:
        return False
    if first.response_id is None:
        return first is chain.attempts[-1] and step.result.right is True
    return believed.get(first.response_id, False)


def spend_table(rows: Sequence[Spend]) -> Table:
    """Return spend by role and tier."""
    table = Table(
        title="Spend by role and tier, from the spans",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
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
            f"{row.steps_right}/{row.steps_judged}" if row.steps_judged else "",
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


def quality_table(rows: Sequence[RoleQuality]) -> Table:
    """Return what checks did for each role."""
    table = Table(title="Checks by role", title_justify="left", box=None, pad_edge=False)
    table.add_column("role")
    for name in (
        "steps", "first answer passed", "escalations", "code abstained", "first answer right",
        "delivered right", "cost of escalations",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    table.add_section()
    table.add_row(*_cells(total_of(rows)))
    return table


def total_of(rows: Sequence[RoleQuality]) -> RoleQuality:
    """Return all roles as one row."""
    return RoleQuality(
        role="all",
        steps=sum(row.steps for row in rows),
        first_passed=sum(row.first_passed for row in rows),
        escalations=sum(row.escalations for row in rows),
        abstained=sum(row.abstained for row in rows),
        first_right=sum(row.first_right for row in rows),
        right=sum(row.right for row in rows),
        first_cost_usd=sum(row.first_cost_usd for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
    )


def _cells(row: RoleQuality) -> tuple[str, ...]:
    return (
        row.role,
        str(row.steps),
        f"{row.first_passed / row.steps:.1%}" if row.steps else "",
        str(row.escalations or ""),
        str(row.abstained or ""),
        f"{row.first_right}/{row.steps}",
        f"{row.right}/{row.steps}",
        f"${row.cost_usd - row.first_cost_usd:.6f}",
    )
