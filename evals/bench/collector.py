"""How many spans a second the whole receiver takes, each acknowledged after its commit."""

import asyncio
import contextlib
import os
import random
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from evals.bench.spans import Template
from evals.bench.stage import command_line, load_average

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 60.0
WARM_BATCHES: Final = 8
QUARTERS: Final = 4
CONFIG: Final = """schema = 1
[providers.standin]
base_url = "http://127.0.0.1:1"
dialects = ["chat"]
"""
POLICY: Final = """schema = 1
ladder = ["small"]
[tiers.small]
models = ["standin/standin-small"]
"""
_STAGE = re.compile(r'^tierwise_collector_stage_seconds_total\{stage="(\w+)"\} (\S+)', re.M)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to send."""

    spans: int = 200_000
    spans_per_batch: int = 512
    senders: int = 4
    seed: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything one run measured; times per span in microseconds."""

    spans: int
    seconds: float
    per_second: float
    request_p50_ms: float
    request_p95_ms: float
    refused: int  # answers of 503; their batches were sent again
    stages_us: Mapping[str, float]  # wall time by stage
    cpu_us: float  # of all the collector's threads
    memory_mb: float  # at most, start included
    stood_mb: tuple[float, ...]  # resident after each quarter of the spans: flat when bounded
    board_ms: float  # GET /api/roles afterwards, median of 20
    load_average: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ports:
    http: int
    grpc: int
    console: int


def measure(plan: Plan, *, tell: Callable[[str], None]) -> Report:
    """Return what a collector of its own did under the plan's load."""
    load = load_average()
    rng = random.Random(plan.seed)  # noqa: S311 - load, not secrets
    template = Template(plan.spans_per_batch, seed=plan.seed)
    count = max(plan.spans // plan.spans_per_batch, plan.senders)
    tell(f"encoding {count + WARM_BATCHES} batches of {plan.spans_per_batch} spans")
    now_ns = time.time_ns() - 600 * 10**9
    bodies = [
        template.body(rng, start_ns=now_ns + number * 10**9 // 10)
        for number in range(count + WARM_BATCHES)
    ]
    with tempfile.TemporaryDirectory() as folder, _collector(Path(folder)) as (ports, pid):
        uvloop.run(_drive(ports.http, bodies[:WARM_BATCHES], plan.senders))
        before, cpu = _stages(ports.console), _cpu_seconds(pid)
        tell("sending")
        seconds, refused = 0.0, 0
        latencies: list[float] = []
        stood: list[float] = []
        for quarter in range(QUARTERS):
            first, end = (WARM_BATCHES + count * n // QUARTERS for n in (quarter, quarter + 1))
            took, waited, again = uvloop.run(_drive(ports.http, bodies[first:end], plan.senders))
            seconds, latencies, refused = seconds + took, latencies + waited, refused + again
            stood.append(_memory_mb(pid, "VmRSS"))
        after, cpu = _stages(ports.console), _cpu_seconds(pid) - cpu
        memory = _memory_mb(pid, "VmHWM")
        time.sleep(5)  # the last roll-up
        board = _board_ms(ports.console)
    spans = count * plan.spans_per_batch
    latencies.sort()
    return Report(
        spans=spans,
        seconds=seconds,
        per_second=spans / seconds,
        request_p50_ms=latencies[len(latencies) // 2] * 1e3,
        request_p95_ms=latencies[int(len(latencies) * 0.95)] * 1e3,
        refused=refused,
        stages_us={name: (after[name] - before.get(name, 0)) / spans * 1e6 for name in after},
        cpu_us=cpu / spans * 1e6,
        memory_mb=memory,
        stood_mb=tuple(stood),
        board_ms=board,
        load_average=load,
    )


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for a machine."""
    return asdict(report)


async def _drive(port: int, bodies: list[bytes], senders: int) -> tuple[float, list[float], int]:
    """Send all bodies over ``senders`` connections; return seconds, latencies and refusals."""
    waiting = list(reversed(bodies))
    latencies: list[float] = []
    refused = 0

    async def sender() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            body = waiting.pop()
            head = (
                "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n"
                "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", answer)
            assert found is not None
            await reader.readexactly(int(found[1]))
            if answer.startswith(b"HTTP/1.1 200"):
                latencies.append(time.perf_counter() - began)
            elif answer.startswith(b"HTTP/1.1 503"):
                refused += 1
                waiting.append(body)
                await asyncio.sleep(0.1)
            else:
                raise RuntimeError(f"the collector answered {answer[:100]!r}")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    return time.perf_counter() - began, latencies, refused


@contextlib.contextmanager
def _collector(folder: Path) -> Iterator[tuple[_Ports, int]]:
    """Run `tierwise collector` in ``folder``; yield its ports and the supervisor's pid."""
    (folder / "tierwise.toml").write_text(CONFIG)
    (folder / "policy.toml").write_text(POLICY)
    ports = _free_ports()
    command = [
        command_line(), "collector", "--otlp-http", f"127.0.0.1:{ports.http}",
        "--otlp-grpc", f"127.0.0.1:{ports.grpc}", "--console", f"127.0.0.1:{ports.console}",
        "--store", str(folder / "bench.duckdb"),
    ]  # fmt: skip
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while not _answers(ports.console):
            if time.monotonic() > until or process.poll() is not None:
                text = (folder / "collector.log").read_text()[-2_000:]
                raise RuntimeError(f"the collector did not become ready:\n{text}")
            time.sleep(0.05)
        yield ports, process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS_MAX)


def _answers(port: int) -> bool:
    try:
        _get(port, "/readyz")
    except OSError:
        return False
    return True


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())


def _stages(port: int) -> dict[str, float]:
    text = _get(port, "/metrics").decode()
    return {name: float(seconds) for name, seconds in _STAGE.findall(text)}


def _board_ms(port: int) -> float:
    times = []
    for _ in range(20):
        began = time.perf_counter()
        _get(port, "/api/roles")
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def _family(pid: int) -> list[int]:
    """Return ``pid`` and its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/task/{one}/children").read_text()
            found += [int(child) for child in text.split()]
    return found


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int, name: str) -> float:
    """Return the largest process's entry of ``/proc/PID/status``."""
    sizes = [0.0]
    for one in _family(pid):
        with contextlib.suppress(OSError):
            found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{one}/status").read_text())
            sizes.append(int(found[1]) / 1024 if found else 0.0)
    return max(sizes)


def _free_ports() -> _Ports:
    with contextlib.ExitStack() as stack:
        numbers = []
        for _ in range(3):
            made = stack.enter_context(socket.socket())
            made.bind(("127.0.0.1", 0))
            numbers.append(int(made.getsockname()[1]))
    return _Ports(http=numbers[0], grpc=numbers[1], console=numbers[2])
