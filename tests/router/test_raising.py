"""Steps that start higher: after a stream that failed its checks, and when an agent stalls."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from learning.revision import Revision
from learning.standing import Standing
from router.sessions import Memory
from telemetry.records import Arm, Decision, OnFail, Reason
from tests import streams
from tests.faults.answers import frames, whole
from tests.inprocess import EVENTS, JSON, Bench, Script, make_bench

CHAT = "/v1/chat/completions"
CHECK = 'checks = [{ check = "contains", values = ["DE-482913"] }]'
POLICY = f"""
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.worker]
tier = "small"
{CHECK}
[roles.climber]
tier = "small"
on_fail = "top"
{CHECK}
[roles.firm]
tier = "small"
on_fail = "accept"
{CHECK}
[roles.learner]
tier = "mid"
range = ["small", "frontier"]
learn = "bounded"
quality_floor = 0.9
{CHECK}
[roles.default]
tier = "small"
[alerts.cost]
budget_usd_per_day = 9
[alerts.quality]
""".encode()
GOOD = b"".join(frames(next(iter(streams.PATHS))))
BAD = GOOD.replace(b"DE", b"XX").replace(b"-48", b"-99")


def served(bench: Bench, arm: str) -> str:
    """Let a revision be certain of ``arm`` for the role that learns; return its name."""
    shares = {"learner||": {arm: 1.0}}
    hash_ = bench.gateway.loaded().policy.hash
    made = Revision(policy_hash=hash_, parent=None, shares=shares, evidence={})
    bench.gateway.decider.take(Standing(revision=made))
    return made.revision_id


def ask(role: str, *, stream: bool = True, turns: Sequence[Any] = (), **more: Any) -> bytes:
    body = {"model": f"tierwise/{role}", "stream": stream, "messages": list(turns), **more}
    return json.dumps(body).encode()


def script(content: bytes) -> Script:
    return Script(pieces=[content], headers=(EVENTS,))


async def step(bench: Bench, content: bytes, asked: bytes, *, session: str = "s1") -> Decision:
    bench.upstream.scripts = [script(content)]
    given = {"content-type": "application/json"}
    if session:
        given["x-tierwise-session"] = session
    delivered = await bench.post(CHAT, asked, headers=given)
    assert delivered.status == 200
    return bench.kept.pairs[-1][0]


async def test_after_a_stream_that_failed_the_sessions_next_step_starts_one_tier_higher() -> None:
    bench = make_bench(POLICY)
    first = await step(bench, BAD, ask("worker"))
    assert (first.arm.tier, first.reason) == ("small", Reason.DECLARED)
    second = await step(bench, GOOD, ask("worker"))
    assert (str(second.arm), second.reason) == ("mid/step", Reason.SESSION)
    assert (second.propensity, second.revision) == (1.0, "declared")
    third = await step(bench, BAD, ask("worker"))
    assert third.arm.tier == "mid"
    fourth = await step(bench, GOOD, ask("worker"))
    assert str(fourth.arm) == "frontier/accept"
    assert (await step(bench, BAD, ask("worker"))).arm.tier == "frontier"


async def test_a_raise_is_for_one_session_and_one_role() -> None:
    bench = make_bench(POLICY)
    await step(bench, BAD, ask("worker"))
    assert (await step(bench, GOOD, ask("worker"), session="s2")).arm.tier == "small"
    assert (await step(bench, GOOD, ask("climber"))).arm.tier == "small"
    assert (await step(bench, GOOD, ask("worker"))).arm.tier == "mid"


async def test_an_arm_that_goes_to_the_top_raises_to_the_top_and_one_that_accepts_does_not() -> (
    None
):
    bench = make_bench(POLICY)
    await step(bench, BAD, ask("climber"))
    assert (await step(bench, GOOD, ask("climber"))).arm.tier == "frontier"
    await step(bench, BAD, ask("firm"))
    assert (await step(bench, GOOD, ask("firm"))).arm.tier == "small"


async def test_a_step_without_a_session_raises_nobody() -> None:
    bench = make_bench(POLICY)
    await step(bench, BAD, ask("worker"), session="")
    assert (await step(bench, GOOD, ask("worker"), session="")).arm.tier == "small"


async def test_a_raised_session_does_not_ask_the_learner_so_its_propensity_is_exact() -> None:
    bench = make_bench(POLICY)
    revision = served(bench, "small/step")
    first = await step(bench, BAD, ask("learner"))
    assert (str(first.arm), first.propensity, first.revision) == ("small/step", 1.0, revision)
    second = await step(bench, GOOD, ask("learner"))
    assert (str(second.arm), second.reason) == ("mid/step", Reason.SESSION)
    served(bench, "frontier/accept")
    third = await step(bench, GOOD, ask("learner"))
    assert (str(third.arm), third.propensity, third.revision) == ("mid/step", 1.0, "declared")


async def test_what_people_fixed_is_not_raised() -> None:
    bench = make_bench(POLICY)
    bench.gateway.decider.take(Standing(pins={"worker": Arm(tier="small", on_fail=OnFail.ACCEPT)}))
    for content in (BAD, BAD, GOOD):
        decision = await step(bench, content, ask("worker"))
        assert (str(decision.arm), decision.reason) == ("small/accept", Reason.PINNED)


# Stalls -----------------------------------------------------------------------------------------


def turn(path: str) -> dict[str, Any]:
    function = {"name": "read", "arguments": json.dumps({"path": path})}
    return {"role": "assistant", "tool_calls": [{"id": "c", "function": function}]}


def circling(*paths: str) -> bytes:
    return ask("worker", turns=[turn(path) for path in paths], tools=[{}])


async def test_an_agent_that_stalls_raises_its_session_one_tier_for_good() -> None:
    bench = make_bench(POLICY)
    assert (await step(bench, GOOD, circling("a", "a"))).arm.tier == "small"
    stalled = await step(bench, GOOD, circling("a", "a", "a"))
    assert (stalled.arm.tier, stalled.reason) == ("mid", Reason.SESSION)
    moved_on = await step(bench, GOOD, circling("a", "a", "a", "b"))
    assert moved_on.arm.tier == "mid"
    again = await step(bench, GOOD, circling("a", "a", "a", "b", "b", "b"))
    assert again.arm.tier == "frontier"
    assert (await step(bench, GOOD, circling("b", "b", "b"))).arm.tier == "frontier"


async def test_without_a_session_a_stall_raises_that_step_alone() -> None:
    bench = make_bench(POLICY)
    assert (await step(bench, GOOD, circling("a", "a", "a"), session="")).arm.tier == "mid"
    assert (await step(bench, GOOD, circling("a"), session="")).arm.tier == "small"


async def test_an_answer_that_is_not_streamed_is_mended_in_place_and_raises_nobody() -> None:
    bench = make_bench(POLICY)
    dialect = next(iter(streams.PATHS))
    good = whole(dialect)
    bad = good.replace(b"DE-", b"XX-")
    bench.upstream.scripts = [Script(pieces=[bad], headers=(JSON,)), Script(pieces=[good])]
    headers = {"content-type": "application/json", "x-tierwise-session": "s1"}
    delivered = await bench.post(CHAT, ask("worker", stream=False), headers=headers)
    assert delivered.body == good
    assert (await step(bench, GOOD, ask("worker"))).arm.tier == "small"


async def test_a_fault_of_ours_sends_the_step_to_its_declared_tier(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Forgetful(Memory):
        def tier_floor(self, session: str, role: str) -> int:
            raise RuntimeError("no memory")

    bench = make_bench(POLICY)
    memory = Forgetful(clock=bench.gateway.clock)
    bench.gateway = replace(bench.gateway, memory=memory)
    served(bench, "small/step")
    decision = await step(bench, GOOD, ask("learner"))
    assert (str(decision.arm), decision.reason) == ("mid/step", Reason.FALLBACK)
    assert (decision.propensity, decision.revision) == (1.0, "declared")
    assert decision.decision_id in caplog.text
