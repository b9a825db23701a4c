"""The drift report: what of each role is no longer as it was, for the people who answer for it.

It compares the last span of time with the one of the same length before it. Nothing acts on it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from collector import drift_queries as queries
from collector.drift_findings import Finding, mean, mix, rate, sizes
from collector.holds import Hold
from collector.store import Rows, Store
from learning.shifts import SAMPLE_MIN, Sample, kappa, scores
from telemetry.terms import RoleTerms, Terms

MINUTE_NS: Final = 60_000_000_000
DAY_SECONDS: Final = 86_400.0
SINCE_SECONDS: Final = 7 * DAY_SECONDS
PIN_DAYS: Final = 14
TOKENS_NOTABLE: Final = 0.25
PRICE_NOTABLE: Final = 0.05
KAPPA_LOW: Final = 0.4  # "moderate" begins there (Landis and Koch, 1977)
ROLES_MAX: Final = 200
WORDS_MAX: Final = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleDrift:
    """One role's findings, those that changed first."""

    role: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftReport:
    """All roles over two spans; times are unix ns."""

    before_ns: int  # the earlier span begins here
    from_ns: int  # and ends here, where the one under report begins
    to_ns: int
    roles: tuple[RoleDrift, ...]

    @property
    def summary(self) -> str:
        """One line for people."""
        hours = (self.to_ns - self.from_ns) / 1e9 / 3_600
        span = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.3g} hours"
        found = [one for role in self.roles for one in role.findings]
        changed = sum(one.status == "changed" for one in found)
        noted = sum(one.status == "noted" for one in found)
        if not found:
            return f"Drift over the last {span}: no traffic to compare."
        return (
            f"Drift over the last {span}: {changed} changed, {noted} to note, "
            f"in {len(self.roles)} role{'' if len(self.roles) == 1 else 's'}."
        )

    def words(self) -> dict[str, str]:
        """Return by role what changed or is to be noted, for a message."""
        found = {}
        for role in self.roles[:WORDS_MAX]:
            said = [one.sentence for one in role.findings if one.status in ("changed", "noted")]
            if said:
                found[role.role] = " ".join(said)
        return found

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"summary": self.summary}


def drift_report(
    store: Store,
    *,
    terms: Terms | None,
    now_ns: int,
    since_seconds: float = SINCE_SECONDS,
    held: Sequence[Hold] = (),
) -> DriftReport:
    """Return the report of the last ``since_seconds``, beginning at a whole hour.

    ``held`` is what people hold at run time; of the pins among it, those near their end are named.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    to = now_ns // MINUTE_NS + 1
    middle = (now_ns - int(since_seconds * 1e9)) // MINUTE_NS // 60 * 60
    window = {"from": max(2 * middle - to, 0) // 60 * 60, "middle": middle, "to": to}
    seen = _Seen(store, window)
    roles = sorted(seen.roles())[:ROLES_MAX]
    found = [
        RoleDrift(
            role=role,
            findings=tuple(
                _ranked(
                    (
                        *_role(seen, role, terms=terms, now_ns=now_ns),
                        *_held(held, role, now_ns),
                    )
                )
            ),
        )
        for role in roles
    ]
    return DriftReport(
        before_ns=window["from"] * MINUTE_NS,
        from_ns=middle * MINUTE_NS,
        to_ns=to * MINUTE_NS,
        roles=tuple(found),
    )


def _ranked(findings: Iterable[Finding]) -> list[Finding]:
    order = ("changed", "noted", "steady", "too_few")
    return sorted(findings, key=lambda one: order.index(one.status))


class _Seen:
    """The rows of both spans, by role."""

    def __init__(self, store: Store, window: dict[str, int]) -> None:
        self.window = window
        self.decisions = _by_role(store.read(queries.DECISIONS, window))
        self.calls = _by_role(store.read(queries.CALLS, window))
        self.tasks = _by_role(store.read(queries.TASKS, window))
        self.dialects = _by_role(store.read(queries.DIALECTS, window))
        self.versions = _by_role(store.read(queries.VERSIONS, window))
        inner = {"from": window["middle"], "to": window["to"]}
        self.judges = _by_role(store.read(queries.JUDGES, inner))
        self.graded = _by_role(store.read(queries.LAST_GRADED))

    def roles(self) -> set[str]:
        return set(self.decisions) | set(self.calls)


def _by_role(rows: Rows) -> dict[str, Rows]:
    found: dict[str, Rows] = defaultdict(list)
    for row in rows:
        found[row["role"]].append(row)
    return found


def _role(seen: _Seen, role: str, *, terms: Terms | None, now_ns: int) -> Iterator[Finding]:
    made, calls = seen.decisions.get(role, []), seen.calls.get(role, [])
    if made:
        yield mix(
            "tier_mix", "The tiers that steps started at", *_counts(made, "tier", "decisions")
        )
        yield mix("mode_mix", "The collaboration modes", *_counts(made, "mode", "decisions"))
        yield rate("escalation", "The share of steps that escalated", *_pairs(made, "escalated"))
    else:
        yield mix("tier_mix", "The tiers that were called", *_counts(calls, "tier", "calls"))
    if role in seen.dialects:
        yield mix("dialect_mix", "The dialects", *_counts(seen.dialects[role], "dialect", "n"))
    for kind in ("input", "output"):
        yield sizes(
            "tokens_per_call", f"{kind.capitalize()} tokens per call",
            *_totals(calls, f"{kind}_tokens", "tokens_known"), notable=TOKENS_NOTABLE,
        )  # fmt: skip
    yield _quality([*made, *calls])
    yield mean("cost_per_task", "Cost per task", *_tasks(seen.tasks.get(role, [])), unit="$")
    yield from _prices(calls)
    yield from _versions(seen.versions.get(role, []))
    yield from (_agreement(row) for row in seen.judges.get(role, []))
    if made:
        yield _evidence(seen, role, now_ns)
    if terms is not None:
        yield from _pins(terms, role, now_ns)


def _counts(rows: Rows, key: str, n: str) -> tuple[dict[str, float], dict[str, float]]:
    found: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for row in rows:
        side = found[row["now"]]
        name = row[key] or "none"
        side[name] = side.get(name, 0.0) + row[n]
    return found


def _pairs(rows: Rows, hits: str) -> tuple[tuple[int, int], tuple[int, int]]:
    before, now = ([row for row in rows if row["now"] is side] for side in (False, True))
    return (_total(before, hits), _total(before, "decisions")), (
        _total(now, hits), _total(now, "decisions"),
    )  # fmt: skip


def _totals(rows: Rows, total: str, n: str) -> tuple[tuple[float, int], tuple[float, int]]:
    before, now = ([row for row in rows if row["now"] is side] for side in (False, True))
    return (float(_sum(before, total)), _total(before, n)), (
        float(_sum(now, total)), _total(now, n),
    )  # fmt: skip


def _total(rows: Rows, name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _sum(rows: Rows, name: str) -> float:
    return sum(float(row[name]) for row in rows)


def _quality(rows: Rows) -> Finding:
    before, now = _totals(rows, "quality_sum", "graded")
    return mean("pass_rate", "Mean quality of graded answers", scores(*before), scores(*now))


def _tasks(rows: Rows) -> tuple[Sample, Sample]:
    found = {
        row["now"]: Sample(n=row["n"], mean=row["mean"], variance=row["variance"]) for row in rows
    }
    none = Sample(n=0, mean=0.0, variance=0.0)
    return found.get(False, none), found.get(True, none)


def _prices(calls: Rows) -> Iterator[Finding]:
    """Compare what a million tokens of each model really cost, whatever the list says."""
    for model in sorted({row["model"] for row in calls if row["model"]}):
        rows = [row for row in calls if row["model"] == model]
        known = [row for row in rows if row["cost_known"] == row["calls"] == row["tokens_known"]]
        sides = []
        for side in (False, True):
            chosen = [row for row in known if row["now"] is side]
            tokens = _sum(chosen, "input_tokens") + _sum(chosen, "output_tokens")
            n = _total(chosen, "calls") if tokens else 0
            usd = _sum(chosen, "cost_usd") / tokens * 1e6 if tokens else 0.0
            sides.append((usd * n, n))
        yield sizes(
            "price", f"Dollars per million tokens of {model}", sides[0], sides[1],
            notable=PRICE_NOTABLE,
        )  # fmt: skip


def _versions(rows: Rows) -> Iterator[Finding]:
    """Name models that providers say they served now and did not before, and the reverse."""
    for tier in sorted({row["tier"] or "none" for row in rows}):
        own = [row for row in rows if (row["tier"] or "none") == tier]
        before = {row["model_served"]: row["n"] for row in own if not row["now"]}
        now = {row["model_served"]: row["n"] for row in own if row["now"]}
        if not before or not now:
            continue
        new, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        moved = [f"new {name} (n {now[name]})" for name in new]
        moved += [f"no more {name} (n {before[name]})" for name in gone]
        names = ", ".join(moved) if moved else ", ".join(sorted(now))
        yield Finding(
            check="model_versions",
            status="noted" if moved else "steady",
            n_before=sum(before.values()),
            n_now=sum(now.values()),
            sentence=f"Models served at tier {tier}: {names}.",
            before={name: float(n) for name, n in before.items()},
            now={name: float(n) for name, n in now.items()},
        )


def _agreement(row: dict[str, Any]) -> Finding:
    table = [int(row[key]) for key in ("both_pass", "judge_only", "gold_only", "neither")]
    n = sum(table)
    agreed = (table[0] + table[3]) / n
    found = kappa(*table)
    gold = "people's word" if row["gold_rank"] >= 3 else f"{row['gold']}"
    named = f"{row['judge']} and {row['gold']}" + (" (people)" if row["gold_rank"] >= 3 else "")
    if n < SAMPLE_MIN:
        sentence = f"Agreement of {named}: n too small ({n} answers judged by both)."
    else:
        chance = "kappa unknown, one never varies" if found is None else f"kappa {found:.2f}"
        sentence = (
            f"{row['judge']} agrees with {gold} on {agreed:.1%} of answers ({chance}, n {n})."
        )
    low = found is None or found < KAPPA_LOW
    return Finding(
        check="judge_agreement",
        status="too_few" if n < SAMPLE_MIN else ("noted" if low else "steady"),
        n_before=0,
        n_now=n,
        sentence=sentence,
        now={"agreement": agreed, "kappa": found},
    )


def _evidence(seen: _Seen, role: str, now_ns: int) -> Finding:
    rows = seen.graded.get(role, [])
    served = _total([row for row in seen.decisions[role] if row["now"]], "decisions")
    if not rows:
        return Finding(
            check="evidence", status="noted", n_before=0, n_now=served,
            sentence=f"No answer of this role was ever graded (n {served} steps).",
        )  # fmt: skip
    days = max(0.0, (now_ns - rows[0]["minute"] * MINUTE_NS) / 1e9 / DAY_SECONDS)
    stale = rows[0]["minute"] < seen.window["middle"]
    word = "stale" if stale else "fresh"
    return Finding(
        check="evidence",
        status="noted" if stale else "steady",
        n_before=0,
        n_now=served,
        sentence=f"Evidence is {word}: the last graded step is {days:.1f} days old "
        f"(n {served} steps in this span).",
        now={"age_days": days},
    )  # fmt: skip


def _pins(terms: Terms, role: str, now_ns: int) -> Iterator[Finding]:
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    own: Sequence[RoleTerms] = [one for one in terms.roles if one.role == role and one.pin]
    for one in own:
        pin = one.pin
        if pin is None or pin.until is None:
            continue
        left = (pin.until - today).days
        if left <= PIN_DAYS:
            when = f"ended {-left} days ago" if left < 0 else f"ends in {left} days"
            yield Finding(
                check="pin", status="noted", n_before=0, n_now=0,
                sentence=f"The pin to {pin.model} {when}, on {pin.until}; ask {pin.owner}.",
                now={"days_left": float(left)},
            )  # fmt: skip


def _held(held: Sequence[Hold], role: str, now_ns: int) -> Iterator[Finding]:
    """Name the pin that people set at run time, when it soon ends."""
    for one in held:
        if one.role != role or one.kind != "pin" or one.until_ns is None:
            continue
        left = (one.until_ns - now_ns) / 1e9 / DAY_SECONDS
        if 0 <= left <= PIN_DAYS:
            yield Finding(
                check="pin", status="noted", n_before=0, n_now=0,
                sentence=f"The pin to {one.arm}, set at run time, ends by itself in {left:.1f} "
                f"days; ask {one.owner}.",
                now={"days_left": left},
            )  # fmt: skip
