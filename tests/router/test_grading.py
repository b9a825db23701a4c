"""Graders: which answers are drawn, what is said of them, and that nobody waits."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from learning.standing import Standing
from router.grading import RUNNING_MAX, WAITED_SECONDS_MAX, WAITING_MAX, Graders
from telemetry.clock import Clock, ManualClock
from telemetry.errors import ConfigError, StepError, UpstreamError
from telemetry.records import Decision, Outcome, Result
from tests import streams
from tests.harness import until
from tests.inprocess import EVENTS, Bench, Script, make_bench
from tests.router.test_shadowing import CHAT, answer, ask

POLICY = """
schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[alerts.quality]
sample = {sample}
graded_share_min = 0.01
[roles.worker]
tier = "small"
quality_floor = 0.8
checks = {checks}
graders = {graders}
[roles.default]
tier = "small"
"""
SAYS_YES = '[{ check = "contains", values = ["yes"] }]'
NEVER = '[{ check = "command", argv = ["sleep", "30"], seconds = 30 }]'


def policy(*, sample: float = 1.0, graders: str = SAYS_YES, checks: str = "[]") -> bytes:
    return POLICY.format(sample=sample, graders=graders, checks=checks).encode()


@dataclass
class Heard:
    """What a collector would be told."""

    words: list[tuple[Decision, Outcome]] = field(default_factory=list)

    def judged(self, decision: Decision, outcome: Outcome) -> None:
        self.words.append((decision, outcome))


@asynccontextmanager
async def graded(
    *scripts: Script | StepError, file: bytes | None = None, clock: Clock | None = None
) -> AsyncIterator[tuple[Bench, Heard]]:
    bench, heard = make_bench(file or policy()), Heard()
    bench.upstream.scripts = list(scripts)
    graders = Graders(rng=random.Random(1), verdicts=heard)
    bench.gateway = replace(bench.gateway, graders=graders, clock=clock or bench.gateway.clock)
    try:
        yield bench, heard
    finally:
        await graders.close()


def counted(bench: Bench, result: str, role: str = "worker") -> float:
    text = bench.gateway.meters.render().decode()
    name = f'tierwise_graded_total{{result="{result}",role="{role}"}} '
    found = [line for line in text.splitlines() if line.startswith(name)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


@pytest.mark.parametrize(("text", "result"), [("yes", Result.PASS), ("no", Result.FAIL)])
async def test_an_answer_is_judged_after_it_is_out_and_sent_nowhere_else(
    text: str, result: Result
) -> None:
    async with graded(answer(text)) as (bench, heard):
        delivered = await bench.post(CHAT, ask())
        assert delivered.headers["x-tierwise-attempts"] == "1"  # a grader decides nothing
        await until(lambda: heard.words, what="a grade")
        ((decision, outcome),) = heard.words
        ((recorded, own),) = bench.kept.pairs
        assert counted(bench, "graded") == 1
    assert decision is recorded
    assert own.quality is None  # it was recorded before anybody graded it
    (attempt,) = outcome.attempts
    (verdict,) = attempt.verdicts
    assert (attempt.span_id, verdict.check) == (own.attempts[0].span_id, "contains")
    assert (verdict.result, verdict.chance) == (result, 1.0)


async def test_a_stream_is_judged_too() -> None:
    stream = Script(pieces=[streams.chat()], headers=(EVENTS,))
    async with graded(stream, file=policy(graders='["not_empty"]')) as (bench, heard):
        await bench.post(CHAT, ask(stream=True))
        await until(lambda: heard.words, what="a grade")
    assert heard.words[0][1].attempts[0].verdicts[0].result is Result.PASS


async def test_a_share_is_drawn_and_each_word_names_the_chance() -> None:
    async with graded(*[answer()] * 200, file=policy(sample=0.25)) as (bench, heard):
        for _ in range(200):
            await bench.post(CHAT, ask())
        # As many as the same generator draws: 200 numbers in [0, 1), of which these are under 0.25.
        rng = random.Random(1)
        expected = sum(rng.random() < 0.25 for _ in range(200))
        await until(lambda: len(heard.words) == expected, what=f"{expected} grades")
    chances = {word.chance for _, out in heard.words for word in out.attempts[0].verdicts}
    assert chances == {0.25}
    assert 30 <= expected <= 70


@pytest.mark.parametrize("roles", [{"worker"}, {"*"}, {"other"}])
async def test_every_answer_is_judged_while_the_collector_wants_it(roles: set[str]) -> None:
    async with graded(*[answer()] * 20, file=policy(sample=0.02)) as (bench, heard):
        bench.gateway.decider.take(Standing(graded=frozenset(roles)))
        for _ in range(20):
            await bench.post(CHAT, ask())
        raised = "other" not in roles
        await until(lambda: len(heard.words) == (20 if raised else 0), what="the grades")
    chances = {word.chance for _, out in heard.words for word in out.attempts[0].verdicts}
    assert chances == ({1.0} if raised else set())


async def test_the_answer_that_was_delivered_is_judged_not_the_one_that_failed() -> None:
    file = policy(checks='[{ check = "contains", values = ["o"] }]')
    async with graded(answer("yes"), answer("yes, or no"), file=file) as (bench, heard):
        delivered = await bench.post(CHAT, ask())
        assert delivered.headers["x-tierwise-tier"] == "mid"
        await until(lambda: heard.words, what="a grade")
    ((_, outcome),) = heard.words
    assert [attempt.number for attempt in outcome.attempts] == [2]


async def test_nobody_waits_for_a_grader_and_those_that_wait_are_limited() -> None:
    steps = RUNNING_MAX + WAITING_MAX + 2
    file = policy(graders=NEVER)
    async with graded(*[answer()] * steps, file=file) as (bench, heard):
        for _ in range(steps):
            assert (await bench.post(CHAT, ask())).status == 200
        assert counted(bench, "busy") == 2
    assert heard.words == []


async def test_an_answer_that_waited_too_long_is_left_out() -> None:
    slow = '[{ check = "command", argv = ["sleep", "0.3"], seconds = 5 }]'
    clock, scripts = ManualClock(1_800_000_000_000_000_000), [answer()] * (RUNNING_MAX + 1)
    async with graded(*scripts, file=policy(graders=slow), clock=clock) as (bench, _):
        for _ in range(RUNNING_MAX + 1):
            await bench.post(CHAT, ask())
        await asyncio.sleep(0)  # the first ones begin
        clock.advance(WAITED_SECONDS_MAX + 1)
        await until(lambda: counted(bench, "late") == 1, what="one that is late")
        # `sleep` says nothing in words, which is a fault of the check and no grade.
        await until(lambda: counted(bench, "fault") == RUNNING_MAX, what="the others")


async def test_what_is_over_a_mebibyte_is_counted_and_not_held() -> None:
    async with graded(answer("yes" * 400_000), answer()) as (bench, heard):
        await bench.post(CHAT, ask())
        assert counted(bench, "unread") == 1
        await bench.post(CHAT, ask())
        await until(lambda: heard.words, what="the other's grade")
    assert len(heard.words) == 1


async def test_what_nobody_was_answered_is_not_judged() -> None:
    broken = UpstreamError("upstream_broken", "it broke off", hint="try again")
    async with graded(*[broken] * 8) as (bench, heard):
        assert (await bench.post(CHAT, ask())).status >= 500
        await asyncio.sleep(0)
    assert heard.words == []


async def test_a_role_without_graders_keeps_no_answer() -> None:
    async with graded(answer()) as (bench, heard):
        await bench.post(CHAT, ask("default"))
        await asyncio.sleep(0)
        assert counted(bench, "unread", "default") == 0
    assert heard.words == []


def test_a_misspelt_grader_is_named() -> None:
    with pytest.raises(ConfigError, match=r"roles\.worker\.graders.*'contain'"):
        make_bench(policy(graders='["contain"]'))


def test_a_share_under_what_feedback_must_be_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"judge 0\.005 of the answers .* is 0\.01"):
        make_bench(policy(sample=0.005))
