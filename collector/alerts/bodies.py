"""What an alert tells people: which role, tier and model, since when, by which evidence.

A rise of cost per task is split into four numbers that add up to it exactly. Cost per task is
attempts per task x the mean over tiers of (share x tokens per attempt x price per token); the four
factors are changed from then to now one after the other, in this order: attempts, tier mix,
tokens, price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from collector.alerts import queries
from collector.alerts.watched import Watched
from collector.store import Store

MINUTE_NS: Final = 60_000_000_000

# Tier -> (calls, tokens, USD).
Tiers = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A change of cost per task in USD, and the four parts whose sum it is."""

    change: float
    attempts: float
    mix: float
    tokens: float
    price: float


def split(before: Tiers, now: Tiers, *, tasks: tuple[float, float]) -> Split | None:
    """Return what made cost per task change; None when one side has no task or no call.

    ``tasks`` are their numbers before and now. A tier that only one side used counts as mix.
    """
    calls = [sum(each[0] for each in side.values()) for side in (before, now)]
    if min(tasks) <= 0 or min(calls) <= 0:
        return None
    attempts = (calls[0] / tasks[0], calls[1] / tasks[1])
    sums = [0.0] * 4  # USD per attempt: then, with the new mix, and tokens, and price
    for tier in {**before, **now}:
        old, new = before.get(tier), now.get(tier)
        old, new = old or new, new or old
        assert old is not None
        assert new is not None
        shares = [
            side.get(tier, (0.0,))[0] / total
            for side, total in zip((before, now), calls, strict=True)
        ]
        token = [each[1] / each[0] if each[0] else 0.0 for each in (old, new)]
        price = [each[2] / each[1] if each[1] else 0.0 for each in (old, new)]
        steps = (
            (shares[0], token[0], price[0]),
            (shares[1], token[0], price[0]),
            (shares[1], token[1], price[0]),
            (shares[1], token[1], price[1]),
        )
        sums = [total + share * t * p for total, (share, t, p) in zip(sums, steps, strict=True)]
    return Split(
        change=attempts[1] * sums[3] - attempts[0] * sums[0],
        attempts=(attempts[1] - attempts[0]) * sums[0],
        mix=attempts[1] * (sums[1] - sums[0]),
        tokens=attempts[1] * (sums[2] - sums[1]),
        price=attempts[1] * (sums[3] - sums[2]),
    )


def tiers_of(
    store: Store, role: str, span_ns: tuple[int, int]
) -> tuple[dict[str, tuple[float, float, float]], float]:
    """Return (calls, tokens, USD) by tier and the number of tasks of a role in a span of time."""
    bound = {"role": role, "from": span_ns[0] // MINUTE_NS, "to": span_ns[1] // MINUTE_NS}
    rows = store.read(queries.TIERS, bound)
    tiers = {row["tier"]: (row["calls"], row["tokens"], row["usd"]) for row in rows}
    return tiers, float(store.read(queries.TASK_COUNT, bound)[0]["tasks"])


def cost_words(store: Store, role: str | None, watched: Watched) -> dict[str, str]:
    """Return the body of `CostHigh`."""
    last = watched.times_ns[-1] if watched.times_ns else watched.since_ns
    words = {
        "summary": f"cost per task of {role or 'all roles'} is over its limit",
        "since": when(watched.since_ns),
        "evidence": evidence(watched, "tasks"),
        "examples": ", ".join(watched.examples),
    }
    baseline = watched.baseline
    if role is None or baseline is None or baseline.mean is None:
        return words
    now, tasks = tiers_of(store, role, (watched.since_ns, last))
    parts = split(baseline.tiers, now, tasks=(baseline.tasks, tasks))
    if parts is None:
        return words
    split_words = ", ".join(
        f"{name} {usd:+.6g}"
        for name, usd in (
            ("price", parts.price),
            ("tokens per attempt", parts.tokens),
            ("attempts per task", parts.attempts),
            ("tier mix", parts.mix),
        )
    )
    words["split"] = f"{parts.change:+.6g} USD per task = {split_words}"
    return words


def quality_words(store: Store, name: str, role: str | None, watched: Watched) -> dict[str, str]:
    """Return the body of an alert over steps; for quality, with who answered badly."""
    summaries = {
        "QualityWarn": "quality may be under the floor",
        "QualityLow": "quality is under the floor",
        "EscalationHigh": "too many steps escalate",
        "FeedbackMissing": "too few steps are graded",
        "PropensityMismatch": "arms are not drawn with the logged probabilities",
    }
    words = {
        "summary": f"{role or 'all roles'}: {summaries[name]}",
        "since": when(watched.since_ns),
        "evidence": evidence(watched, "steps"),
        "examples": ", ".join(watched.examples),
    }
    if role is None or not name.startswith("Quality"):
        return words
    found = store.read(queries.CULPRITS, {"role": role, "since": watched.since_ns})
    words["answered by"] = "; ".join(
        f"tier {row['tier']}, model {row['model']}, version {row['version'] or 'unknown'}: "
        f"mean {row['mean']:.3f} of {row['n']}"
        for row in found
    )
    return words


def evidence(watched: Watched, what: str) -> str:
    """Return the e-value and what it rests on, in words."""
    mean = watched.since_bad / watched.since_seen if watched.since_seen else 0.0
    return (
        f"e-value {watched.evidence:.4g}; {watched.since_seen} {what} since then, bad on average "
        f"{mean:.3f} where at most {watched.limit_max:.3f} is allowed"
    )


def when(at_ns: int) -> str:
    """Return a time for people; unknown for 0."""
    if at_ns <= 0:
        return "unknown"
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="seconds")
