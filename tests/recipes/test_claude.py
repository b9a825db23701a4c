"""The real Claude Code, by `tierwise launch` and on its own, with the telemetry of our page."""

from pathlib import Path

import pytest

from tests.recipes.page import exported
from tests.recipes.world import World, binary, calls, world

PROGRAM = ("@anthropic-ai/claude-code", "claude")
pytestmark = pytest.mark.timeout(300)
# No updates, surveys, error reports and statistics for its maker.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}


def checked(house: World, bills: int) -> None:
    house.settle(bills)
    assert house.outside.tried == []


def test_claude_code_launched_runs_through_the_gateway_and_counts_once(tmp_path: Path) -> None:
    program = binary(*PROGRAM)
    with world(tmp_path) as house:
        telemetry = exported("claude-code", house)
        said = house.launch(
            "claude", "-p", "Say hello", program=program, more=QUIET | dict(telemetry)
        )
        (bill,) = house.billed()
        checked(house, 2)
    assert said.stdout.startswith("You said:")
    assert "context window" not in said.stderr  # it need not guess one
    assert bill["model"] == "standin-mid"
    attempt, event = calls(house.store)
    if event["dialect"] != "coding_agent":
        attempt, event = event, attempt
    assert attempt["counted"]
    assert attempt["role"] == "coder"
    assert attempt["cost_usd"] == pytest.approx(bill["cost"])
    assert (event["counted"], event["uncounted_reason"]) == (False, "duplicate")
    assert event["role"] == "sdk"
    assert event["response_id"] == bill["request_id"]
    for call in (attempt, event):
        assert (call["input_tokens"], call["output_tokens"]) == (bill["input"], bill["output"])
        assert (call["cache_read_tokens"] or 0) == bill["cache_read"]
        assert call["cache_write_tokens"] == bill["cache_write"] > 0
        assert call["task"] == attempt["task"]


def test_claude_code_on_its_own_is_counted_with_the_provider_s_bill(tmp_path: Path) -> None:
    program = binary(*PROGRAM)
    with world(tmp_path) as house:
        telemetry = dict(exported("claude-code", house))
        more = QUIET | telemetry | {
            "ANTHROPIC_BASE_URL": house.standin.origin, "ANTHROPIC_AUTH_TOKEN": "any",
            "ANTHROPIC_MODEL": "standin-mid",
        }  # fmt: skip
        house.run([program, "-p", "Say hello"], more=more)
        (bill,) = house.billed()
        checked(house, 1)
    (event,) = calls(house.store)
    assert (event["counted"], event["dialect"], event["role"]) == (True, "coding_agent", "sdk")
    assert (event["input_tokens"], event["output_tokens"]) == (bill["input"], bill["output"])
    assert event["cache_write_tokens"] == bill["cache_write"]
    assert event["cost_usd"] == pytest.approx(bill["cost"])
    assert event["cost_source"] == "local"
