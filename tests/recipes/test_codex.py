"""The real Codex, by `tierwise launch`, with the telemetry of our page."""

import tomllib
from pathlib import Path

import pytest

from tests.recipes.page import written
from tests.recipes.world import binary, calls, world

pytestmark = pytest.mark.timeout(300)
# What it would fetch and tell its maker otherwise; telemetry is what stands on the page.
QUIET = """
check_for_update_on_startup = false
[features]
apps = false
plugins = false
remote_plugin = false
[analytics]
enabled = false
"""


def test_codex_launched_runs_through_the_gateway_and_counts_once(tmp_path: Path) -> None:
    program = binary("@openai/codex", "vendor/*/bin/codex")
    with world(tmp_path) as house:
        home = tmp_path / "codex"
        home.mkdir()
        settings = QUIET + written("codex", house)
        tomllib.loads(settings)
        (home / "config.toml").write_text(settings)
        said = house.launch(
            "codex", "exec", "--skip-git-repo-check", "Say hello",
            program=program, more={"CODEX_HOME": str(home)},
        )  # fmt: skip
        (bill,) = house.billed()
        house.settle(2)
        assert house.outside.tried == []
    assert said.stdout.strip() == "You said: Say hello"
    assert bill["model"] == "standin-mid"
    attempt, event = sorted(calls(house.store), key=lambda call: call["dialect"], reverse=True)
    assert (attempt["dialect"], event["dialect"]) == ("tierwise", "coding_agent")
    assert attempt["counted"]
    assert attempt["role"] == "coder"
    assert attempt["cost_usd"] == pytest.approx(bill["cost"])
    assert (event["counted"], event["uncounted_reason"]) == (False, "duplicate")
    for call in (attempt, event):
        assert (call["input_tokens"], call["output_tokens"]) == (bill["input"], bill["output"])
        assert call["task"] == attempt["task"]
