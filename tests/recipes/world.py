"""A stand-in with `tierwise serve` before it, and no way out, for programs of others."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.standin.running import StandinProcess, standin_process
from tests.collector.program import Ports, free_ports
from tests.e2e.test_collector import rows
from tests.e2e.test_collector_gateway import LADDER, eventually, get, tierwise
from tests.needs import lacking
from tests.recipes.outside import Outside, outside

TIERWISE = Path(sys.executable).with_name("tierwise")
RUN_SECONDS = 180.0
# US dollars per million tokens: input, output, cached read, cache write.
PRICES = {"standin-small": (0.1, 0.4, 0.01, 0.125), "standin-mid": (1.0, 4.0, 0.1, 1.25)}
# Programs that call the stand-in directly take it for their own makers' and name what it served.
SELLERS = ("standin", "openai", "anthropic")
SERVED = {"standin-small": "standin-small-2026-08-01", "standin-mid": "standin-mid-2026-07-15"}
PROVIDER = """[providers.{seller}]
base_url = "{base_url}"
dialects = ["chat", "responses", "messages"]
"""
POLICY = f"""{LADDER}[roles.coder]
tier = "mid"
[roles.worker]
tier = "small"
"""


def agents() -> Path:
    """Return the folder of node_modules that holds the coding agents, or leave the test."""
    installed = os.environ.get("TIERWISE_AGENTS")
    if installed is None:
        lacking("the coding agents (TIERWISE_AGENTS names the folder where npm ci put them)")
        raise AssertionError("unreachable")
    return Path(installed) / "node_modules"


def binary(package: str, pattern: str) -> Path:
    """Return the program that a platform's package of an agent holds, or leave the test."""
    if found := sorted(agents().glob(f"{package}-linux-*/{pattern}")):
        return found[0]
    lacking(f"{package} for this machine")
    raise AssertionError("unreachable")


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What a program under test finds around it."""

    folder: Path
    standin: StandinProcess
    gateway: int
    ports: Ports
    outside: Outside

    @property
    def store(self) -> Path:
        return self.folder / "t.duckdb"

    def run(
        self, command: Sequence[str | Path], *, more: Mapping[str, str], path: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program in an empty folder with an empty home; it must end well.

        Nothing of this process's environment is handed on. ``path`` holds programs to be found.
        """
        home, work = self.folder / "home", self.folder / "work"
        home.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        node = Path(shutil.which("node") or "/usr/bin/node").parent
        found = [str(folder) for folder in (path, node, "/usr/bin", "/bin") if folder]
        plain = {"PATH": ":".join(found), "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb"}
        done = subprocess.run(
            command, cwd=work, env=plain | self.outside.variables | dict(more),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
        return done

    def launch(
        self, agent: str, *arguments: str, program: Path, more: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``tierwise launch`` for an agent whose program is ``program``."""
        shelf = self.folder / "bin"
        shelf.mkdir(exist_ok=True)
        (shelf / agent).symlink_to(program)
        command: list[str | Path] = [
            TIERWISE, "launch", agent, "--config", self.folder / "tierwise.toml",
            "--gateway", f"127.0.0.1:{self.gateway}", "--role", "coder", "--", *arguments,
        ]  # fmt: skip
        return self.run(command, more=more, path=shelf)

    def billed(self) -> list[dict[str, Any]]:
        """Return what the stand-in billed, each with its cost in US dollars."""
        entries = [entry for entry in self.standin.ledger()["entries"] if entry["status"] == 200]
        return [entry | {"cost": cost_by_hand(entry)} for entry in entries]

    def settle(self, calls: int) -> None:
        """Wait until the store holds ``calls`` calls, counted or not."""
        body = json.dumps({"sql": "SELECT count(*) AS n FROM calls", "rows_max": 1}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.ports.console}/api/sql", data=body,
            headers={"content-type": "application/json"},
        )  # fmt: skip

        def count() -> Any:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return json.load(answer)["rows"]

        eventually(count, lambda found: found == [[calls]])


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Run the stand-in and tierwise for as long as the block lasts."""
    ports, gateway = free_ports(), free_ports().http
    with standin_process(pace=0.0) as standin, outside() as beyond:
        (folder / "tierwise.toml").write_text(config(standin.base_url))
        (folder / "policy.toml").write_text(POLICY)
        with tierwise(folder, "serve", gateway, ports):
            eventually(lambda: get(gateway, "/readyz"), lambda _: True)
            eventually(lambda: get(ports.console, "/livez"), lambda _: True)
            yield World(
                folder=folder, standin=standin, gateway=gateway, ports=ports, outside=beyond
            )


def config(base_url: str) -> str:
    """Return a tierwise.toml in which everybody sells the stand-in's models at one price."""
    lines = ["schema = 1"]
    for seller in SELLERS:
        lines.append(PROVIDER.format(seller=seller, base_url=base_url))
        for model, (plain, out, read, write) in PRICES.items():
            for name in (model, SERVED[model]):
                lines += [f'[prices."{seller}/{name}"]', f"input = {plain}", f"output = {out}"]
                lines += [f"cache_read = {read}", f"cache_write = {write}"]
    return "\n".join(lines)


def cost_by_hand(entry: Mapping[str, Any]) -> float:
    """Return what one entry of the stand-in's ledger costs, in US dollars."""
    plain, out, read, write = PRICES[entry["model"]]
    fresh = entry["input"] - entry["cache_read"] - entry["cache_write"]
    total = fresh * plain + entry["cache_read"] * read + entry["cache_write"] * write
    return float((total + entry["output"] * out) / 1e6)


def calls(store: Path, where: str = "true") -> list[dict[str, Any]]:
    """Return the calls of a store, oldest first."""
    names = (
        "role", "dialect", "service", "counted", "uncounted_reason", "task", "input_tokens",
        "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd", "cost_source",
        "model_requested", "response_id", "attributes",
    )  # fmt: skip
    found = rows(store, f"SELECT {', '.join(names)} FROM calls WHERE {where} ORDER BY start_ns")
    return [dict(zip(names, row, strict=True)) for row in found]
