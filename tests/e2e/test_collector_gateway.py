"""The loop closed: steps through `tierwise serve` become decisions, attempts and spend."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from openai import OpenAI

from evals.standin.running import StandinProcess, standin_process
from tests.collector.program import Ports, free_ports, launch, running

TIERWISE = Path(sys.executable).with_name("tierwise")
CONFIG = """schema = 1
[providers.standin]
base_url = "{base_url}"
dialects = ["chat"]
[prices."standin/standin-small"]
input = 0.1
output = 0.4
[prices."standin/standin-mid"]
input = 1.0
output = 4.0
"""
LADDER = """schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
"""
POLICY = f"""{LADDER}[roles.worker]
tier = "small"
range = ["small", "mid"]
checks = [{{ check = "contains", values = ["never to be found"] }}]
[roles.planner]
tier = "mid"
"""
WAIT_SECONDS = 30.0


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with standin_process(pace=0.0) as process:
        yield process


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def eventually(ask: Any, when: Any) -> Any:
    until, found = time.monotonic() + WAIT_SECONDS, None
    while time.monotonic() < until:
        try:
            found = ask()
            if when(found):
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(found)


def ask(gateway: int, role: str) -> str:
    """Take one step and return its decision's id."""
    client = OpenAI(base_url=f"http://127.0.0.1:{gateway}/v1", api_key="any", max_retries=0)
    answer = client.chat.completions.with_raw_response.create(
        model=f"tierwise/{role}", messages=[{"role": "user", "content": "Say hello"}]
    )
    return str(answer.headers["x-tierwise-decision"])


@contextmanager
def tierwise(
    folder: Path, command: Literal["serve", "gateway"], gateway: int, ports: Ports
) -> Iterator[None]:
    """Run a command on these ports, with the two files of ``folder``; its store is there too."""
    where = {"gateway": gateway, "otlp-http": ports.http, "console": ports.console}
    arguments: list[str] = [command]
    if command == "serve":
        where["otlp-grpc"] = ports.grpc
        arguments.append(f"--store={folder}/t.duckdb")
    arguments += [f"--{flag}=127.0.0.1:{port}" for flag, port in where.items()]
    with (folder / "tierwise.log").open("ab") as log:
        process = subprocess.Popen([str(TIERWISE), *arguments], cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (folder / "tierwise.log").read_text()[-3_000:]


def test_steps_through_the_gateway_are_decisions_attempts_and_spend(
    tmp_path: Path, standin: StandinProcess
) -> None:
    (tmp_path / "tierwise.toml").write_text(CONFIG.format(base_url=standin.base_url))
    (tmp_path / "policy.toml").write_text(POLICY)
    ports, gateway = free_ports(), free_ports().http
    with tierwise(tmp_path, "serve", gateway, ports):
        eventually(lambda: get(gateway, "/readyz"), lambda _: True)
        eventually(lambda: get(ports.console, "/livez"), lambda _: True)
        ids = [ask(gateway, "planner"), ask(gateway, "worker")]
        planner, worker = (
            eventually(
                lambda name=name: get(ports.console, f"/api/decisions/{name}"),
                lambda found: len(found["attempts"]) == found["decision"]["attempts"],
            )
            for name in ids
        )
        board = eventually(
            lambda: get(ports.console, "/api/roles"),
            lambda found: (
                found["calls"] == 3 and sum(role["decisions"] for role in found["roles"]) == 2
            ),
        )
    assert [attempt["tier"] for attempt in planner["attempts"]] == ["mid"]
    assert [attempt["tier"] for attempt in worker["attempts"]] == ["small", "mid"]
    assert worker["decision"]["escalated_from"] == "small"
    assert {word["name"] for word in worker["verdicts"]} == {"contains"}
    bills = [entry for entry in standin.ledger()["entries"] if entry["status"] == 200]
    price = {"standin-small": (0.1, 0.4), "standin-mid": (1.0, 4.0)}
    dollars = sum(
        (entry["input"] * price[entry["model"]][0] + entry["output"] * price[entry["model"]][1])
        for entry in bills
    ) / 1e6  # fmt: skip
    attempts = [*planner["attempts"], *worker["attempts"]]
    assert len(attempts) == len(bills) == 3
    assert sum(attempt["input_tokens"] for attempt in attempts) == sum(b["input"] for b in bills)
    assert board["spend_usd"] == pytest.approx(dollars)
    assert {role["role"]: role["escalation_rate"] for role in board["roles"]} == {
        "planner": 0.0,
        "worker": 1.0,
    }


def test_a_collector_that_is_away_or_killed_costs_no_decision(
    tmp_path: Path, standin: StandinProcess
) -> None:
    (tmp_path / "tierwise.toml").write_text(CONFIG.format(base_url=standin.base_url))
    (tmp_path / "policy.toml").write_text(POLICY)
    store, ports, gateway = tmp_path / "c.duckdb", free_ports(), free_ports().http
    with tierwise(tmp_path, "gateway", gateway, ports):
        eventually(lambda: get(gateway, "/livez"), lambda _: True)
        made = [ask(gateway, "planner") for _ in range(5)]  # there is no collector yet
        first = launch(store, ports)
        made += [ask(gateway, "planner") for _ in range(5)]
        first.kill()
        first.wait()
        made += [ask(gateway, "planner") for _ in range(5)]  # and now there is none again
        with running(store, ports):
            found = eventually(
                lambda: get(ports.console, "/api/decisions?limit=100")["decisions"],
                lambda rows: len(rows) >= len(made),
            )
    assert sorted(row["decision_id"] for row in found) == sorted(made)
