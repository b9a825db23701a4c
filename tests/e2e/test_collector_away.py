"""The collector is dead while steps go on: nobody notices, and everything is there afterwards.

With TIERWISE_LONG=1 it is away for three minutes.
"""

import http.client
import json
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.standin.running import StandinProcess
from tests.collector.program import free_ports, launch, running
from tests.e2e.test_collector_gateway import (
    CONFIG,
    POLICY,
    eventually,
    get,
    standin,
    tierwise,
)
from tests.needs import SAID

__all__ = ["standin"]  # the fixture

AWAY_SECONDS = 180.0 if os.environ.get("TIERWISE_LONG") == "1" else 2.0
REPLAY_SECONDS_MAX = 60.0 + 2 * AWAY_SECONDS
AGENTS = 3
PAUSE_SECONDS = 0.15
TOTALS = """
SELECT count(*) AS decisions, count(DISTINCT decision_id) AS ids, sum(attempts)::BIGINT AS attempts,
  sum(cost_usd) AS usd,
  (SELECT count(*) FROM calls WHERE counted AND decision_id IS NOT NULL) AS calls,
  (SELECT count(*) FROM evaluations) AS words
FROM decisions
"""


class Agents:
    """Callers that take steps one after the other until they are told to stop."""

    def __init__(self, gateway: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._gateway = gateway
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=("worker" if number else "planner",))
            for number in range(AGENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, role: str) -> None:
        body = json.dumps(
            {"model": f"tierwise/{role}", "messages": [{"role": "user", "content": "Say hello"}]}
        )
        link = http.client.HTTPConnection("127.0.0.1", self._gateway, timeout=30)
        while not self._stopped.wait(PAUSE_SECONDS):
            began = time.monotonic()
            link.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            answer = link.getresponse()
            answer.read()
            with self._lock:
                self.statuses[answer.status] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
        link.close()

    @property
    def steps(self) -> int:
        with self._lock:
            return self.statuses.total()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def totals(console: int) -> dict[str, Any]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{console}/api/sql",
        data=json.dumps({"sql": TOTALS}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found = json.load(answer)
    return dict(zip(found["columns"], found["rows"][0], strict=True))


def metric(gateway: int, name: str, *, but: str = "nothing") -> float:
    """Return the sum over a metric's series, ``but`` for those of one signal."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((f"{name} ", f"{name}{{")) and f'signal="{but}"' not in line
    )


def told(gateway: int, console: int, steps: int) -> dict[str, Any]:
    """Wait until ``steps`` are stored and nothing waits on the gateway's disk."""
    until = time.monotonic() + REPLAY_SECONDS_MAX
    while True:
        found = totals(console)
        waiting = metric(gateway, "tierwise_telemetry_spool_bytes")
        if (found["decisions"] >= steps and not waiting) or time.monotonic() > until:
            return found
        time.sleep(0.2)


@pytest.mark.timeout(240 + 4 * int(AWAY_SECONDS))
def test_steps_taken_while_the_collector_is_dead_are_spooled_and_told_afterwards(
    tmp_path: Path, standin: StandinProcess, record_property: Callable[[str, object], None]
) -> None:
    (tmp_path / "tierwise.toml").write_text(CONFIG.format(base_url=standin.base_url))
    (tmp_path / "policy.toml").write_text(POLICY)
    store, ports, gateway = tmp_path / "c.duckdb", free_ports(), free_ports().http
    with tierwise(tmp_path, "gateway", gateway, ports):
        eventually(lambda: get(gateway, "/livez"), lambda _: True)
        first = launch(store, ports)
        agents = Agents(gateway)
        try:
            eventually(lambda: totals(ports.console), lambda found: found["decisions"] >= 10)
            first.kill()
            first.wait()
            before, began = agents.steps, time.monotonic()
            time.sleep(AWAY_SECONDS)
            unseen, away = agents.steps - before, time.monotonic() - began
            spooled = metric(gateway, "tierwise_telemetry_spooled_total")
            with running(store, ports):
                time.sleep(1.0)
                agents.stop()
                steps = agents.steps
                found = told(gateway, ports.console, steps)
                replayed = metric(gateway, "tierwise_telemetry_replayed_total")
                waiting = metric(gateway, "tierwise_telemetry_spool_bytes")
                # Metrics are cumulative: the next ones hold those that could not be sent.
                dropped = metric(gateway, "tierwise_telemetry_dropped_total", but="metrics")
        finally:
            agents.stop()
    bills = [entry for entry in standin.ledger()["entries"] if entry["status"] == 200]
    record_property(
        SAID,
        f"collector away for {away:.0f} s: {unseen} of {steps} steps taken meanwhile, "
        f"{spooled:.0f} records spooled, {replayed:.0f} replayed, slowest step "
        f"{agents.slowest * 1e3:.0f} ms",
    )
    assert set(agents.statuses) == {200}
    assert unseen > 0
    assert spooled > 0
    assert replayed >= spooled
    assert (dropped, waiting) == (0.0, 0.0)
    assert (found["decisions"], found["ids"]) == (steps, steps)
    assert found["attempts"] == found["calls"] == len(bills)
    assert found["usd"] == pytest.approx(
        sum(
            (entry["input"] * price + entry["output"] * 4 * price)
            for entry in bills
            for price in (0.1e-6 if entry["model"] == "standin-small" else 1e-6,)
        )
    )
