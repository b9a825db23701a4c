"""What the demo shows: the stated table, one line a step, the spend, the comparison."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from evals.standin.skills import SKILLS, SkillTable, Step
from router.demo.files import HELD, PLAN_ESCALATIONS_MAX, PRICES, TIERS
from router.demo.ledgers import Bill, Check
from router.demo.spend import RoleQuality, Spend, total_of
from router.demo.store import CODE, Attempt
from router.demo.telling import Told

METHOD = (
    "Uniform frontier: the very requests that the agents sent, replayed in the same order against "
    "a fresh frontier stand-in and priced by what it counted, its prompt cache included."
)
FIRST = (
    "Its first answers: what each step's first answer cost and whether it was right, before any "
    "check; what came of them without checks, had every agent gone on in the same way."
)
ERROR_CHARACTERS_MAX = 400
BUDGET_STATUS = "Error code: 402"  # as the official client writes it
STATED = (
    "The providers are stand-ins: real HTTP servers on this machine that answer by the table "
    "below. Their skill is chosen, not measured; nothing is billed. Prices are list prices of the "
    "models named."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A plan that was revised because its escalations were spent."""

    plan: str
    escalations: int
    revised: str  # the plan that the rest of the batch followed
    steps_after: int
    escalations_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that a run found."""

    spend: Sequence[Spend]
    quality: Sequence[RoleQuality]
    revisions: Sequence[Revision]
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
            "quality": [asdict(row) for row in self.quality],
            "first_answers": asdict(total_of(self.quality)),
            "revisions": [asdict(revision) for revision in self.revisions],
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
    table = Table(
        title="The stand-ins, as stated", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
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


def step_lines(number: int, step: Told) -> list[str]:
    """Return a line for one step, and below it one for its chain when there were several calls."""
    result, chain = step.result, step.chain
    cost = chain.cost_usd if chain else result.cost_usd
    mark = {True: "right", False: "WRONG", None: "not judged"}[result.right]
    if result.said.error is not None:
        mark = "FAILED"
    elif result.role in HELD:
        mark += ", stream held until checked"
    tokens = f"{_known(result.said.input_tokens)} in {_known(result.said.output_tokens)} out"
    if chain is not None and not chain.attempts:
        tokens = "nobody asked"
    shown = "unknown" if cost is None else f"${cost:.6f}"
    model = result.said.headers.get("model", "-")
    lines = [
        f"{number:>4} {result.role:<16}{result.step:<15}{result.tier or '-':<9}"
        f"{model:<29}{tokens:<17}{shown:<12}{mark}"
    ]
    if chain is not None and len(chain.attempts) > 1:
        lines.append("     " + " -> ".join(map(_attempt, chain.attempts)))
    if result.said.error is not None:
        lines.append(f"     {result.said.error[:ERROR_CHARACTERS_MAX]}")
    if result.said.headers.get("replan") == "true":
        lines.append("     x-tierwise-replan: true")
    return lines


def _attempt(attempt: Attempt) -> str:
    """Return one attempt in a few words: tier, what became of it, cost."""
    words = "ok"
    if attempt.failed:
        words = f"x {', '.join(attempt.failed)}"
    elif attempt.error_type is not None:
        words = attempt.error_type
    cost = "unknown" if attempt.cost_usd is None else f"${attempt.cost_usd:.6f}"
    return f"{attempt.tier} {words} {cost if attempt.cost_usd != 0 else '$0'}"


def step_json(number: int, step: Told) -> dict[str, Any]:
    """Return the same as plain values."""
    result, headers = step.result, step.result.said.headers
    return {
        "event": "step",
        "number": number,
        "role": result.role,
        "step": result.step,
        "session": result.session,
        "plan": step.chain.plan if step.chain else None,
        "tier": result.tier,
        "model": headers.get("model"),
        "decision": headers.get("decision"),
        "attempts": [_attempt_json(a) for a in step.chain.attempts] if step.chain else None,
        "held": result.role in HELD,
        "replan": headers.get("replan") == "true",
        "input_tokens": result.said.input_tokens,
        "output_tokens": result.said.output_tokens,
        "cost_usd": step.chain.cost_usd if step.chain else result.cost_usd,
        "right": result.right,
        "error": result.said.error,
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "tier": attempt.tier,
        "cause": attempt.cause,
        "failed": list(attempt.failed),
        "error": attempt.error_type,
        "cost_usd": attempt.cost_usd,
    }


def revisions_of(steps: Sequence[Told]) -> list[Revision]:
    """Return every plan that a reply asked to revise, with the plan that followed it."""
    chains = [step.chain for step in steps if step.chain is not None]
    found = []
    for number, step in enumerate(steps):
        if step.result.said.headers.get("replan") != "true" or step.chain is None:
            continue
        following = (later for later in steps[number:] if later.result.step == "replan")
        made = next(following, None)
        if step.chain.plan is None or made is None or made.chain is None:
            continue
        old, new = step.chain.plan, made.chain.plan or ""
        under = [chain for chain in chains if chain.plan == new]
        found.append(
            Revision(
                plan=old,
                escalations=sum(c.escalations_count for c in chains if c.plan == old),
                revised=new,
                steps_after=len(under) - 1,  # without the planner's own
                escalations_after=sum(chain.escalations_count for chain in under),
            )
        )
    return found


def refused(step: Told) -> bool:
    """Say whether a spent budget kept a step from being asked of anybody."""
    error = step.result.said.error
    return error is not None and BUDGET_STATUS in error


def shown_check(steps: Sequence[Told], revisions: Sequence[Revision]) -> Check:
    """Return whether everything came to pass that the demo is there to show."""
    chains = [step.chain for step in steps if step.chain is not None]
    held = [step for step in steps if step.result.role in HELD and step.chain is not None]
    counts = {
        "escalations": sum(chain.escalations_count for chain in chains),
        "answers of code": sum(step.result.tier == CODE for step in steps),
        "abstentions": sum(chain.abstained for chain in chains),
        "held streams that failed": sum(bool(s.chain and s.chain.escalations_count) for s in held),
        "steps refused by a budget": sum(map(refused, steps)),
        "steps under a revised plan": sum(revision.steps_after for revision in revisions),
    }
    return Check(
        name="everything happened that the demo shows",
        holds=all(counts.values()),
        found=", ".join(f"{count} {name}" for name, count in counts.items()),
    )


def comparison(findings: Findings) -> list[str]:
    """Return what routing cost and gave beside uniform frontier, in words."""
    routed, frontier, first = findings.routed, findings.frontier, total_of(findings.quality)
    saved = findings.saved_share
    points = (_right_share(frontier) - _right_share(routed)) * 100
    claim = "unknown, because a check is broken"
    if saved is not None:
        claim = f"{saved:.1%} of the money, for {points:.1f} points fewer right answers"
    first_share = first.first_right / first.steps if first.steps else 0.0
    lines = [
        f"{revision.plan}: {revision.escalations} escalations spent its budget of "
        f"{PLAN_ESCALATIONS_MAX}; {revision.revised} took over for {revision.steps_after} steps "
        f"with {revision.escalations_after} escalations"
        for revision in findings.revisions
    ]
    return [
        *lines,
        f"routed            ${routed.usd:.6f}   {_right_share(routed):.1%} of answers right",
        f"its first answers ${first.first_cost_usd:.6f}   {first_share:.1%} of answers right",
        f"uniform frontier  ${frontier.usd:.6f}   {_right_share(frontier):.1%} of answers right",
        f"saved             {claim}",
        FIRST,
        METHOD,
    ]


def _right_share(bill: Bill) -> float:
    return bill.right_count / bill.steps_count if bill.steps_count else 0.0


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
