"""How roll-ups are kept up to date: which statements run, in which order, over which times."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from collector import latency_queries, learning_queries, rollup_queries, savings_queries
from collector.rollup_queries import NS
from collector.store import Parameters

DAY_NS: Final = 86_400_000_000_000
HOUR: Final = 60  # minutes
BY_MINUTE_NS: Final = 3 * DAY_NS  # older roll-ups are kept by the hour
MINUTES_PER_ROLL_UP: Final = 240
CALLS_PER_ROLL_UP: Final = 500_000  # about; senders wait while they are summed
MINUTES_MIN: Final = 4
LATE_NS: Final = 7 * DAY_NS  # an evaluation waits so long for its span
SKEW_NS: Final = 3_600_000_000_000  # so far may senders' clocks be off

Runner = Callable[[Sequence[str], Parameters], int]
RowOf = Callable[[str], tuple[Any, ...]]


def roll_up(run: Runner, row: RowOf, *, kept_minute: int) -> int:
    """Sum the newest of the minutes that changed again; return how many those were.

    ``run`` runs statements inside a transaction, ``row`` gives the one row of an aggregate. Hours
    before that of ``kept_minute``, and the first of which facts are left, keep their sums: to sum
    an hour takes the facts shortly before it too, such as a conversation's previous step.
    """
    edge = row(rollup_queries.EDGE)[0]
    oldest = max(hour(kept_minute), row(rollup_queries.PRUNED)[0] + HOUR)
    most = minutes_at_once(*row(rollup_queries.BACKLOG))
    run(rollup_queries.DUE, {"edge": edge, "oldest": oldest, "most": most})
    low, high, minutes = row(rollup_queries.DUE_RANGE)
    if not minutes:
        return 0
    bound = {
        "edge": edge, "low": low, "high": high, "since": low * NS - LATE_NS, "oldest": oldest,
    }  # fmt: skip
    run(rollup_queries.ROLL_UP, bound)
    run(latency_queries.ROLL_UP, bound)
    run(savings_queries.ROLL_UP, bound)
    first, _, touched = row(rollup_queries.TOUCHED_RANGE)
    if touched:
        run(rollup_queries.ROLL_UP_TASKS[:1], bound)
        low_task, high_task = row(rollup_queries.TASK_MINUTES_RANGE)
        tasks = bound | {"low": low_task, "high": high_task, "first": first}
        run(rollup_queries.ROLL_UP_TASKS[1:], tasks)
    run(learning_queries.LEARNED, bound)
    low, high, _ = row(learning_queries.LEARNED_RANGE)
    bound = {"edge": edge, **evidence_bounds(low, high)}
    run(learning_queries.EVIDENCE, bound)
    run(learning_queries.TALKS, bound | {"talked": high + 60})
    run(rollup_queries.FORGET, {})
    return int(minutes)


def minutes_at_once(dirty: int, calls: int) -> int:
    """Return how many of ``dirty`` minutes to sum in one step, in a store of so many calls.

    After an upgrade all minutes may be dirty, and 240 minutes of much traffic hold tens of millions
    of calls: too many to keep in memory, and too long for senders to wait.

    >>> minutes_at_once(10, 3_000), minutes_at_once(43_200, 10**9), minutes_at_once(2, 10**9)
    (240, 21, 4)
    """
    if not calls:
        return MINUTES_PER_ROLL_UP
    return min(max(CALLS_PER_ROLL_UP * dirty // calls, MINUTES_MIN), MINUTES_PER_ROLL_UP)


def hour(minute: int) -> int:
    """Return the first minute of a minute's hour."""
    return minute // HOUR * HOUR


def evidence_bounds(low: int, high: int) -> dict[str, int]:
    """Return how far around the minutes from ``low`` to ``high`` attempts and words may lie."""
    return {
        "low": low,
        "high": high,
        "since": low * NS - LATE_NS,
        "words_from": low * NS - SKEW_NS,  # nobody speaks of a decision before it was made
        "calls_from": low * NS,
        "calls_to": (high + learning_queries.CHAIN_MINUTES) * NS,
    }


def prune(run: Runner, row: RowOf, *, now_ns: int, keep_days: tuple[int, int]) -> int:
    """Remove facts past their retention, sum old minutes up by the hour; return rows removed.

    Calls and decisions go by whole hours, as their sums are kept. Words may be dated before what
    they speak of, and tasks are known as long as late calls may go on with them.
    """
    spans_days, calls_days = keep_days
    pruned = hour((now_ns - calls_days * DAY_NS) // NS)
    removed = run(
        rollup_queries.PRUNE,
        {
            "spans_before": now_ns - spans_days * DAY_NS,
            "calls_before": pruned * NS,
            "words_before": pruned * NS - SKEW_NS,
            "tasks_before": pruned * NS - LATE_NS,
        },
    )
    run((rollup_queries.MOVE_PRUNED,), {"pruned": pruned})
    old = row(rollup_queries.EDGE)[0]
    edge = hour((now_ns - BY_MINUTE_NS) // NS)
    if edge > old:
        run(rollup_queries.COMPACT, {"from": old, "edge": edge})
        run((rollup_queries.MOVE_EDGE,), {"edge": edge})
    return removed
