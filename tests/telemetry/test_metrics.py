import asyncio
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metric_table import METRICS
from telemetry.metrics import ERRORS_MAX, Meters
from telemetry.records import Result, Tokens, Verdict
from tests.telemetry import steps


def meters() -> Meters:
    return Meters(roles=["worker"], tiers=["small", "mid"], models=["openai/gpt-5.5"])


def samples(rendered: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


def value(made: Meters, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    return samples(made.render()).get((name, frozenset((labels or {}).items())))


def test_a_step_is_counted_in_every_metric_that_tells_of_it() -> None:
    made = meters()
    made.observe(steps.decision(), steps.outcome())
    read = samples(made.render())
    call = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "gpt-5.5",
    }
    expected: list[tuple[str, dict[str, str], float]] = [
        ("tierwise_steps_total",
         {"role": "worker", "tier": "mid", "reason": "declared", "status": "2xx"}, 1),
        ("tierwise_attempts_total",
         {"tier": "mid", "model": "openai/gpt-5.5", "cause": "start", "result": "ok"}, 1),
        ("tierwise_tokens_total", {"role": "worker", "tier": "mid", "type": "input"}, 1_200),
        ("tierwise_tokens_total", {"role": "worker", "tier": "mid", "type": "output"}, 80),
        ("tierwise_tokens_total", {"role": "worker", "tier": "mid", "type": "cache_read"}, 1_000),
        ("tierwise_tokens_total", {"role": "worker", "tier": "mid", "type": "reasoning"}, 16),
        ("tierwise_cost_usd_total",
         {"role": "worker", "tier": "mid", "model": "openai/gpt-5.5"}, 0.0125),
        ("tierwise_unknown_cost_total", {}, 0),
        ("tierwise_overhead_seconds_sum", {}, 0.0004),
        ("tierwise_step_seconds_sum", {"role": "worker"}, 0.901),
        ("gen_ai_client_token_usage_sum", {**call, "gen_ai_token_type": "input"}, 1_200),
        ("gen_ai_client_token_usage_sum", {**call, "gen_ai_token_type": "output"}, 80),
        ("gen_ai_client_operation_duration_seconds_sum", {**call, "error_type": ""}, 0.899),
    ]  # fmt: skip
    for name, labels, amount in expected:
        assert read[name, frozenset(labels.items())] == pytest.approx(amount)


def test_every_metric_of_the_table_is_there_with_its_labels() -> None:
    made = meters()
    for metric in METRICS:
        collector: Any = made._metrics[metric.name]
        assert collector._labelnames == metric.labels
        assert collector._type == metric.kind


def test_names_outside_the_policy_become_other() -> None:
    made = meters()
    for number in range(50):
        context = replace(steps.CONTEXT, role=f"role-{number}")
        attempt = replace(
            steps.ATTEMPT, tier=f"tier-{number}", model=f"m/{number}", request_model=f"{number}"
        )
        made.observe(steps.decision(context=context), steps.outcome(attempts=(attempt,)))
    read = samples(made.render())
    labels = {"role": "other", "tier": "other", "reason": "declared", "status": "2xx"}
    assert read["tierwise_steps_total", frozenset(labels.items())] == 50
    assert b"role-1" not in made.render()
    assert b"m/1" not in made.render()


def test_a_new_policys_names_are_known_after_a_reload() -> None:
    made = meters()
    made.observe(steps.decision(), steps.outcome())
    made.know(roles=["planner"], tiers=["mid"], models=["openai/gpt-5.5"])
    context = replace(steps.CONTEXT, role="planner")
    made.observe(steps.decision(context=context), steps.outcome())
    made.observe(steps.decision(), steps.outcome())
    counted = {
        role: value(
            made,
            "tierwise_steps_total",
            {"role": role, "tier": "mid", "reason": "declared", "status": "2xx"},
        )
        for role in ("worker", "planner", "other")
    }
    assert counted == {"worker": 1, "planner": 1, "other": 1}


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "ok"),
        ({"status": 429}, "4xx"),
        ({"status": 503}, "5xx"),
        ({"status": None, "error_type": "timeout"}, "no_answer"),
        ({"error_type": "upstream_broken"}, "no_answer"),
        ({"verdicts": (Verdict(check="c", version="1", result=Result.FAIL),)}, "flagged"),
        ({"verdicts": (Verdict(check="c", version="1", result=Result.ABSTAIN),)}, "ok"),
    ],
)
def test_an_attempts_result_is_one_of_five(changes: dict[str, Any], result: str) -> None:
    made = meters()
    attempt = replace(steps.ATTEMPT, **changes)
    made.observe(steps.decision(), steps.outcome(attempts=(attempt,)))
    labels = {"tier": "mid", "model": "openai/gpt-5.5", "cause": "start", "result": result}
    assert value(made, "tierwise_attempts_total", labels) == 1


@pytest.mark.parametrize("cost", [None, math.nan, math.inf, -0.01])
def test_an_unknown_cost_is_counted_and_adds_nothing(cost: float | None) -> None:
    made = meters()
    attempt = replace(steps.ATTEMPT, cost_usd=cost, tokens=Tokens())
    made.observe(steps.decision(), steps.outcome(attempts=(attempt,)))
    assert value(made, "tierwise_unknown_cost_total") == 1
    labels = {"role": "worker", "tier": "mid", "model": "openai/gpt-5.5"}
    assert value(made, "tierwise_cost_usd_total", labels) == 0
    assert made.conventions.token_usage.encode(start_ns=1, now_ns=2) == b""


def test_error_types_are_bounded() -> None:
    made = meters()
    for number in range(ERRORS_MAX + 10):
        attempt = replace(steps.ATTEMPT, error_type=f"error-{number}")
        made.observe(steps.decision(), steps.outcome(attempts=(attempt,)))
    errors = {
        dict(labels)["error_type"]
        for (name, labels) in samples(made.render())
        if name == "gen_ai_client_operation_duration_seconds_count"
    }
    assert len(errors) == ERRORS_MAX + 1
    assert "_OTHER" in errors


def test_a_fault_is_counted_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    made = meters()
    nothing: Any = None
    for _ in range(3):
        made.observe(nothing, nothing)
    assert value(made, "tierwise_telemetry_faults_total") == 3
    assert len(caplog.records) == 1


def test_steps_in_flight_reloads_and_lag_are_shown() -> None:
    made = meters()
    made.step_begins()
    made.step_begins()
    made.step_ends()
    made.policy_reloaded(ok=True)
    made.policy_reloaded(ok=False)
    made.loop_lag(0.25)
    assert value(made, "tierwise_in_flight") == 1
    assert value(made, "tierwise_policy_reloads_total", {"result": "ok"}) == 1
    assert value(made, "tierwise_policy_reloads_total", {"result": "failed"}) == 1
    assert value(made, "tierwise_loop_lag_seconds") == 0.25


WORKER = """
import sys
from telemetry.metrics import Meters
from tests.telemetry import steps
made = Meters(roles=["worker"], tiers=["mid"], models=["openai/gpt-5.5"])
for _ in range(int(sys.argv[1])):
    made.observe(steps.decision(), steps.outcome())
made.step_begins()
made.publish()
sys.stdout.write(made.render().decode() if sys.argv[2] == "render" else "counted")
sys.stdout.flush()
if sys.argv[2] == "wait":
    sys.stdin.read()
"""


async def test_any_worker_shows_the_sum_of_all(tmp_path: Path) -> None:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    async def start(count: int, what: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(count), what, env=env,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    first = await start(3, "wait")
    try:
        assert first.stdout is not None
        assert await asyncio.wait_for(first.stdout.readexactly(7), 20) == b"counted"
        second = await start(4, "render")
        rendered, _ = await asyncio.wait_for(second.communicate(), 20)
    finally:
        await first.communicate(b"")
    read = samples(rendered)
    labels = {"role": "worker", "tier": "mid", "reason": "declared", "status": "2xx"}
    assert read["tierwise_steps_total", frozenset(labels.items())] == 7
    assert read["tierwise_in_flight", frozenset()] == 2
    assert read["tierwise_overhead_seconds_count", frozenset()] == 7
