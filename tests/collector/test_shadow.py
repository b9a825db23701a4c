"""Shadow runs on their way: recorded by a gateway, sent as spans, kept apart, paired, reported."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from router.cli.app import run
from telemetry.spans import describe
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS, Trace
from tests.router.test_shadowing import CHAT, answer, ask, pairs, shadowed


async def spans() -> bytes:
    """Return what a gateway would send of 40 steps; every fourth shadow run answers nothing."""
    trace = Trace(service="tierwise", scope="tierwise")
    async with shadowed() as bench:
        for number in range(40):
            bench.upstream.scripts = [answer(), answer("" if number % 4 == 0 else "yes")]
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


async def test_without_shadow_runs_the_report_says_how_to_get_some(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    assert await asyncio.to_thread(run, ["shadow", "report", *where]) == 0
    assert "[roles.ROLE.shadow]" in capsys.readouterr().out
