import asyncio
from dataclasses import dataclass, field

import pytest

from evals.answers import Answer
from evals.checks import AnyCheck, check_now, close_checks, overall, run_checks
from telemetry.errors import CheckCrashed
from telemetry.records import Result, Verdict
from tests.evals.answering import says

ANSWER = says("the answer")


def verdict(name: str, said: Result, score: float | None = None, reason: str = "") -> Verdict:
    return Verdict(check=name, version="1", result=said, score=score, reason=reason)


@dataclass
class Quick:
    name: str
    said: Result = Result.PASS
    version: str = "1"

    def check(self, answer: Answer) -> Verdict:
        return verdict(self.name, self.said)


@dataclass
class Broken:
    name: str = "broken"
    version: str = "3"

    def check(self, answer: Answer) -> Verdict:
        raise KeyError(answer.text)


@dataclass
class Slow:
    name: str
    version: str = "1"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    waits_for: "Slow | None" = None
    error: Exception | None = None
    closed: int = 0

    async def judge(self, answer: Answer) -> Verdict:
        self.begun.set()
        if self.waits_for is not None:
            await self.waits_for.begun.wait()
        if self.error is not None:
            raise self.error
        return verdict(self.name, Result.PASS)

    async def close(self) -> None:
        self.closed += 1


async def test_verdicts_stand_in_the_policys_order_with_the_slow_ones_last() -> None:
    checks: list[AnyCheck] = [Slow("a"), Quick("b"), Quick("c", Result.ABSTAIN)]
    checked = await run_checks(checks, ANSWER)
    assert [v.check for v in checked.verdicts] == ["b", "c", "a"]
    assert checked.errors == ()


async def test_a_check_that_raises_is_an_error_and_no_verdict() -> None:
    checked = await run_checks([Broken(), Quick("b")], ANSWER)
    assert [v.check for v in checked.verdicts] == ["b"]
    (error,) = checked.errors
    assert (error.check, error.version) == ("broken", "3")
    assert str(error) == "check 'broken' (version 3) raised KeyError"
    assert checked.overall.result is Result.PASS


async def test_slow_checks_run_side_by_side() -> None:
    first, second = Slow("a"), Slow("b")
    first.waits_for, second.waits_for = second, first
    async with asyncio.timeout(5):
        checked = await run_checks([first, second], ANSWER)
    assert [v.check for v in checked.verdicts] == ["a", "b"]


async def test_slow_checks_are_spared_when_a_quick_one_has_failed() -> None:
    slow = Slow("a")
    checked = await run_checks([slow, Quick("b", Result.FAIL)], ANSWER)
    assert [v.check for v in checked.verdicts] == ["b"]
    assert not slow.begun.is_set()


@pytest.mark.parametrize(
    "error", [CheckCrashed("late", check="a", version="1"), ValueError("the answer")]
)
async def test_a_slow_check_that_breaks_is_an_error_too(error: Exception) -> None:
    checked = await run_checks([Slow("a", error=error), Slow("b")], ANSWER)
    assert [v.check for v in checked.verdicts] == ["b"]
    assert [e.check for e in checked.errors] == ["a"]
    assert "the answer" not in str(checked.errors[0])


def test_only_quick_checks_answer_at_once() -> None:
    checked = check_now([Slow("a"), Quick("b"), Broken()], ANSWER)
    assert [v.check for v in checked.verdicts] == ["b"]
    assert [e.check for e in checked.errors] == ["broken"]


async def test_closing_reaches_every_slow_check() -> None:
    slow = Slow("a")
    await close_checks([slow, Quick("b")])
    assert slow.closed == 1


def test_one_fail_decides_with_the_lowest_failing_score() -> None:
    said = [
        verdict("a", Result.PASS, 0.1),
        verdict("b", Result.FAIL, 0.6, "half of it"),
        verdict("c", Result.FAIL, 0.4),
        verdict("d", Result.ABSTAIN),
    ]
    assert overall(said) == verdict("overall", Result.FAIL, 0.4, "b: half of it")


def test_an_absent_score_counts_as_all_or_nothing() -> None:
    assert overall([verdict("a", Result.FAIL)]).score == 0.0
    assert overall([verdict("a", Result.PASS)]).score == 1.0
    assert overall([verdict("a", Result.PASS), verdict("b", Result.PASS, 0.75)]).score == 0.75


def test_abstaining_never_fails_an_answer() -> None:
    abstained = verdict("a", Result.ABSTAIN)
    assert overall([abstained, verdict("b", Result.PASS)]).result is Result.PASS
    assert overall([abstained]) == verdict("overall", Result.ABSTAIN)
    assert overall([]) == verdict("overall", Result.ABSTAIN)
