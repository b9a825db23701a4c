"""What a role's checks make of one attempt's answer, and what a broken check makes of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from evals.answers import Answer
from evals.checks import AnyCheck
from evals.steps import Step
from router.exchange import Exchange
from router.judge import Judge
from router.request import ENDPOINTS
from telemetry import propagation
from telemetry.clock import ManualClock
from telemetry.errors import CheckCrashed
from telemetry.records import Cause, Dialect, Result, Verdict
from tests.faults.answers import TEXT, frames, whole
from tests.inprocess import make_bench, scope_of

STEP = Step(role="worker", dialect=Dialect.CHAT, fields={})


class Says:
    """A quick check with a fixed opinion."""

    version = "1"

    def __init__(self, name: str, result: Result, score: float | None = None) -> None:
        self.name, self._result, self._score = name, result, score
        self.heard: list[str] = []

    def check(self, answer: Answer) -> Verdict:
        self.heard.append(answer.text)
        return Verdict(
            check=self.name, version="1", result=self._result, score=self._score, reason=self.name
        )


class Raises:
    name, version = "raises", "1"

    def check(self, answer: Answer) -> Verdict:
        raise RuntimeError("the answer was " + answer.text)


class Late:
    """A slow check that takes three seconds of the test's clock, and then breaks if told to."""

    name, version = "late", "1"

    def __init__(self, clock: ManualClock, *, broken: bool = False) -> None:
        self._clock, self._broken = clock, broken

    async def judge(self, answer: Answer) -> Verdict:
        await self._clock.sleep(3.0)
        if self._broken:
            raise CheckCrashed("no verdict in time", check=self.name, version=self.version)
        return Verdict(check=self.name, version="1", result=Result.PASS, score=0.5)

    async def close(self) -> None:
        return


def judge_of(*checks: AnyCheck, clock: ManualClock | None = None) -> tuple[Judge, Exchange, Any]:
    bench = make_bench()
    gateway = replace(bench.gateway, clock=clock or ManualClock())
    path = "/v1/chat/completions"
    exchange = Exchange.begin(gateway, ENDPOINTS[path], scope_of(path, {}))
    target = exchange.loaded.policy.targets("mid", Dialect.CHAT)[0]
    trial = exchange.try_on(target, tier="mid", cause=Cause.START)
    return Judge(exchange, STEP, checks), exchange, trial


async def test_without_checks_there_is_no_opinion() -> None:
    judge, _, trial = judge_of()
    assert not judge.listens
    assert await judge.whole(trial, whole(Dialect.CHAT)) is None
    assert trial.verdicts == ()


async def test_whole_and_streamed_answers_are_heard_alike() -> None:
    check = Says("says", Result.PASS, 1.0)
    judge, _, trial = judge_of(check)
    await judge.whole(trial, whole(Dialect.CHAT))
    assembler = judge.assembler()
    for frame in frames(Dialect.CHAT):
        assembler.feed(frame)
    await judge.answer(trial, assembler.answer())
    assert check.heard == [TEXT, TEXT]


async def test_every_verdict_stays_with_the_attempt_and_one_failure_fails() -> None:
    judge, _, trial = judge_of(
        Says("good", Result.PASS, 0.9), Says("bad", Result.FAIL, 0.25), Says("mute", Result.ABSTAIN)
    )
    verdict = await judge.whole(trial, whole(Dialect.CHAT))
    assert verdict is not None
    assert (verdict.result, verdict.score, verdict.reason) == (Result.FAIL, 0.25, "bad: bad")
    assert [said.check for said in trial.verdicts] == ["good", "bad", "mute"]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_check_that_crashes_says_nothing_and_is_counted(alone: bool) -> None:
    judge, exchange, trial = judge_of(*([] if alone else [Says("good", Result.PASS)]), Raises())
    verdict = await judge.whole(trial, whole(Dialect.CHAT))
    assert verdict is None if alone else verdict is not None and verdict.result is Result.PASS
    assert [said.check for said in trial.verdicts] == ([] if alone else ["good"])
    assert 'check="raises"' in exchange.gateway.meters.render().decode()
    assert "482913" not in exchange.gateway.meters.render().decode()


@pytest.mark.parametrize("broken", [True, False])
async def test_waiting_for_a_slow_check_is_not_our_overhead(broken: bool) -> None:
    clock = ManualClock()
    judge, exchange, trial = judge_of(Late(clock, broken=broken), clock=clock)
    verdict = await judge.whole(trial, whole(Dialect.CHAT))
    assert exchange.waited_seconds == pytest.approx(3.0)
    assert (verdict is None) is broken


async def test_an_answer_that_cannot_be_read_is_still_judged() -> None:
    check = Says("says", Result.FAIL)
    judge, _, trial = judge_of(check)
    for content in (b"", b"\xff", b"[]", b'{"choices": 1}', json.dumps({"a": 1}).encode()):
        verdict = await judge.whole(trial, content)
        assert verdict is not None
        assert verdict.result is Result.FAIL
    assert check.heard == [""] * 5


class Within:
    """A slow check that notes within which step it is asked."""

    name, version = "within", "1"

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    async def judge(self, answer: Answer) -> Verdict:
        self.seen.append(propagation.WITHIN.get())
        return Verdict(check=self.name, version=self.version, result=Result.PASS)

    async def close(self) -> None:
        return


async def test_a_check_is_asked_within_the_step_that_waits_for_it() -> None:
    check = Within()
    judge, exchange, trial = judge_of(check)
    await judge.whole(trial, whole(Dialect.CHAT))
    assert check.seen == [f"00-{exchange.trace_id}-{exchange.span_id}-01"]
    assert propagation.WITHIN.get() is None


async def test_what_judges_a_shadow_run_is_asked_within_no_step() -> None:
    check = Within()
    judge, exchange, trial = judge_of(check)
    exchange.ended = True  # as shadow runs begin
    await judge.whole(trial, whole(Dialect.CHAT))
    assert check.seen == [None]
