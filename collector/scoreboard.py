"""Spend and quality by role and tier over a window, from roll-ups alone."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from collector import latency_queries, queries
from collector.latency import quantile, seconds
from collector.store import Rows, Store

MINUTE_NS: Final = queries.MINUTE_NS
Z95: Final = 1.959963984540054


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """A mean in 0..1 over ``n`` graded answers with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Quantiles in seconds, within 2.5 %."""

    p50: float | None
    p95: float | None


UNMEASURED: Final = Latency(p50=None, p95=None)
Latencies = Mapping[tuple[str | None, str | None, bool], Latency]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Shares of calls (or, for quality, of spend) about which something is known."""

    price: float | None
    tokens: float | None
    quality: float | None  # share of known spend on graded calls


@dataclass(frozen=True, kw_only=True, slots=True)
class TierBoard:
    """One role on one tier; ``tier`` None is a call that no tier stands on."""

    tier: str | None
    calls: int
    mix: float  # share of the role's calls
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    spend_usd: float
    spend_share: float | None  # of all spend in the window
    error_rate: float
    quality: Quality | None
    latency: Latency
    coverage: Coverage


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleBoard:
    """One role; ``role`` None is spend that nobody can be named for."""

    role: str | None
    calls: int
    weighted_calls: float
    decisions: int
    tasks: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    spend_usd: float
    spend_share: float | None
    cost_per_task_usd: float | None
    cost_per_passed_task_usd: float | None
    first_tier_pass_rate: float | None
    escalation_rate: float | None  # of steps: an answer failed, or a whole tier did
    abstention_rate: float | None  # of steps: the tier `code` had no answer and handed on
    error_rate: float
    quality: Quality | None
    latency: Latency
    coverage: Coverage
    tiers: tuple[TierBoard, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoreboard:
    """All roles, dearest first; minutes (hours, further back than three days) are whole."""

    from_ns: int
    to_ns: int
    calls: int
    spend_usd: float
    role_coverage: float | None  # share of spend with a known role
    coverage: Coverage
    sampled: bool  # some calls stand for more than themselves
    biased_spans: int  # spans that a sampler kept for what became of them
    roles: tuple[RoleBoard, ...]

    def plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers, for JSON."""
        return asdict(self)


def scoreboard(store: Store, *, now_ns: int, window_seconds: float) -> Scoreboard:
    """Return the board of the last ``window_seconds``."""
    to = now_ns // MINUTE_NS + 1
    start = max((now_ns - int(window_seconds * 1e9)) // MINUTE_NS, 0)
    window = {"from": start, "to": to}
    calls = store.read(queries.BOARD_CALLS, window)
    latency = _latencies(store.read(latency_queries.BOARD, latency_queries.board_bounds(start, to)))
    decisions = {row["role"]: row for row in store.read(queries.BOARD_DECISIONS, window)}
    tasks = {row["role"]: row for row in store.read(queries.BOARD_TASKS, window)}
    biased = store.read(queries.BIASED, {"since": start * MINUTE_NS})[0]["spans"]
    spend = sum(row["cost_usd"] for row in calls)
    by_role: dict[str | None, Rows] = defaultdict(list)
    for row in calls:
        by_role[row["role"]].append(row)
    for role in decisions:
        by_role.setdefault(role, [])
    boards = [
        _role_board(
            role,
            rows,
            latency,
            decisions.get(role),
            tasks.get(role),
            spend,
        )
        for role, rows in by_role.items()
    ]
    boards.sort(key=lambda board: (-board.spend_usd, -board.calls, board.role or ""))
    known_role = sum(row["cost_usd"] for row in calls if row["role"] is not None)
    return Scoreboard(
        from_ns=start * MINUTE_NS,
        to_ns=to * MINUTE_NS,
        calls=_total(calls, "calls"),
        spend_usd=spend,
        role_coverage=_share(known_role, spend),
        coverage=_coverage(calls),
        sampled=any(row["weighted"] > row["calls"] for row in calls),
        biased_spans=biased,
        roles=tuple(boards),
    )


def _latencies(rows: Rows) -> Latencies:
    """Return quantiles by role and tier and, marked as whole, by role."""
    found: dict[tuple[str | None, str | None, bool], Latency] = {}
    roles: dict[str | None, Counter[int]] = defaultdict(Counter)
    for row in rows:
        counts = dict(zip(row["buckets"], row["calls"], strict=True))
        found[row["role"], row["tier"], False] = _latency(counts)
        roles[row["role"]].update(counts)
    for role, whole in roles.items():
        found[role, None, True] = _latency(whole)
    return found


def _latency(counts: Mapping[int, float]) -> Latency:
    return Latency(p50=_middle(quantile(counts, 0.5)), p95=_middle(quantile(counts, 0.95)))


def _role_board(
    role: str | None,
    rows: Rows,
    latency: Latencies,
    decisions: dict[str, Any] | None,
    tasks: dict[str, Any] | None,
    spend: float,
) -> RoleBoard:
    calls, own = _total(rows, "calls"), sum(row["cost_usd"] for row in rows)
    made = decisions["decisions"] if decisions else 0
    graded = (decisions["graded"] if decisions else 0) + _total(rows, "foreign_graded")
    summed = (decisions["quality_sum"] if decisions else 0.0) + sum(
        row["foreign_quality_sum"] for row in rows
    )
    tiers = [
        _tier_board(row, latency.get((role, row["tier"], False), UNMEASURED), calls, spend)
        for row in rows
    ]
    tiers.sort(key=lambda board: (-board.spend_usd, -board.calls, board.tier or ""))
    return RoleBoard(
        role=role,
        calls=calls,
        weighted_calls=sum(row["weighted"] for row in rows),
        decisions=made,
        tasks=tasks["tasks"] if tasks else 0,
        input_tokens=_total(rows, "input_tokens"),
        output_tokens=_total(rows, "output_tokens"),
        cache_read_tokens=_total(rows, "cache_read_tokens"),
        spend_usd=own,
        spend_share=_share(own, spend),
        cost_per_task_usd=_share(tasks["cost_usd"], tasks["costed"]) if tasks else None,
        cost_per_passed_task_usd=(
            _share(tasks["graded_cost_usd"], tasks["passed"]) if tasks else None
        ),
        first_tier_pass_rate=(
            _share(made - decisions["escalated"] - decisions["failed"], made) if decisions else None
        ),
        escalation_rate=_share(decisions["escalated"], made) if decisions else None,
        abstention_rate=_share(decisions["abstained"], made) if decisions else None,
        error_rate=_share(_total(rows, "errors"), calls) or 0.0,
        quality=interval(summed, graded),
        latency=latency.get((role, None, True), UNMEASURED),
        coverage=_coverage(rows),
        tiers=tuple(tiers),
    )


def _tier_board(row: dict[str, Any], latency: Latency, calls: int, spend: float) -> TierBoard:
    return TierBoard(
        tier=row["tier"],
        calls=row["calls"],
        mix=row["calls"] / calls,
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        spend_usd=row["cost_usd"],
        spend_share=_share(row["cost_usd"], spend),
        error_rate=row["errors"] / row["calls"],
        quality=interval(row["quality_sum"], row["graded"]),
        latency=latency,
        coverage=_coverage([row]),
    )


def interval(summed: float, n: int) -> Quality | None:
    """Return the mean of ``n`` scores in 0..1 with Wilson's 95 % interval; None without scores.

    For scores that are not just 0 or 1 the interval is wider than need be: no other distribution
    on 0..1 with that mean varies more.
    """
    if n <= 0:
        return None
    mean = min(max(summed / n, 0.0), 1.0)
    z2 = Z95 * Z95
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Quality(mean=mean, low=max(centre - half, 0.0), high=min(centre + half, 1.0), n=n)


def _middle(bucket: int | None) -> float | None:
    return None if bucket is None else seconds(bucket)


def _coverage(rows: Rows) -> Coverage:
    calls = _total(rows, "calls")
    spend = sum(row["cost_usd"] for row in rows)
    return Coverage(
        price=_share(_total(rows, "cost_known"), calls),
        tokens=_share(_total(rows, "tokens_known"), calls),
        quality=_share(sum(row["graded_cost_usd"] for row in rows), spend),
    )


def _total(rows: Rows, name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
