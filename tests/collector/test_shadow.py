"""Shadow runs on their way: recorded by a gateway, sent as spans, kept apart, paired, reported."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from router.cli.app import run
from telemetry.records import Arm, OnFail
from telemetry.spans import describe
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS, Trace
from tests.router.test_shadowing import CHAT, CODE_POLICY, answer, ask, pairs, shadowed


async def spans(*, coded: bool = False) -> bytes:
    """Return what a gateway would send of 40 steps; every fourth shadow run answers nothing.

    With ``coded`` a function answers the steps themselves.
    """
    trace = Trace(service="tierwise", scope="tierwise")
    async with shadowed(file=CODE_POLICY.encode() if coded else None) as bench:
        for number in range(40):
            own = [] if coded else [answer()]
            bench.upstream.scripts = [*own, answer("" if number % 4 == 0 else "yes")]
            await bench.post(CHAT, ask())
            await pairs(bench, 2 * (number + 1))
        for decision, outcome in bench.kept.pairs:
            for span in describe(decision, outcome):
                trace.span(
                    span.name, {key: _plain(value) for key, value in span.attributes.items()},
                    parent=bytes.fromhex(span.parent_span_id or ""),
                    span_id=bytes.fromhex(span.span_id), trace_id=bytes.fromhex(span.trace_id),
                    start_ns=NOW_NS,
                )  # fmt: skip
    return trace.body()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, str) else value


async def test_shadow_runs_are_paired_and_stand_apart(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    assert (await running.post("/v1/traces", await spans()))[0] == 200
    board = await running.settled("/api/roles", lambda found: found["calls"] == 40)
    (role,) = board["roles"]
    assert role["decisions"] == 40
    assert [tier["tier"] for tier in role["tiers"]] == ["mid"]  # none of the shadow's spend
    assert role["spend_usd"] == pytest.approx(40 * 0.0014)
    found = await running.get("/api/shadow")
    (one,) = found["comparisons"]
    assert (one["tier"], one["shadow_tier"], one["pairs"], one["judged"]) == (
        "mid",
        "small",
        40,
        40,
    )
    assert (one["passed"], one["shadow_passed"]) == (40, 30)
    assert one["difference"]["mean"] == -0.25
    assert one["cost_ratio"] == pytest.approx(0.1)
    assert one["output_ratio"] == 1.0
    assert one["verdict"].startswith("worse: by ")
    saved = await running.get("/api/savings")
    assert saved["overhead"]["shadow_usd"] == pytest.approx(40 * 0.00014)
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    assert await asyncio.to_thread(run, ["shadow", "report", *where]) == 0
    assert "worse: by" in capsys.readouterr().out
    assert await asyncio.to_thread(run, ["shadow", "report", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 40


CODE_TERMS = Terms(
    policy_hash="p1",
    ladder=("code", "small"),
    tiers={
        "code": TierTerms(models=(), usd_per_token=None),
        "small": TierTerms(models=("standin/standin-small",), usd_per_token=(1e-7, 4e-7, 1e-8)),
    },
    roles=(
        RoleTerms(
            role="worker", mode=None, tiers=("code", "small"),
            declared=Arm(tier="code", on_fail=OnFail.STEP), floor=None, learn="off", checked=False,
            pin=None,
        ),
    ),
)  # fmt: skip


async def test_what_code_spared_is_told_apart_and_only_as_far_as_it_was_measured(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=CODE_TERMS)
    assert (await running.post("/v1/traces", await spans(coded=True)))[0] == 200
    saved = await running.settled(
        "/api/savings", lambda found: found["answered_by_code"]["measured_steps"] == 40
    )
    code = saved["answered_by_code"]
    assert (code["tier"], code["steps"]) == ("small", 40)
    # Forty steps, and shadow runs of $0.00014 each.
    assert code["would_have_cost_usd"] == pytest.approx(40 * 0.00014)
    frontier = saved["against"]["frontier"]
    assert (frontier["baseline_usd"], frontier["actual_usd"]) == (0.0, 0.0)
    assert frontier["saved_usd"] == pytest.approx(-40 * 0.00014)  # what measuring it cost
    assert (saved["coverage"]["code"], saved["coverage"]["counted"]) == (40, 0)
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    assert await asyncio.to_thread(run, ["savings", *where]) == 0
    said = capsys.readouterr().out
    assert "40 of 40 steps answered by code would have cost $0.0056 on small" in said


async def test_without_shadow_runs_the_report_says_how_to_get_some(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    assert await asyncio.to_thread(run, ["shadow", "report", *where]) == 0
    assert "[roles.ROLE.shadow]" in capsys.readouterr().out
