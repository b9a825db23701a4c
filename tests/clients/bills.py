"""What was recorded of steps, held against what the stand-in billed for them."""

import pytest

from telemetry.records import Attempt, Decision, Outcome, Tokens
from tests.harness import House, cost_by_hand

TIERS = {
    "planner": ("frontier", "standin/standin-frontier"),
    "worker": ("mid", "standin/standin-mid"),
    "extractor": ("small", "standin/standin-small"),
    "default": ("small", "standin/standin-small"),
}


def check_bills(home: House, role: str, *, count: int = 1) -> list[Attempt]:
    """Check ``count`` recorded steps of ``role`` against the ledger; return their attempts."""
    pairs = home.recorded(count)
    entries = home.billed()
    assert len(entries) == count
    attempts = []
    for (decision, outcome), entry in zip(pairs, entries, strict=True):
        check_step(decision, outcome, role)
        (attempt,) = outcome.attempts
        assert attempt.response_id == entry.response_id
        assert attempt.request_model == entry.model
        assert attempt.tokens == Tokens(
            input=entry.input,
            output=entry.output,
            cache_read=entry.cache_read,
            cache_write=attempt.tokens.cache_write,
            reasoning=entry.reasoning or attempt.tokens.reasoning,
        )
        assert (attempt.tokens.cache_write or 0) == entry.cache_write
        assert (attempt.tokens.reasoning or 0) == entry.reasoning
        assert entry.input > 0
        assert entry.output > 0
        assert outcome.cost_usd == pytest.approx(cost_by_hand(entry), rel=1e-9)
        attempts.append(attempt)
    return attempts


def check_step(decision: Decision, outcome: Outcome, role: str) -> None:
    """Check that a step of ``role`` went where the policy sends it and was served there."""
    tier, model = TIERS[role]
    assert decision.context.role == role
    assert decision.arm.tier == tier
    assert decision.propensity == 1.0
    assert outcome.status == 200
    assert outcome.error_code is None
    assert outcome.decision_id == decision.decision_id
    assert [(a.tier, a.model, a.status) for a in outcome.attempts] == [(tier, model, 200)]
