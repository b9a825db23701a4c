"""`tierwise learn` beside no collector: what it would do with a store's file."""

import json
import time
from pathlib import Path

import pytest

from collector.desk import desk_path
from router.cli.app import run
from telemetry.clock import ManualClock
from tests.collector.teaching import World, role, role_terms, terms

CONFIG = """\
schema = 1
[collector]
console = "127.0.0.1:9"
store = "t.duckdb"
[providers.p]
base_url = "http://127.0.0.1:9/v1"
dialects = ["chat"]
[prices]
"p/small" = { input = 0.1, output = 0.4 }
"p/frontier" = { input = 3, output = 15 }
"""
POLICY = """\
schema = 1
ladder = ["small", "frontier"]
[tiers.small]
models = ["p/small"]
[tiers.frontier]
models = ["p/frontier"]
[roles.good]
tier = "frontier"
range = ["small", "frontier"]
quality_floor = 0.85
learn = "bounded"
checks = ["not_empty"]
[alerts.cost]
budget_usd_per_day = 10
[alerts.quality]
"""


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "tierwise.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return ["--config", "tierwise.toml", "--policy", "policy.toml"]


def test_a_dry_run_reads_a_store_that_nobody_holds_and_changes_nothing(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock(time.time_ns() - 3_600 * 10**9)
    truth = {("good", "small"): 0.93, ("good", "frontier"): 0.95}
    world = World(tmp_path, terms(role_terms("good")), truth, clock=clock)
    world.steps(["good"], count=60)
    world.close()
    before = desk_path(world.path).read_bytes()
    assert run(["learn", "--dry-run", "--json", *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    entry = role(report, "good")
    assert entry["decisions"] == pytest.approx(60.0)
    assert entry["labels"] == 60.0
    assert entry["blocked_by"] == ["quality_disarmed"]
    assert desk_path(world.path).read_bytes() == before
    assert run(["learn", "--dry-run", *flags]) == 0
    shown = capsys.readouterr().out
    assert "small/step" in shown
    assert "good (learn bounded, floor 0.85, declared frontier/accept)" in shown
    assert "its quality alert is not armed" in shown
    assert "the declared policy is in force" in shown
    assert "labels, needed: graded answers" in shown
    assert "to change" not in shown  # there are no conversations


def test_without_a_collector_only_a_dry_run_is_possible(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["learn", *flags[:2]]) != 0
    assert "no collector answers on 127.0.0.1:9" in capsys.readouterr().err
    assert run(["learn", "--once", "--dry-run", *flags]) != 0
    assert "one of them" in capsys.readouterr().err
    assert run(["learn", "--dry-run", *flags]) != 0
    assert "there is no store at" in capsys.readouterr().err
