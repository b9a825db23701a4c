"""What a step leaves behind for learning: features and how its session went."""

import json
from math import log1p
from typing import Any

import pytest

from learning.features import NAMES
from router import facts
from telemetry.errors import UpstreamError
from tests.inprocess import Bench, Script, make_bench
from tests.router.test_raising import CHAT, POLICY
from tests.router.test_step import ANSWER

CHECKED = POLICY.replace(b'values = ["DE-482913"]', b'values = ["DE"]')


def answer(text: str) -> Script:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Script(pieces=[json.dumps({"choices": [choice]}).encode()])


async def step(bench: Bench, *scripts: Script, role: str = "learner") -> dict[str, float]:
    """Serve one step of a session; return its features by name."""
    bench.upstream.scripts = list(scripts)
    body = {"model": f"tierwise/{role}", "messages": [{"role": "user", "content": "and 7 of it?"}]}
    headers = {"content-type": "application/json", "x-tierwise-session": "s1"}
    await bench.post(CHAT, json.dumps(body).encode(), headers=headers)
    found = bench.kept.pairs[-1][1].features
    return dict(zip(NAMES, found, strict=True)) if found else {}


async def test_features_tell_the_step_and_what_its_session_came_to_before_it() -> None:
    bench = make_bench(CHECKED)
    good, bad = answer("DE"), answer("nothing")
    first = await step(bench, bad, bad)  # from mid to the top, and flagged there too
    assert (first["digits"], first["log_messages"]) == (1 / 12, log1p(1))
    assert (first["verdict_before"], first["log_fails"]) == (0.0, 0.0)
    second = await step(bench, good)
    assert (second["verdict_before"], second["log_fails"]) == (-1.0, log1p(1))
    third = await step(bench, good)
    assert (third["verdict_before"], third["log_fails"]) == (1.0, 0.0)


async def test_a_step_that_nobody_could_answer_counts_as_failed() -> None:
    bench = make_bench(CHECKED)
    body = {"model": "tierwise/learner", "messages": []}
    headers = {"content-type": "application/json", "x-tierwise-session": "s1"}
    down: list[Any] = [UpstreamError("upstream_broken", "down", hint="try again") for _ in range(9)]
    bench.upstream.scripts = down
    assert (await bench.post(CHAT, json.dumps(body).encode(), headers=headers)).status >= 500
    assert (await step(bench, answer("DE")))["verdict_before"] == -1.0


async def test_a_role_that_does_not_learn_has_no_features() -> None:
    bench = make_bench(CHECKED)
    assert await step(bench, Script(pieces=[ANSWER]), role="default") == {}


async def test_a_fault_in_features_costs_no_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(facts, "features", broken)
    bench = make_bench(CHECKED)
    assert await step(bench, answer("DE")) == {}
    assert bench.kept.pairs[-1][1].status == 200
    assert "has no features" in caplog.text
