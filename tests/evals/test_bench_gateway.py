"""What the gateway's benchmark makes of its rounds, by hand-computed numbers."""

import subprocess
import sys
from pathlib import Path

import pytest

from evals.bench.gateway import Timed, row_of
from evals.bench.load import Round
from evals.bench.stage import Stage


def timed(*milliseconds: float, cpu: float | None = None) -> Timed:
    seconds = tuple(one / 1e3 for one in milliseconds)
    return Timed(round=Round(whole=seconds, first=seconds, seconds=0.5), cpu_seconds=cpu)


def test_differences_are_taken_round_by_round_and_processor_time_over_all_rounds() -> None:
    pairs = [
        (timed(1.0, 1.0, cpu=0.0), timed(2.0, 3.0, cpu=0.001)),
        (timed(5.0, 5.0, cpu=0.0), timed(7.0, 9.0, cpu=0.003)),
        (timed(1.0, 1.0, cpu=0.002), timed(4.0, 4.0, cpu=0.004)),
    ]
    row = row_of(pairs, callers=1)
    assert (row.rounds, row.requests) == (3, 2)
    # Of two times the upper one is at every share from a half; 3-1, 9-5 and 4-1.
    assert row.added_p50 == pytest.approx(3.0)
    assert row.direct_p50 == pytest.approx(1.0)
    assert row.gateway_p50 == pytest.approx(4.0)
    assert row.per_second == pytest.approx(4.0)
    assert row.added_cpu_us == pytest.approx((0.001 + 0.003 + 0.002) / 6 * 1e6)


def test_processor_time_that_cannot_be_read_is_unknown() -> None:
    assert row_of([(timed(1.0, cpu=0.0), timed(2.0))] * 2, callers=1).added_cpu_us is None


BUSY = """
import sys, time
while time.process_time() < 0.1:
    pass
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="not told by this system")
def test_the_processor_time_and_the_memory_of_the_gateways_processes_are_read() -> None:
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        watched = Stage(upstream_port=0, paced_port=0, gateway_port=0, gateway_pid=process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        spent = watched.cpu_seconds()
        assert spent is not None
        assert 0.05 <= spent <= 5.0
        assert 1 < watched.memory_mb() < 1_000
        process.stdin.close()
