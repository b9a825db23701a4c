"""How fast questions are answered over a long history; `tierwise bench collector --calls N`."""

import random
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from collector import queries
from collector.duckdb_store import DuckDBStore
from collector.latency import bucket
from collector.rolling import DAY_NS
from collector.rows import Batch, CallRow
from collector.scoreboard import scoreboard
from telemetry.errors import ConfigError

ROWS_PER_BATCH: Final = 50_000
DAYS: Final = 30
ASKED: Final = 9
ROLES: Final = ("planner", "worker", "extractor", "critic", "summariser", "reviewer")
TIERS: Final = ("small", "mid", "frontier")
BYTES_PER_CALL: Final = 300  # measured: 90 to 120 in the end; the log before a checkpoint adds

Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Medians in milliseconds over a store of ``calls`` calls.

    Processor time is of all the engine's threads: it says more than wall time on a busy machine.
    """

    calls: int
    by_tier_ms: float  # role by tier with p95, over all calls, from the facts themselves
    by_tier_cpu_ms: float
    board_ms: float  # the scoreboard of a day, from roll-ups
    board_cpu_ms: float
    month_ms: float  # the same of all 30 days
    month_cpu_ms: float
    store_mb: float


def room_for(folder: Path, *, calls: int) -> int:
    """Return how many bytes of disk a history of ``calls`` calls may take while it is made.

    Raises:
        ConfigError: ``folder`` has not that much to give.
    """
    wanted, free = calls * BYTES_PER_CALL, shutil.disk_usage(folder).free
    if wanted > free:
        raise ConfigError(
            f"{calls:,} calls may take {wanted / 1e9:.1f} GB in {folder}, "
            f"and {free / 1e9:.1f} GB are free",
            hint="ask for fewer calls, or set TMPDIR to a larger disk",
        )
    return wanted


def measure_history(
    path: Path, *, calls: int, seed: int = 1, tell: Progress = lambda *_: None
) -> Timing:
    """Fill a new store at ``path`` with ``calls`` made-up calls of the last 30 days and ask it.

    The calls go the store's own way: de-duplication, roll-ups, and these by the hour in the end.
    ``tell`` hears what is being done and which share of that is done, 0..1.
    """
    rng = random.Random(seed)  # noqa: S311 - load, not secrets
    now_ns = time.time_ns()
    step = DAYS * DAY_NS // calls
    store = DuckDBStore(path, now_ns=now_ns)
    try:
        for first in range(0, calls, ROWS_PER_BATCH):
            tell("writing", first / calls)
            count = min(ROWS_PER_BATCH, calls - first)
            begins = [now_ns - DAYS * DAY_NS + (first + n) * step for n in range(count)]
            store.write([Batch(calls=[_call(rng, at) for at in begins])], now_ns=begins[-1])
        minutes = min(calls, DAYS * 1_440 + 1)
        summed = 0
        while more := store.roll_up(now_ns):
            summed += more
            tell("rolling up", min(summed / minutes, 1.0))
        store.prune(now_ns)
        tell("asking", 0.0)
        by_tier, by_tier_cpu = _median_ms(lambda: store.read(queries.BY_TIER))
        (board, board_cpu), (month, month_cpu) = (
            _median_ms(partial(scoreboard, store, now_ns=now_ns, window_seconds=seconds))
            for seconds in (86_400, DAYS * 86_400)
        )
    finally:
        store.close()
    return Timing(
        calls=calls,
        by_tier_ms=by_tier,
        by_tier_cpu_ms=by_tier_cpu,
        board_ms=board,
        board_cpu_ms=board_cpu,
        month_ms=month,
        month_cpu_ms=month_cpu,
        store_mb=path.stat().st_size / 2**20,
    )


def _median_ms(ask: Callable[[], object]) -> tuple[float, float]:
    """Return medians of wall and of processor time."""
    walls, cpus = [], []
    for _ in range(ASKED):
        began, spent = time.perf_counter(), time.process_time()
        ask()
        cpus.append(time.process_time() - spent)
        walls.append(time.perf_counter() - began)
    return statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3


def _call(rng: random.Random, start_ns: int) -> CallRow:
    trace_id = f"{rng.getrandbits(128):032x}"
    latency_ns = int(rng.lognormvariate(0, 1) * 1e9)
    tokens = rng.randrange(5_000)
    return CallRow(
        trace_id=trace_id,
        span_id=f"{rng.getrandbits(64):016x}",
        parent_id=None,
        start_ns=start_ns,
        end_ns=start_ns + latency_ns,
        received_ns=start_ns,
        name="chat",
        status=0,
        error_type=None,
        service="agent",
        scope=None,
        dialect="semconv",
        operation="chat",
        role=rng.choice(ROLES),
        role_from="own",
        awaits=None,
        counted=True,
        uncounted_reason=None,
        tier=rng.choice(TIERS),
        mode=None,
        plan=None,
        task=trace_id,
        provider="openai",
        model_requested="gpt-4o",
        model_served="gpt-4o",
        model="gpt-4o",
        input_tokens=tokens,
        output_tokens=tokens // 10,
        cache_read_tokens=0,
        cache_write_tokens=None,
        reasoning_tokens=None,
        cost_usd=tokens * 3e-6,
        cost_source="local",
        cost_reported_usd=None,
        finish_reason="stop",
        response_id=None,
        conversation_id=None,
        first_chunk_seconds=None,
        http_status=200,
        decision_id=None,
        attempt=None,
        cause=None,
        escalated_from=None,
        quality=None,
        quality_source=None,
        weight=1.0,
        latency_bucket=bucket(latency_ns),
        attributes=None,
    )
