"""`tierwise explain ID` as people read it, from a store's file."""

import time
from pathlib import Path

import pytest

from router.cli.app import run
from telemetry.clock import ManualClock
from tests.collector.chains import SECOND, Try, chain
from tests.collector.teaching import World, role_terms, terms
from tests.router.test_cli_learn import CONFIG


def test_a_decision_is_told_from_its_reason_to_its_grade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tierwise.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    clock = ManualClock(time.time_ns() - 3_600 * SECOND)
    truth = {("good", "small"): 0.93, ("good", "frontier"): 0.95}
    policy = terms(role_terms("good"), step_max=1.0, dwell_seconds=0.0)
    world = World(tmp_path, policy, truth, clock=clock)
    world.run(["good"], ticks=1, count=150)
    name, share = world.revisions.active().name, world.shares("good")["small/step"]
    at = clock.now_ns()
    world.store.write(
        [
            chain(
                9_000, [Try(tier="small", failed=True), Try(tier="frontier")], start_ns=at,
                role="good", revision=name, reason="learned", on_fail="step", propensity=share,
                model="p/frontier", role_source="header", escalated_from="small", cost_usd=0.0021,
                offered="small/accept,small/step,frontier/accept",
            )
        ],
        now_ns=at,
    )  # fmt: skip
    world.close()
    assert run(["explain", "d9000", "--config", "tierwise.toml"]) == 0
    shown = capsys.readouterr().out
    assert "d9000: a step of good (role from header), 20" in shown
    assert "by p/frontier on frontier, attempt 2 after small, $0.0021 in all" in shown
    assert f"drawn from revision {name}: its cell good||plain gives small/step {share:.4g}" in shown
    assert f"small/step {share:.4g} (drawn)" in shown
    assert "labels 150" in shown  # what the revision rests on
    assert "{" not in shown
