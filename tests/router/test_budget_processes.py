"""A budget of one day before two real gateway workers, a real collector and real restarts."""

import concurrent.futures
import http.client
import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.serving import (
    ASKED,
    FREE,
    FREE_COLLECTOR,
    WAIT_SECONDS,
    Provider,
    Service,
    provider,
    until,
    write_files,
)  # fmt: skip

OUTPUT_TOKENS = 10
CALLERS = 200
FIT = 45  # of them; no multiple of two workers
STEP = 4  # microdollars: 3 tokens in and 1 out, at one dollar per million each
LIMIT = 400
BUDGETS = """
[[budgets]]
scope = "day"
usd = {usd}
[reservations]
output_tokens = {output_tokens}
"""
# Held back for a step, in microdollars: each byte may be a token.
BOUND = len(json.dumps(ASKED)) + OUTPUT_TOKENS


class Day:
    """A service with a budget, and what its provider was asked for in all."""

    def __init__(self, folder: Path, upstream: Provider, *, limit: int = LIMIT) -> None:
        """``limit`` is in microdollars."""
        self._folder = folder
        self._upstream = upstream
        self._limit = limit
        self.served = 0

    def start(self) -> Service:
        files = write_files(self._folder, self._upstream.port, more="[gateway]\nworkers = 2\n")
        with (self._folder / "policy.toml").open("a") as policy:
            policy.write(BUDGETS.format(usd=self._limit / 1e6, output_tokens=OUTPUT_TOKENS))
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
        assert self.served * STEP <= self._limit
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
            while LIMIT - day.served * STEP >= 4 * BOUND or day.served == before:
                day.ask(service, 2)
                assert time.monotonic() < ends, f"only {day.served} steps were served"
                time.sleep(0.1)
            assert day.served > before
            # Until nothing fits any more: the rest is less than a step may cost.
            until(lambda: set(day.ask(service, 8)) == {402}, what="the end of the budget")
            assert service.step() == 402
        finally:
            service.close()


def answers(address: str) -> bool:
    """Say whether a console is there."""
    link = http.client.HTTPConnection(address, timeout=5)
    try:
        link.request("GET", "/livez")
        return link.getresponse().status == 200
    except OSError:
        return False
    finally:
        link.close()


@pytest.mark.timeout(120)
def test_of_200_callers_before_two_workers_exactly_as_many_are_served_as_fit(
    tmp_path: Path,
) -> None:
    with provider() as upstream:
        upstream.let_go.clear()  # so that what is held back stays held back
        service = Day(tmp_path, upstream, limit=FIT * BOUND).start()
        try:
            until(lambda: answers(service.console), what="the collector")
            time.sleep(1.5)  # a worker looks for it each second
            with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
                callers = [pool.submit(service.step) for _ in range(CALLERS)]
                until(
                    lambda: sum(one.done() for one in callers) >= CALLERS - FIT,
                    what="the refusal of all that do not fit",
                )
                upstream.let_go.set()
                statuses = [one.result() for one in callers]
            assert (statuses.count(200), statuses.count(402)) == (FIT, CALLERS - FIT)
            # What they cost is far less than what was held back for them.
            assert service.step() == 200
        finally:
            upstream.let_go.set()
            service.close()
