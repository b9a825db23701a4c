"""Steps for telemetry's tests: hand-made decisions and outcomes."""

import random
from dataclasses import replace
from typing import Any

from telemetry.records import (
    Arm,
    Attempt,
    Cause,
    Context,
    Decision,
    Dialect,
    OnFail,
    Outcome,
    Reason,
    Result,
    RoleSource,
    Tokens,
    Verdict,
)

AT_NS = 1_800_000_000_000_000_000
ARMS = (Arm(tier="small"), Arm(tier="mid"), Arm(tier="mid", on_fail=OnFail.TOP))
CONTEXT = Context(
    role="worker",
    role_source=RoleSource.HEADER,
    dialect=Dialect.CHAT,
    stream=True,
    session="session-1",
    mode="plan-execute",
    plan="plan-1",
    key="team-a",
)
ATTEMPT = Attempt(
    number=1,
    cause=Cause.START,
    tier="mid",
    model="openai/gpt-5.5",
    provider="openai",
    request_model="gpt-5.5",
    server_address="api.openai.com",
    server_port=443,
    span_id="00f067aa0ba902b7",
    started_ns=AT_NS + 1_000_000,
    ended_ns=AT_NS + 900_000_000,
    first_chunk_seconds=0.25,
    status=200,
    response_id="chatcmpl-1",
    response_model="gpt-5.5-2026-10-01",
    finish_reasons=("stop",),
    tokens=Tokens(input=1_200, output=80, cache_read=1_000, cache_write=0, reasoning=16),
    cost_usd=0.0125,
    cost_source="local",
    verdicts=(
        Verdict(check="json_schema", version="1", result=Result.PASS, score=1.0, reason="valid"),
    ),
)


def decision(**changes: Any) -> Decision:
    """Return a decision of the worker role that starts at the mid tier."""
    whole = Decision(
        decision_id="0190a6f2b4c87000a1b2c3d4e5f60718",
        at_ns=AT_NS,
        context=CONTEXT,
        offered=ARMS,
        arm=ARMS[1],
        propensity=0.75,
        policy_hash="9f2c41d07a3b",
        revision="declared",
        reason=Reason.DECLARED,
        cell="worker|plan-execute|plain",
    )
    return replace(whole, **changes)


def outcome(**changes: Any) -> Outcome:
    """Return the outcome of one good attempt below a caller's span."""
    whole = Outcome(
        decision_id="0190a6f2b4c87000a1b2c3d4e5f60718",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="b7ad6b7169203331",
        parent_span_id="53995c3f42cd8ad8",
        sampled=True,
        ended_ns=AT_NS + 901_000_000,
        attempts=(ATTEMPT,),
        status=200,
        quality=1.0,
        quality_source="json_schema",
        overhead_seconds=0.0004,
        features=(6.2158, 0.0, 1.0),
    )
    return replace(whole, **changes)


def fresh(rng: random.Random, **changes: Any) -> Outcome:
    """Return an outcome with ids of its own."""
    attempt = replace(ATTEMPT, span_id=f"{rng.getrandbits(64):016x}")
    changes.setdefault("attempts", (attempt,))
    return outcome(
        trace_id=f"{rng.getrandbits(128):032x}", span_id=f"{rng.getrandbits(64):016x}", **changes
    )
