"""The demo as people run it: one command, its checks, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from router.cli import exits
from router.demo import files

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from router.cli import main; sys.exit(main())",
    "demo",
    "--quick",
]
SECONDS_MAX = 60.0


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


def steps_of(events: list[dict[str, Any]], *, plan: str | None = None) -> list[dict[str, Any]]:
    steps = [event for event in events if event["event"] == "step"]
    return steps if plan is None else [step for step in steps if step["plan"] == plan]


@pytest.mark.timeout(120)
def test_every_line_is_json_from_the_stated_table_to_the_summary(
    events: list[dict[str, Any]],
) -> None:
    kinds = [event["event"] for event in events]
    assert [kind for kind in kinds if kind != "step"] == [
        "stated", "serving", "note", "note", "summary",
    ]  # fmt: skip
    assert (kinds[0], kinds[1], kinds[-1]) == ("stated", "serving", "summary")
    assert "stand-ins" in events[0]["note"]
    assert events[0]["prices"]["frontier"]["output"] == 25


@pytest.mark.timeout(120)
def test_every_check_holds_and_every_step_was_routed(events: list[dict[str, Any]]) -> None:
    steps, summary = steps_of(events), events[-1]
    assert [check["holds"] for check in summary["checks"]] == [True] * 8
    assert all(step["decision"] for step in steps)
    assert [step["role"] for step in steps if step["error"]] == ["night_decider"]
    assert len(steps) == 12 * 9 + 1 + 5 * 20 + 2 + 3 * 20 + 5
    assert summary["routed"]["steps_count"] == len(steps) - 1
    model_calls = [a for step in steps for a in step["attempts"] if a["tier"] != "code"]
    assert summary["routed"]["calls_count"] == len(model_calls)


@pytest.mark.timeout(120)
def test_savings_are_signed_against_a_replay_of_as_many_requests(
    events: list[dict[str, Any]],
) -> None:
    summary, steps = events[-1], steps_of(events)
    routed, frontier = summary["routed"], summary["uniform_frontier"]
    assert frontier["steps_count"] == frontier["calls_count"] == routed["steps_count"]
    assert summary["saved_share"] == pytest.approx(1 - routed["usd"] / frontier["usd"])
    assert sum(row["cost_usd"] for row in summary["spend"]) == pytest.approx(routed["usd"])
    assert sum(step["cost_usd"] for step in steps) == pytest.approx(routed["usd"])
    assert routed["right_count"] == sum(step["right"] for step in steps)


@pytest.mark.timeout(120)
def test_a_failed_check_moves_a_step_up_and_both_attempts_are_paid(
    events: list[dict[str, Any]],
) -> None:
    moved = [step for step in steps_of(events) if any(a["failed"] for a in step["attempts"])]
    named = {check for step in moved for a in step["attempts"] for check in a["failed"]}
    assert {"grounded", "one_of", "promises_nothing", "tool_call_valid"} <= named
    for step in moved:
        below, above = step["attempts"][-2:]
        assert above["cause"] == "escalation"
        assert not above["failed"]
        assert files.TIERS.index(above["tier"]) == files.TIERS.index(below["tier"]) + 1
        assert step["tier"] == above["tier"]
        paid = sum(attempt["cost_usd"] for attempt in step["attempts"])
        assert step["cost_usd"] == pytest.approx(paid, abs=1e-12)
        assert 0 < below["cost_usd"] < step["cost_usd"]


@pytest.mark.timeout(120)
def test_steps_start_where_the_policy_says(events: list[dict[str, Any]]) -> None:
    plain = [s for s in steps_of(events) if s["plan"] != "bad-batch.2" and not s["error"]]
    assert {s["role"]: s["attempts"][0]["tier"] for s in plain} == files.STARTS
    revised = steps_of(events, plan="bad-batch.2")
    starts = {(s["role"], s["attempts"][0]["tier"]) for s in revised}
    assert ("field_extractor", "mid") in starts
    assert ("field_extractor", "small") in starts


@pytest.mark.timeout(120)
def test_code_answers_for_nothing_and_hands_on_what_it_cannot_read(
    events: list[dict[str, Any]],
) -> None:
    look_ups = [step for step in steps_of(events) if step["step"] == "look_up"]
    answered = [step for step in look_ups if step["tier"] == "code"]
    assert (len(look_ups), len(answered)) == (12, 8)  # every third subject is no order
    assert all(step["cost_usd"] == 0 and len(step["attempts"]) == 1 for step in answered)
    for step in (step for step in look_ups if step["tier"] != "code"):
        first, second = step["attempts"][:2]
        assert (first["tier"], first["error"], first["cost_usd"]) == ("code", "abstained", 0)
        assert second["tier"] == "small"
    assert all(step["right"] for step in steps_of(events) if step["tier"] == "code")


@pytest.mark.timeout(120)
def test_a_stream_that_failed_was_held_and_never_reached_its_agent(
    events: list[dict[str, Any]],
) -> None:
    drafts = [step for step in steps_of(events) if step["role"] == "writer"]
    failed = [step for step in drafts if step["attempts"][0]["failed"]]
    assert failed
    assert all(step["held"] for step in drafts)
    assert all(step["right"] and step["tier"] == "frontier" for step in failed)


@pytest.mark.timeout(120)
def test_a_plan_whose_escalations_are_spent_is_revised_and_the_revision_followed(
    events: list[dict[str, Any]],
) -> None:
    steps = steps_of(events)
    asked = [number for number, step in enumerate(steps) if step["replan"]]
    assert len(asked) == 1
    last, planning = steps[asked[0]], steps[asked[0] + 1]
    assert last["plan"] == "bad-batch"
    assert last["cost_usd"] > 0
    assert (planning["step"], planning["plan"]) == ("replan", "bad-batch.2")
    after = [step for step in steps[asked[0] + 2 :] if step["role"] != "night_decider"]
    assert {step["plan"] for step in after} == {"bad-batch.2"}
    assert events[-1]["revisions"] == [
        {
            "plan": "bad-batch", "escalations": files.PLAN_ESCALATIONS_MAX,
            "revised": "bad-batch.2", "steps_after": len(after),
            "escalations_after": sum(
                a["cause"] == "escalation" and step["attempts"][0]["error"] is None
                for step in after for a in step["attempts"]
            ),
        }
    ]  # fmt: skip
    whole = [step["step"] for step in after[-20:]]
    first = [step["step"] for step in steps_of(events, plan="bad-batch")[1:21]]
    assert sorted(whole) == sorted(first)
    assert whole != first


@pytest.mark.timeout(120)
def test_a_budget_that_runs_out_refuses_the_step_before_anybody_is_asked(
    events: list[dict[str, Any]],
) -> None:
    *answered, refused = (step for step in steps_of(events) if step["role"] == "night_decider")
    spent = sum(step["cost_usd"] for step in answered)
    assert len(answered) == 4
    assert "402" in refused["error"]
    assert f"has {spent:.6g} of {files.NIGHT_BUDGET_USD} US dollars spent" in refused["error"]
    assert (refused["attempts"], refused["cost_usd"], refused["tier"]) == ([], 0, None)
    assert spent < files.NIGHT_BUDGET_USD


@pytest.mark.timeout(120)
def test_checks_are_told_by_what_first_answers_were_and_what_was_delivered(
    events: list[dict[str, Any]],
) -> None:
    rows = {row["role"]: row for row in events[-1]["quality"]}
    for step_role, row in rows.items():
        mine = [s for s in steps_of(events) if s["role"] == step_role and not s["error"]]
        assert row["steps"] == len(mine)
        assert row["right"] == sum(step["right"] for step in mine)
        assert row["escalations"] == sum(
            bool(attempt["failed"]) for step in mine for attempt in step["attempts"]
        )
    assert rows["writer"]["first_right"] < rows["writer"]["right"] == 12
    total = events[-1]["first_answers"]
    assert total["first_right"] < total["right"] == events[-1]["routed"]["right_count"]
    assert total["first_cost_usd"] < total["cost_usd"]


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
