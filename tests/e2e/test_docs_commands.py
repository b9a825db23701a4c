"""Every command of the guides runs as it is written, beside a gateway at work.

Only addresses are exchanged for free ones, and REVISION for a real one. What needs a world of its
own, or has one, is named with the test that runs it.
"""

import asyncio
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evals.standin.running import StandinProcess
from evals.workloads.support import EXTRACT_SCHEMA, has_fields
from evals.workloads.tickets import Ticket, tickets
from router.cli.app import run
from tests.collector.program import free_ports
from tests.collector.test_dumps import call, lines
from tests.e2e.serving import FREE_COLLECTOR, TIERWISE, Service, until
from tests.httpd import Quiet, listening

ROOT = Path(__file__).parents[2]
PAGES = ("adopt", "audit", "evals", "examples", "agents", "savings")
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.S)
INLINE = re.compile(r"`((?:tierwise|python) [^`\n]+)`")
TOKEN = "t0ken-of-the-guides"
STEPS = 260
WATCH_SECONDS_MAX = 30.0
AUDIT = "tierwise audit"  # its name alone, which is no command line
ELSEWHERE = {
    "tierwise init": "tests/router/test_cli_init.py",
    "tierwise collector &": "tests/e2e/test_collector.py",
    "tierwise serve": "tests/e2e/test_serve.py",
    "kill %1": "tests/e2e/test_collector.py",
    "TIERWISE_LONG=1 .venv/bin/python -m pytest tests/collector/test_dumps_long.py -q -s":
        "tests/collector/test_dumps_long.py",
    "tierwise eval judge gold.ndjson --rubric rubric.txt --role judge --usd-max 2":
        "tests/router/test_cli_eval.py",
    "tierwise eval examples": "tests/evals/test_examples.py",
    "tierwise eval examples support-ticket --out report": "tests/evals/test_examples.py",
    "tierwise eval modes": "tests/e2e/test_modes.py",
    "tierwise eval modes --one-floor": "tests/e2e/test_modes.py",
    "python -m evals.standin --port 8090": "tests/evals/test_standin_docs.py",
}  # fmt: skip
POLICY = """
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.default]
tier = "frontier"
[roles.planner]
tier = "frontier"
[roles.executor]
tier = "small"
[alerts.cost]
budget_usd_per_day = 1000
horizon_seconds = 1
baseline_tasks = 100
[alerts.quality]
horizon_seconds = 1
feedback_per_hour_max = 1000000
[[alerts.notify]]
kind = "webhook"
url_env = "TIERWISE_HOOK"
allow_private = true
group_wait_seconds = 0
"""


def written(page: str) -> list[str]:
    """Every command of a page, in its order, without comments."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    found = []
    for language, block in BLOCK.findall(text):
        if language in ("", "sh"):
            found += [re.sub(r"\s+# .*", "", line).strip() for line in block.splitlines()]
    found += [inline for inline in INLINE.findall(BLOCK.sub("", text)) if inline != AUDIT]
    return [line for line in found if line and not line.startswith(("export ", "{"))]


def toml(page: str, *, holding: str) -> str:
    """The first block of TOML in a page that holds some words."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks: list[tuple[str, str]] = BLOCK.findall(text)
    return next(block for language, block in blocks if language == "toml" and holding in block)


def policy() -> str:
    """A policy of the guides' own tables: what a pilot, a suite and shadow runs need."""
    pilot = toml("adopt", holding='learn = "propose"')
    quick = "[learning]\ntick_seconds = 0.5\ndwell_seconds = 0\n"
    shadow = toml("evals", holding="[roles.extractor.shadow]")
    return "\n".join(
        (POLICY, pilot.replace("[learning]\n", quick), toml("evals", holding="[roles.eval]"),
         shadow.replace("share = 0.05", "share = 0.5"))
    )  # fmt: skip


def config(port: int, gateway: int) -> str:
    lines = ["schema = 1", "[gateway]", f'listen = "127.0.0.1:{gateway}"', "drain_seconds = 2"]
    lines += ["[providers.standin]", f'base_url = "http://127.0.0.1:{port}/v1"']
    lines += ['dialects = ["chat", "responses"]']
    for tier, price in (("small", 0.1), ("mid", 1.0), ("frontier", 5.0)):
        lines += [f'[prices."standin/standin-{tier}"]', f"input = {price}", f"output = {price * 5}"]
    content = toml("evals", holding="[telemetry]").replace("[collector]", "\n".join((
        "[collector]", 'token_env = "TIERWISE_TOKEN"', 'console = "127.0.0.1:8081"',
    )))  # fmt: skip
    return "\n".join((*lines, content))


@dataclass
class World:
    """A gateway and a collector at work on extraction, graded; and the folder of the reader."""

    folder: Path
    service: Service
    console: str
    revision: str = ""

    def typed(self, command: str) -> str:
        """The command with this world's addresses."""
        known = {
            "127.0.0.1:8081": self.console, "127.0.0.1:8080": self.service.address,
            "REVISION": self.revision, "FOLDER": "exported",
        }  # fmt: skip
        for words, own in known.items():
            command = command.replace(words, own)
        return command


def extraction(ticket: Ticket) -> dict[str, Any]:
    form = {"name": "order", "schema": EXTRACT_SCHEMA, "strict": True}
    ask = "Extract from the ticket, as JSON with the keys order_id, email and customer."
    content = f"{ask}\n\n<ticket>\n{ticket.text}\n</ticket>"
    return {
        "model": "tierwise/extractor",
        "messages": [{"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": form},
    }


async def worked(gateway: str, console: str) -> None:
    """Send steps, and say of each answer whether it was right; of the first that it was not."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    work = iter(enumerate(tickets(STEPS, seed=5)))

    async def agent(session: aiohttp.ClientSession) -> None:
        for number, ticket in work:
            url = f"http://{gateway}/v1/chat/completions"
            async with session.post(url, json=extraction(ticket)) as answer:
                body = await answer.json()
                assert answer.status == 200, body
                text = body["choices"][0]["message"]["content"]
                decision = answer.headers["x-tierwise-decision"]
            wanted = {"order_id": ticket.order.order_id, "email": ticket.email}
            right = has_fields(text, wanted) and number > 0
            word = {"decision": decision, "name": "right", "score": float(right), "source": "desk"}
            url = f"http://{console}/v1/feedback"
            async with session.post(url, json=word, headers=headers) as answer:
                assert answer.status < 300, await answer.text()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(agent(session) for _ in range(8)))


@contextmanager
def hook() -> Iterator[str]:
    """A place that takes alerts, so that they are armed; yields its URL."""

    class Handler(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def world(folder: Path) -> Iterator[World]:
    ports = free_ports()
    gateway, console = ports.http, ports.console
    with StandinProcess.start(seed=5) as standin, hook() as url:
        standin.change_skills({
            f"standin-{tier}": {"right": {"extract": 1.0}} for tier in ("small", "frontier")
        })  # fmt: skip
        own = config(standin.port, gateway).replace("127.0.0.1:8081", f"127.0.0.1:{console}")
        (folder / "tierwise.toml").write_text(own)
        (folder / "policy.toml").write_text(policy())
        variables = {"TIERWISE_LOG_LEVEL": "WARNING", "TIERWISE_TOKEN": TOKEN, "TIERWISE_HOOK": url}
        free = [flag for flag in FREE_COLLECTOR if "console" not in flag]
        service = Service(["serve", *free], log=folder / "log", variables=variables)
        try:
            service.ready()
            yield World(folder=folder, service=service, console=f"127.0.0.1:{console}")
        finally:
            service.close()


def asked(capsys: pytest.CaptureFixture[str], command: str, *, code: int | None = 0) -> str:
    """Run a command in this process; return what it said."""
    capsys.readouterr()
    ended = run(shlex.split(command)[1:])
    said = capsys.readouterr()
    assert code is None or ended == code, f"{command}: {ended}\n{said.out}\n{said.err}"
    assert "Traceback" not in said.err
    return said.out + said.err


def proposal(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of the newest revision that waits for a person."""
    listed = json.loads(asked(capsys, "tierwise policy list --json"))
    return str(next(
        (each["id"] for each in listed["revisions"] if each["status"] == "proposed"), ""
    ))  # fmt: skip


# The doctor finds the ports taken, since the service runs already; and the rollback before it left
# no revision to export. All others end with 0.
CODES = {"tierwise doctor": 1, "tierwise policy export": 1}


@pytest.mark.timeout(240)
def test_every_command_of_the_guides_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERWISE_TOKEN", TOKEN)
    (tmp_path / "evals").symlink_to(ROOT / "evals")
    (tmp_path / "exports").mkdir()
    at_ns = time.time_ns() - 86_400 * 10**9
    lines(tmp_path / "exports" / "more.jsonl", (call(n, start_ns=at_ns) for n in range(50, 60)))
    for name in ("traces.jsonl", "more.pb"):
        lines(tmp_path / name, (call(n, start_ns=at_ns) for n in range(1, 40)))
    with world(tmp_path) as at:
        until(lambda: run(["roles", "--json"]) == 0, "the collector")
        asyncio.run(worked(at.service.address, at.console))
        until(lambda: run(["alerts", "armed"]) == 0, "the arming of both alerts")
        until(lambda: proposal(capsys), "a proposal")
        for page in PAGES:
            for command in written(page):
                _run(at, command, capsys)
        at.service.process.send_signal(signal.SIGTERM)
        assert at.service.ends() == 0
    # What stood still while the collector ran.
    asked(capsys, "tierwise audit .tierwise/tierwise.duckdb")
    saved = json.loads(Path(".tierwise/tierwise.duckdb.budgets.json").read_text())
    assert "shadow|skip|extractor" in json.dumps(saved)


def _run(at: World, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command in ELSEWHERE or command.endswith("tierwise.duckdb"):
        return
    if "REVISION" in command:
        at.revision = proposal(capsys)  # a newer one may have taken the place of the one before
    typed = at.typed(command)
    if "--out audit" in typed and Path("audit").exists():
        shutil.rmtree("earlier", ignore_errors=True)
        Path("audit").rename("earlier")
    if "| python" in typed:
        json.loads(asked(capsys, typed.partition("|")[0]))
    elif typed.startswith("cp "):  # done for real, it would take this world's own files' place
        names = [Path(source).name for source in typed.split()[1:-1]]
        assert all(Path("earlier", name).exists() for name in names)
    elif typed.endswith("--watch"):
        _watched(typed)
    elif typed.startswith("python -m"):
        arguments = [sys.executable, *shlex.split(typed)[1:]]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    else:
        asked(capsys, typed, code=CODES.get(command, 0))


def _watched(command: str) -> None:
    """Look at a terminal until there is something to see, then interrupt."""
    ours, theirs = pty.openpty()
    wide = os.environ | {"COLUMNS": "200"}
    watching = subprocess.Popen([TIERWISE, *shlex.split(command)[1:]], stdout=theirs, env=wide)
    os.close(theirs)
    seen = b""
    ends = time.monotonic() + WATCH_SECONDS_MAX
    with os.fdopen(ours, "rb", buffering=0) as screen:
        while b"extractor" not in seen and time.monotonic() < ends:
            if select.select([screen], [], [], 1.0)[0]:
                seen += screen.read(4_096)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    assert b"extractor" in seen


def test_what_is_run_elsewhere_still_stands_in_a_page() -> None:
    everywhere = {command for page in PAGES for command in written(page)}
    for command, path in ELSEWHERE.items():
        assert command in everywhere
        assert (ROOT / path).exists()
