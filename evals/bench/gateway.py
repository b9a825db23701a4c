"""What the gateway adds to a call: the same stand-in, called directly and through it, in turns."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from evals.bench.load import Round, drive, request_bytes
from evals.bench.stage import Stage, load_average, stage

CHAT = "/v1/chat/completions"
# What a check adds is small beside what a busy moment does: its rounds are so many more, and so
# much shorter, than the others.
CHECK_ROUNDS: Final = 5
BODY = {
    "model": "tierwise/worker",
    "messages": [
        {"role": "system", "content": "You extract fields from support tickets. " * 8},
        {"role": "user", "content": "Where is my order 4711? It was due on Monday. " * 12},
    ],
    "temperature": 0,
}


# Forty required strings: the stand-in's answer is about 2 KB of JSON.
FIELDS = {
    "type": "object",
    "properties": {f"field_number_{n:02}": {"type": "string"} for n in range(40)},
    "required": [f"field_number_{n:02}" for n in range(40)],
    "additionalProperties": False,
}
CHECKED_BODY = {
    **BODY,
    "model": "tierwise/checked",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "fields", "strict": True, "schema": FIELDS},
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One concurrency: medians over the rounds; times in milliseconds."""

    callers: int
    rounds: int
    requests: int
    direct_p50: float
    direct_p99: float
    gateway_p50: float
    gateway_p99: float
    added_p50: float  # median of the rounds' paired differences
    added_p50_iqr: float
    added_p99: float
    per_second: float
    per_second_direct: float
    added_cpu_us: float | None  # the gateway's processor time a request; None: cannot be read


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything one run measured."""

    rows: tuple[Row, ...]
    first_token_added: Row
    check_added: Row | None  # the same body through the gateway, without and with a check
    decision_us: tuple[float, float]  # p50, p99
    memory_mb: tuple[float, ...]  # at the start, then after each part of the soak
    soak_requests: int
    load_average: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to measure."""

    callers: tuple[int, ...] = (1, 8, 32, 128)
    rounds: int = 7
    seconds_per_round: float = 1.0
    soak_requests: int = 0
    checks: bool = False  # every step's answer is checked against its JSON schema


def measure(plan: Plan, *, decide: Callable[[], object], tell: Callable[[str], None]) -> Report:
    """Run the whole plan; ``decide`` makes one decision, ``tell`` hears of the progress."""
    with tempfile.TemporaryDirectory(prefix="tierwise-bench-") as folder, stage(Path(folder)) as on:
        return uvloop.run(_measure(plan, on, decide=decide, tell=tell))


async def _measure(
    plan: Plan, on: Stage, *, decide: Callable[[], object], tell: Callable[[str], None]
) -> Report:
    load = load_average()
    plain = json.dumps(CHECKED_BODY if plan.checks else BODY).encode()
    streamed = json.dumps({**BODY, "model": "tierwise/streamer", "stream": True}).encode()
    memory = [on.memory_mb()]
    rows = []
    for callers in plan.callers:
        tell(f"{callers} callers, {plan.rounds} rounds")
        rows.append(await _rows(plan, on, plain, callers=callers, port=on.upstream_port))
    tell("streams, 1 caller")
    first = await _rows(plan, on, streamed, callers=1, first=True, port=on.paced_port)
    check = None
    if plan.checks:
        tell("the check alone, 1 caller")
        unchecked = plain.replace(b"tierwise/checked", b"tierwise/worker")
        check = await _compared(
            replace(
                plan,
                rounds=plan.rounds * CHECK_ROUNDS,
                seconds_per_round=plan.seconds_per_round / CHECK_ROUNDS,
            ),
            on,
            (on.gateway_port, request_bytes(on.gateway_port, CHAT, unchecked)),
            (on.gateway_port, request_bytes(on.gateway_port, CHAT, plain)),
            callers=1,
        )
    tell("decisions")
    decision = decision_us(decide)
    memory.append(on.memory_mb())
    content = request_bytes(on.gateway_port, CHAT, plain)
    for part in range(10 if plan.soak_requests else 0):
        tell(f"soak, part {part + 1} of 10")
        await drive(on.gateway_port, content, callers=32, requests=plan.soak_requests // 10)
        memory.append(on.memory_mb())
    return Report(
        rows=tuple(rows),
        first_token_added=first,
        check_added=check,
        decision_us=decision,
        memory_mb=tuple(memory),
        soak_requests=plan.soak_requests,
        load_average=load,
    )


async def _rows(
    plan: Plan, on: Stage, body: bytes, *, callers: int, port: int, first: bool = False
) -> Row:
    asked = json.loads(body)["model"].encode()
    direct = request_bytes(port, CHAT, body.replace(asked, b"standin-small"))
    through = request_bytes(on.gateway_port, CHAT, body)
    return await _compared(
        plan, on, (port, direct), (on.gateway_port, through), callers=callers, first=first
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One round, and the gateway's processor time meanwhile; None where that cannot be read."""

    round: Round
    cpu_seconds: float | None = None


async def _timed(on: Stage, way: tuple[int, bytes], *, callers: int, requests: int) -> Timed:
    before = on.cpu_seconds()
    found = await drive(*way, callers=callers, requests=requests)
    after = on.cpu_seconds()
    if before is None or after is None:
        return Timed(round=found)
    return Timed(round=found, cpu_seconds=after - before)


async def _compared(
    plan: Plan,
    on: Stage,
    direct: tuple[int, bytes],
    through: tuple[int, bytes],
    *,
    callers: int,
    first: bool = False,
) -> Row:
    """Measure two (port, request) pairs in turns."""
    warm = await drive(
        *through, callers=callers, requests=callers * 20 if first else max(200, callers * 10)
    )
    requests = max(callers * 20, int(warm.per_second * plan.seconds_per_round))
    pairs: list[tuple[Timed, Timed]] = []
    for _ in range(plan.rounds):
        pairs.append(
            (
                await _timed(on, direct, callers=callers, requests=requests),
                await _timed(on, through, callers=callers, requests=requests),
            )
        )
    return row_of(pairs, callers=callers, first=first)


def row_of(pairs: Sequence[tuple[Timed, Timed]], *, callers: int, first: bool = False) -> Row:
    """Return the figures of rounds made in turns, each a pair of direct and through the gateway."""

    def quantiles(share: float) -> tuple[list[float], list[float]]:
        return (
            [direct.round.quantile(share, first=first) for direct, _ in pairs],
            [through.round.quantile(share, first=first) for _, through in pairs],
        )

    (direct_p50, through_p50), (direct_p99, through_p99) = quantiles(0.5), quantiles(0.99)
    added = [through - direct for direct, through in zip(direct_p50, through_p50, strict=True)]
    added_p99 = [through - direct for direct, through in zip(direct_p99, through_p99, strict=True)]
    return Row(
        callers=callers,
        rounds=len(pairs),
        requests=len(pairs[0][1].round.whole),
        direct_p50=statistics.median(direct_p50),
        direct_p99=statistics.median(direct_p99),
        gateway_p50=statistics.median(through_p50),
        gateway_p99=statistics.median(through_p99),
        added_p50=statistics.median(added),
        added_p50_iqr=_iqr(added),
        added_p99=statistics.median(added_p99),
        per_second=statistics.median(through.round.per_second for _, through in pairs),
        per_second_direct=statistics.median(direct.round.per_second for direct, _ in pairs),
        added_cpu_us=_added_cpu_us(pairs),
    )


def _added_cpu_us(pairs: Sequence[tuple[Timed, Timed]]) -> float | None:
    """Return it over all rounds: the kernel counts in steps too coarse for a single one."""
    seconds, requests = 0.0, 0
    for direct, through in pairs:
        if direct.cpu_seconds is None or through.cpu_seconds is None:
            return None
        seconds += through.cpu_seconds - direct.cpu_seconds
        requests += len(through.round.whole)
    return seconds / requests * 1e6


def _iqr(values: Sequence[float]) -> float:
    if len(values) < 4:
        return max(values) - min(values)
    low, _, high = statistics.quantiles(values, n=4)
    return high - low


def decision_us(decide: Callable[[], object], *, count: int = 20_000) -> tuple[float, float]:
    """Return the median and the 99th percentile of ``decide``, in microseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        decide()
        times.append(time.perf_counter_ns() - began)
    times.sort()
    return times[count // 2] / 1e3, times[count * 99 // 100] / 1e3


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values."""
    return asdict(report)
