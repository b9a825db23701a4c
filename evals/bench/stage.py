"""The processes a gateway benchmark needs (stand-in, OTLP sink, gateway), ended with the block."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evals.standin.running import standin_process

# Of the stand-in's stated latency: 37.5 ms to the first token, 1 ms to each further one. Timers
# cannot pace much finer: what is shorter comes as one burst, and measures throughput.
PACE = 0.25
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0

CONFIG = """schema = 1
[providers.standin]
base_url = "{upstream}"
dialects = ["chat", "responses", "messages", "embeddings"]
[providers.paced]
base_url = "{paced}"
dialects = ["chat"]
[prices."standin/standin-small"]
input = 0.1
output = 0.4
[prices."paced/standin-small"]
input = 0.1
output = 0.4
[prices."standin/standin-frontier"]
input = 5
output = 25
"""
POLICY = """schema = 1
ladder = ["small", "paced", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.paced]
models = ["paced/standin-small"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.worker]
tier = "small"
[roles.checked]
tier = "small"
checks = ["json_schema"]
[roles.streamer]
tier = "paced"
[roles.extractor]
tier = "small"
[[shapes]]
role = "extractor"
schema = true
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What stands on it."""

    upstream_port: int  # answers at once
    paced_port: int  # streams token by token
    gateway_port: int
    gateway_pid: int  # of the supervisor

    def cpu_seconds(self) -> float | None:
        """Return the processor time that the gateway's processes took; None where it is unknown."""
        try:
            return sum(map(_cpu_seconds, self._family()))
        except OSError:
            return None

    def memory_mb(self) -> float:
        """Return the resident memory of the largest gateway process, in MB."""
        return max(self._family().values()) / 1024

    def _family(self) -> dict[int, int]:
        """Return the gateway's processes and the kilobytes that each holds in memory."""
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,rss="],  # noqa: S607 - a system tool
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        rows = [tuple(int(field) for field in line.split()) for line in listing.splitlines()]
        family = {pid: rss for pid, _, rss in rows if pid == self.gateway_pid}
        for pid, parent, rss in sorted(rows):
            if parent in family:
                family[pid] = rss
        return family


def _cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, as Linux tells it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start everything in ``folder`` and return when the gateway is ready."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(standin_process(pace=0.0))
        paced = stack.enter_context(standin_process(pace=PACE))
        sink = stack.enter_context(_child([sys.executable, "-m", "evals.bench.sink"]))
        (folder / "tierwise.toml").write_text(
            CONFIG.format(upstream=upstream.base_url, paced=paced.base_url)
        )
        (folder / "policy.toml").write_text(POLICY)
        port = _free_port()
        command = [command_line(), "gateway", "--gateway", f"127.0.0.1:{port}"]
        command += ["--otlp-http", f"127.0.0.1:{sink[1]}"]
        with (folder / "gateway.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603
        stack.callback(_end, process)
        _await_ready(port, process, folder / "gateway.log")
        yield Stage(
            upstream_port=upstream.port,
            paced_port=paced.port,
            gateway_port=port,
            gateway_pid=process.pid,
        )


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a process that prints its port; yield its pid and port; end it by closing its input."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.pid, int(json.loads(process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(STOP_SECONDS_MAX)


def command_line() -> str:
    """Return the path of the `tierwise` command; RuntimeError when it is not installed."""
    beside = Path(sys.executable).with_name("tierwise")
    found = str(beside) if beside.exists() else shutil.which("tierwise")
    if found is None:
        raise RuntimeError("the tierwise command is not installed beside this Python")
    return found


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1),
        ):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the gateway did not become ready:\n{log.read_text()[-2000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS_MAX)


def load_average() -> float:
    """Return the machine's load of the last minute, per core; 0 where it is not known."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 0.0
