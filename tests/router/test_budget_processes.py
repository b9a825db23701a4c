"""A budget of one day before two real gateway workers, a real collector and real restarts."""

import concurrent.futures
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.serving import (
    FREE,
    FREE_COLLECTOR,
    WAIT_SECONDS,
    Provider,
    Service,
    provider,
    until,
    write_files,
)  # fmt: skip

STEP = 4  # microdollars: 3 tokens in and 1 out, at one dollar per million each
LIMIT = 400
BUDGETS = f"""
[[budgets]]
scope = "day"
usd = {LIMIT / 1e6}
[reservations]
output_tokens = 10
"""
# The bodies are under 110 bytes, so no step holds back more than so many microdollars.
BOUND = 120


class Day:
    """A service with a budget, and what its provider was asked for in all."""

    def __init__(self, folder: Path, upstream: Provider) -> None:
        self._folder = folder
        self._upstream = upstream
        self.served = 0

    def start(self) -> Service:
        files = write_files(self._folder, self._upstream.port, more="[gateway]\nworkers = 2\n")
        with (self._folder / "policy.toml").open("a") as policy:
            policy.write(BUDGETS)
        flags = [*FREE, *FREE_COLLECTOR, f"--store={self._folder}/t.duckdb"]
        return Service(
            ["serve", *files, *flags],
            log=self._folder / "log",
            variables={"TIERWISE_LOG_LEVEL": "WARNING"},
        ).ready()

    def ask(self, service: Service, times: int) -> list[int]:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = [one.result() for one in [pool.submit(service.step) for _ in range(times)]]
        assert set(statuses) <= {200, 402}
        self.served += statuses.count(200)
        assert self.served * STEP <= LIMIT
        return statuses


@pytest.mark.timeout(150)
def test_two_workers_and_their_successors_share_one_days_budget(tmp_path: Path) -> None:
    with provider() as upstream:
        day = Day(tmp_path, upstream)
        service = day.start()
        try:
            for _ in range(40):  # 160 of 400
                day.ask(service, 1)
            assert day.served > 20
            before = day.served
            service.process.send_signal(signal.SIGTERM)
            assert service.ends() == 0
        finally:
            service.close()
        service = day.start()
        try:
            ends = time.monotonic() + WAIT_SECONDS
            # A worker whose good-bye was not heard leaves behind what it last reported as under
            # way: one step's bound each.
            while LIMIT - day.served * STEP >= 3 * BOUND or day.served == before:
                day.ask(service, 2)
                assert time.monotonic() < ends, f"only {day.served} steps were served"
                time.sleep(0.1)
            assert day.served > before
            # Until nothing fits any more: the rest is less than a step may cost.
            until(lambda: set(day.ask(service, 8)) == {402}, what="the end of the budget")
            assert service.step() == 402
        finally:
            service.close()
