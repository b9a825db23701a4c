"""The collector as a program of its own, for tests that end it the hard way."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from collector.config import CollectorConfig
from collector.pricing import BookPricing
from collector.process import run
from telemetry.config import PriceConfig
from telemetry.prices import PriceBook

START_SECONDS = 90.0  # of which a quiet machine needs two
STANDIN_PRICE = PriceConfig(input=1.0, output=4.0, cache_read=0.1, cache_write=1.25)
STANDIN_PRICES = {f"{provider}/standin-mid": STANDIN_PRICE for provider in ("openai", "anthropic")}


class Ports(NamedTuple):
    http: int
    grpc: int
    console: int


def free_ports() -> Ports:
    """Return three ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(3):
            made = stack.enter_context(socket.socket())
            made.bind(("127.0.0.1", 0))
            ports.append(made.getsockname()[1])
        return Ports(*ports)


def config(store: Path, ports: Ports) -> CollectorConfig:
    return CollectorConfig(
        otlp_http=f"127.0.0.1:{ports.http}",
        otlp_grpc=f"127.0.0.1:{ports.grpc}",
        console=f"127.0.0.1:{ports.console}",
        store=store,
    )


def launch(store: Path, ports: Ports, *, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a collector and wait until its receiver takes connections."""
    command = [
        *prefix,
        sys.executable,
        "-m",
        "tests.collector.program",
        str(store),
        *map(str, ports),
    ]
    with store.with_suffix(".log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if child.poll() is not None:
            break
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return child
    child.kill()
    child.wait()
    raise AssertionError(store.with_suffix(".log").read_text()[-3_000:])


@contextlib.contextmanager
def running(store: Path, ports: Ports) -> Iterator[subprocess.Popen[bytes]]:
    """Run a collector until the block ends; it must end well on SIGTERM."""
    child = launch(store, ports)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            assert child.wait(40) == 0
    assert child.returncode in (0, -signal.SIGKILL)


if __name__ == "__main__":
    numbers = Ports(*map(int, sys.argv[2:5]))
    book = PriceBook(STANDIN_PRICES, at=datetime.now(tz=UTC))
    raise SystemExit(run(config(Path(sys.argv[1]), numbers), pricing=BookPricing(book)))
