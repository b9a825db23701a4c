"""`SpendPace` and `TaskCap`: all spend against its budget, and one task against its cap."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from collector.alerts import queries
from collector.alerts.bodies import MINUTE_NS
from collector.alerts.epochs import roles_of
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.store import Rows, Store
from learning.burn import LONGEST, Burn, burns, month_end
from telemetry.terms import Terms

HOUR_NS: Final = 60 * MINUTE_NS
EXAMPLES_MAX: Final = 5


def paces(store: Store, terms: Terms, now_ns: int) -> Iterator[Sighting]:
    """Yield what both alerts see now.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    if terms.alerts.cost is None:
        return
    yield from _spend(store, terms.alerts.cost.budget_usd_per_day, now_ns)
    yield from _caps(store, terms, now_ns)


def burning(store: Store, usd_per_day: float, now_ns: int) -> tuple[Burn, ...]:
    """Return the burn over every pair of windows now."""
    now = now_ns // MINUTE_NS
    rows = store.read(queries.SPENT, {"from": now - LONGEST, "to": now})
    spent = {int(row["minute"]): float(row["usd"]) for row in rows}
    return burns(spent, now=now, usd_per_day=usd_per_day)


def _spend(store: Store, usd_per_day: float, now_ns: int) -> Iterator[Sighting]:
    """Yield the fast windows, which wake somebody, and the slow ones, which can wait."""
    burn = burning(store, usd_per_day, now_ns)
    for pages, severity in ((True, "page"), (False, "ticket")):
        found = tuple(one for one in burn if one.window.pages is pages)
        yield Sighting(
            name="SpendPace",
            labels={"severity": severity},
            look=Look(holds=any(one.over for one in found)),
            words=partial(_spend_words, store, found, usd_per_day, now_ns),
        )


def _spend_words(
    store: Store, found: tuple[Burn, ...], usd_per_day: float, now_ns: int
) -> dict[str, str]:
    over = [burn for burn in found if burn.over]
    windows = "; ".join(
        f"{burn.long:.3g} x the budget over {burn.window.long / 60:g} h and {burn.short:.3g} x "
        f"over {burn.window.short} min (limit {burn.window.factor:g})"
        for burn in over
    )
    projected, planned = projection(store, usd_per_day, now_ns)
    return {
        "summary": f"spend runs ahead of ${usd_per_day:g} a day",
        "evidence": windows,
        "month end": f"${projected:.6g} at the pace of the last day, planned ${planned:.6g}",
    }


def projection(store: Store, usd_per_day: float, now_ns: int) -> tuple[float, float]:
    """Return USD projected and planned for the end of this month, in UTC."""
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    minute = now_ns // MINUTE_NS
    start = int(first.timestamp()) // 60 - 1
    spent, recent = (
        float(store.read(queries.SPENT_BETWEEN, {"from": since, "to": minute})[0]["usd"])
        for since in (start, minute - 1_440)
    )
    left = (following - now).total_seconds() / 86_400
    projected = month_end(spent_usd=spent, recent_usd_per_day=recent, days_left=left)
    return projected, usd_per_day * (following - first).days


def _caps(store: Store, terms: Terms, now_ns: int) -> Iterator[Sighting]:
    caps = {role: terms.alerts.cost_of(role) for role in roles_of(terms)}
    limits = {
        role: config.task_usd_max
        for role, config in caps.items()
        if config is not None and config.task_usd_max is not None
    }
    if not limits:
        return
    least = min(limits.values())
    rows = store.read(queries.DEAR_TASKS, {"since": now_ns - HOUR_NS, "least": least})
    for role, limit in limits.items():
        dear = [row for row in rows if row["role"] == role and row["cost_usd"] > limit]
        yield Sighting(
            name="TaskCap",
            role=role,
            look=Look(holds=bool(dear)),
            words=partial(_cap_words, role, limit, dear),
        )


def _cap_words(role: str, limit: float, dear: Rows) -> dict[str, str]:
    found = ", ".join(f"{row['task']} (${row['cost_usd']:.6g})" for row in dear[:EXAMPLES_MAX])
    return {
        "summary": f"{len(dear)} tasks of {role} within the hour cost over ${limit:g}",
        "examples": found,
    }
