"""Savings of a window, from roll-ups and from the policy's present terms."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from collector import savings_queries
from collector.shadow_report import comparisons
from collector.store import Rows, Store
from evals.savings import (
    ASSUMPTIONS,
    Baseline,
    Coverage,
    Flow,
    Overhead,
    Rates,
    Tasks,
    by_role,
    priced,
    spared,
    summary,
    told_apart,
)
from evals.shadow import factors
from telemetry.terms import RoleTerms, Terms

MINUTE_NS: Final = 60_000_000_000
FRONTIER: Final = "frontier"
DECLARED: Final = "declared"
_FLOW: Final = tuple(Flow.__dataclass_fields__)

Baselines = Mapping[tuple[str, str | None], Baseline]


def savings(
    store: Store, terms: Terms | None, *, now_ns: int, window_seconds: float
) -> dict[str, Any]:
    """Return `GET /api/savings`' answer; without a policy nothing can be compared, and it says so.

    Minutes (hours, further back than three days) are whole.
    """
    to = now_ns // MINUTE_NS + 1
    start = max((now_ns - int(window_seconds * 1e9)) // MINUTE_NS, 0)
    rows = store.read(savings_queries.FLOWS, {"from": start, "to": to})
    overhead_roles = sorted(_overhead(terms))
    steps = [row for row in rows if row["role"] not in overhead_roles and row["kind"] != "shadow"]
    flows = [_flow(row) for row in steps if row["kind"] == "step" and row["steps"]]
    against = {} if terms is None else {FRONTIER: frontier(terms), DECLARED: declared(terms)}
    overhead = Overhead(
        judging_usd=_spent(rows, lambda row: row["role"] in overhead_roles),
        shadow_usd=_spent(rows, lambda row: row["kind"] == "shadow"),
    )
    tasks = _tasks(store, start, to, overhead_roles)
    shadows = comparisons(store, since_ns=start * MINUTE_NS)
    measured = factors(shadows)
    compared = {name: priced(flows, each, factors=measured) for name, each in against.items()}
    least = min((one.steps for one in compared.values()), default=0)
    coverage = _coverage(steps, priced_steps=least)
    return {
        "from_ns": start * MINUTE_NS,
        "to_ns": to * MINUTE_NS,
        "policy": None if terms is None else terms.policy_hash,
        "spent_usd": sum(flow.cost_usd for flow in flows) + overhead.usd,
        "overhead": asdict(overhead) | {"roles": overhead_roles},
        "against": {
            name: {"tier": None if terms is None or name == DECLARED else terms.ladder[-1]}
            | summary(one, overhead_usd=overhead.usd, tasks=tasks)
            for name, one in compared.items()
        },
        "tasks": asdict(tasks),
        "answered_by_code": None
        if terms is None
        else told_apart(
            spared(_coded(steps), shadows, tier=terms.ladder[-1]), tier=terms.ladder[-1]
        ),
        "coverage": asdict(coverage) | {"share": coverage.share},
        "roles": by_role(flows, against, factors=measured),
        "measured_ratios": [
            {"role": key[0], "tier": key[1], "against": key[2], "input": ratio[0],
             "output": ratio[1]}
            for key, ratio in sorted(measured.items())
        ],
        "assumptions": ASSUMPTIONS,
    }  # fmt: skip


def frontier(terms: Terms) -> Baselines:
    """Return the baseline in which every step goes to the top of the ladder."""
    top = terms.ladder[-1]
    rates = _rates(terms, top)
    return {
        (one.role, one.mode): Baseline(tier=top, on_fail=None, rates=rates)
        for one in _routed(terms)
    }


def declared(terms: Terms) -> Baselines:
    """Return the baseline in which every step goes where today's policy.toml says."""
    return {
        (one.role, one.mode): Baseline(
            tier=one.declared.tier,
            on_fail=one.declared.on_fail,
            rates=_rates(terms, one.declared.tier),
        )
        for one in _routed(terms)
    }


def _routed(terms: Terms) -> list[RoleTerms]:
    return [one for one in terms.roles if not one.overhead]


def _rates(terms: Terms, tier: str) -> Rates | None:
    found = terms.tiers.get(tier)
    return None if found is None or found.usd_per_token is None else Rates(*found.usd_per_token)


def _overhead(terms: Terms | None) -> set[str]:
    return set() if terms is None else {one.role for one in terms.roles if one.overhead}


def _flow(row: dict[str, Any]) -> Flow:
    return Flow(**{name: row[name] for name in _FLOW})


def _spent(rows: Rows, wanted: Any) -> float:
    return float(sum(row["cost_usd"] for row in rows if wanted(row)))


def _coded(steps: Rows) -> dict[str, int]:
    """Return by role how many steps code answered."""
    found: dict[str, int] = {}
    for row in steps:
        if row["kind"] == "code":
            found[row["role"]] = found.get(row["role"], 0) + int(row["steps"] + row["unknown"])
    return found


def _coverage(steps: Rows, *, priced_steps: int) -> Coverage:
    def total(kind: str, *names: str) -> int:
        return sum(int(row[name]) for row in steps if row["kind"] == kind for name in names)

    known = total("step", "steps")
    return Coverage(
        steps=sum(int(row["steps"] + row["unknown"]) for row in steps),
        counted=priced_steps,
        unknown=total("step", "unknown"),
        code=total("code", "steps", "unknown"),
        embeddings=total("embeddings", "steps", "unknown"),
        caller_pinned=total("caller", "steps", "unknown"),
        unpriced_baseline=known - priced_steps,
    )


def _tasks(store: Store, start: int, to: int, overhead: list[str]) -> Tasks:
    bound = {"from": start, "to": to, "overhead": overhead}
    row = store.read(savings_queries.TASKS, bound)[0]
    return Tasks(tasks=row["tasks"], graded=row["graded"], passed=row["passed"])
