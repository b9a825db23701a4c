"""`tierwise ope` asks the running collector."""

import asyncio
import json
from pathlib import Path

import pytest

from router.cli.app import run
from tests.collector.conftest import Start
from tests.collector.otlp import Trace
from tests.router.test_cli_policy import CONFIG, POLICY


async def test_the_running_collector_is_asked_for_its_decisions(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BOT_KEY", "tw-canary-0123456789abcdef")
    (tmp_path / "tierwise.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text(POLICY)
    trace = Trace()
    for number in range(120):
        trace.span(
            "route default",
            {
                "tierwise.decision.id": f"d{number}",
                "tierwise.decision.reason": "explored",
                "tierwise.decision.propensity": 0.5,
                "tierwise.decision.offered": ["small/accept", "small/step", "large/accept"],
                "tierwise.role": "default",
                "tierwise.dialect": "chat",
                "tierwise.tier.start": "small" if number % 2 else "large",
                "tierwise.on_fail": "step" if number % 2 else "accept",
                "tierwise.quality.score": 0.25 if number % 2 else 1.0,
            },
        )
    running = await start()
    await running.post("/v1/traces", trace.body())
    command = [
        "ope", "--config", str(tmp_path / "tierwise.toml"),
        "--policy", str(tmp_path / "policy.toml"), "--store", str(tmp_path / "none.duckdb"),
        "--console", running.console.removeprefix("http://"), "--json",
    ]  # fmt: skip
    assert await asyncio.to_thread(run, command) == 1  # no cost was reported
    out = capsys.readouterr()
    assert "worths" in out.out, out
    quality, usd = json.loads(out.out)["worths"]
    assert (quality["known"], usd["known"]) == (120, 0)
    assert quality["estimates"][1]["value"] == pytest.approx(0.25)
    assert quality["estimates"][2]["refused"] is None
