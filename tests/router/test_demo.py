"""The demo as people run it: one command, its checks, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from evals.workloads.steps import Said, StepResult
from router.cli import exits
from router.demo import files, ledgers, report
from router.demo.sink import AttemptSpan, Sink
from router.settings import load

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from router.cli import main; sys.exit(main())",
    "demo",
]
SECONDS_MAX = 60.0

ENTRY: dict[str, Any] = {
    "status": 200, "model": "standin-mid", "response_id": "chatcmpl-1", "right": True,
    "input": 1_000, "cache_read": 600, "cache_write": 100, "output": 50,
}  # fmt: skip
# 300 fresh at 1.00, 600 read at 0.10, 100 written at 1.25, 50 out at 5.00, per million.
ENTRY_USD = 300e-6 + 60e-6 + 125e-6 + 250e-6
SPAN = AttemptSpan(
    decision_id="d1", role="writer", tier="mid", model="cloud/standin-mid",
    response_id="chatcmpl-1", input_tokens=1_000, output_tokens=50, cost_usd=ENTRY_USD,
)  # fmt: skip


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def processes_of(folder: Path) -> list[int]:
    """Return the processes that carry this test's own folder in their environment."""
    mark = f"TMPDIR={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    with start(folder, "--json") as process:
        out, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == exits.OK, err
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.timeout(120)
def test_every_line_is_json_from_the_stated_table_to_the_summary(
    events: list[dict[str, Any]],
) -> None:
    assert [event["event"] for event in events] == [
        "stated", *["step"] * (len(events) - 2), "summary",
    ]  # fmt: skip
    assert "stand-ins" in events[0]["note"]
    assert events[0]["prices"]["frontier"]["output"] == 25


@pytest.mark.timeout(120)
def test_every_check_holds_and_every_step_was_routed(events: list[dict[str, Any]]) -> None:
    steps, summary = events[1:-1], events[-1]
    assert [check["holds"] for check in summary["checks"]] == [True] * 4
    assert all(step["error"] is None and step["decision"] for step in steps)
    assert {step["role"]: step["tier"] for step in steps} == files.STARTS
    assert len(steps) == 12 * 9 + 1 + 5 * 20 == summary["routed"]["requests_count"]


@pytest.mark.timeout(120)
def test_savings_are_signed_against_a_replay_of_as_many_requests(
    events: list[dict[str, Any]],
) -> None:
    summary = events[-1]
    routed, frontier = summary["routed"], summary["uniform_frontier"]
    assert frontier["requests_count"] == routed["requests_count"]
    assert summary["saved_share"] == pytest.approx(1 - routed["usd"] / frontier["usd"])
    assert sum(row["cost_usd"] for row in summary["spend"]) == pytest.approx(routed["usd"])
    assert routed["right_count"] == sum(step["right"] for step in events[1:-1])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    with start(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "standin" in line and "right" in line and line.split()[0].isdigit():
                break  # steps are under way
        process.send_signal(number)
        process.communicate(timeout=SECONDS_MAX)
    killed = number is signal.SIGKILL
    assert process.returncode == (-signal.SIGKILL if killed else exits.INTERRUPTED)
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []
    assert killed or list(tmp_path.iterdir()) == []


def test_the_files_it_writes_are_ones_the_gateway_loads(tmp_path: Path) -> None:
    paths = files.write(tmp_path, local="http://127.0.0.1:1/v1", cloud="http://127.0.0.1:2/v1")
    config, policy = load(*paths)
    assert set(config.providers) == {"local", "cloud"}
    assert config.prices["cloud/standin-mid"].cache_write == 1.25
    assert {name: role.tier for name, role in policy.roles.items()} == {
        **files.STARTS, "default": "mid",
    }  # fmt: skip


def test_a_bill_counts_each_kind_of_token_at_its_own_price() -> None:
    assert ledgers.price_of(ENTRY, files.PRICES["mid"]) == pytest.approx(ENTRY_USD, abs=1e-15)
    refused = {**ENTRY, "status": 503, "model": ""}
    bill = ledgers.bill_of([ENTRY, refused])
    assert bill.usd == pytest.approx(ENTRY_USD, abs=1e-15)
    assert (bill.requests_count, bill.right_count) == (1, 1)


@pytest.mark.parametrize("tier", files.TIERS)
def test_the_demos_prices_are_the_list_prices_it_says_they_are(tier: str) -> None:
    price = files.PRICES[tier]
    million = 1_000_000
    for usage, want in (
        (Usage(input_tokens=million), price.input),
        (Usage(output_tokens=million), price.output),
        (Usage(input_tokens=million, cache_read_tokens=million), price.cache_read),
        (Usage(input_tokens=million, cache_write_tokens=million), price.cache_write),
    ):
        listed = calc_price(usage, model_ref=price.like).total_price
        assert float(listed) == pytest.approx(want)


def sink_of(*spans: AttemptSpan, routes: tuple[str, ...] = ("d1",)) -> Sink:
    sink = Sink()
    sink.attempts.extend(spans)
    sink.routes.extend(routes)
    return sink


@pytest.mark.parametrize(
    ("sink", "holding"),
    [
        (sink_of(SPAN), [True, True, True, True]),
        (sink_of(), [False, False, False, True]),
        (sink_of(SPAN, SPAN), [False, False, False, True]),
        (sink_of(replace(SPAN, cost_usd=ENTRY_USD + 2e-9)), [False, True, True, True]),
        (sink_of(replace(SPAN, cost_usd=None)), [False, True, True, True]),
        (sink_of(replace(SPAN, response_id="chatcmpl-2")), [True, False, True, True]),
        (sink_of(replace(SPAN, output_tokens=51)), [True, True, False, True]),
        (sink_of(SPAN, routes=()), [True, True, True, False]),
        (sink_of(SPAN, routes=("d1", "d1")), [True, True, True, False]),
    ],
)
def test_each_check_breaks_on_what_it_is_there_for(sink: Sink, holding: list[bool]) -> None:
    assert [check.holds for check in ledgers.checks(sink, [ENTRY], ["d1"])] == holding


def test_spend_counts_every_attempt_but_judges_only_the_last_one_of_a_step() -> None:
    escalated = replace(SPAN, tier="frontier", cost_usd=0.5)
    said = Said(text="", headers={"decision": "d1"})
    result = StepResult(role="writer", step="draft", session="s", right=True, said=said)
    rows = report.spend_of([SPAN, escalated], [result])
    assert [(row.tier, row.calls, row.steps_right, row.steps_judged) for row in rows] == [
        ("frontier", 1, 1, 1),
        ("mid", 1, 0, 0),
    ]


def test_a_dearer_routing_shows_as_a_negative_saving() -> None:
    dear = ledgers.Bill(usd=3.0, requests_count=2, right_count=2)
    cheap = ledgers.Bill(usd=2.0, requests_count=2, right_count=1)
    findings = report.Findings(spend=[], checks=[], routed=dear, frontier=cheap, seconds=1.0)
    assert findings.saved_share == pytest.approx(-0.5)
    assert "-50.0%" in "\n".join(report.comparison(findings))


def test_no_saving_is_claimed_when_a_check_is_broken() -> None:
    bill = ledgers.Bill(usd=1.0, requests_count=1, right_count=1)
    broken = ledgers.Check(name="c", holds=False, found="")
    findings = report.Findings(spend=[], checks=[broken], routed=bill, frontier=bill, seconds=1.0)
    assert findings.saved_share is None
    assert "unknown" in "\n".join(report.comparison(findings))
