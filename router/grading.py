"""Graders: a share of a role's answers judged after the caller has them, to know their quality.

Checks judge every answer and may send a step on; graders decide nothing, and the caller waits for
none of them. Which answers they judge is drawn before anything is known of the answer, and each of
their words carries the chance with which it was drawn, so that means can be put right. While an
alert on the role's quality is on, every answer is judged.

Bounded on every side: answers under judgement, answers that wait, their size and the time of both.
"""

import asyncio
import logging
import random
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from evals.answers import Answer
from evals.checks import run_checks
from router.backlog import Backlog
from router.exchange import Exchange, Grading
from router.route import Route
from telemetry.records import Attempt, Decision, Outcome, Result

RUNNING_MAX: Final = 4
WAITING_MAX: Final = 64
CHARS_MAX: Final = 1_048_576  # of a request and its answer: what waits is held in memory
WAITED_SECONDS_MAX: Final = 120.0  # an older answer's grade would come too late for the alerts
GRADE_SECONDS_MAX: Final = 120.0
METRIC: Final = "tierwise_graded_total"

logger = logging.getLogger(__name__)


class Verdicts(Protocol):
    """Takes verdicts on steps that were recorded before; never blocks and never raises."""

    def judged(self, decision: Decision, outcome: Outcome) -> None:
        """Take the verdicts that the attempts of ``outcome`` hold."""
        ...


class Work(NamedTuple):
    """One answer that waits to be graded."""

    exchange: Exchange
    decision: Decision
    outcome: Outcome
    attempt: Attempt
    answer: Answer
    grading: Grading
    since: float


@dataclass(slots=True, kw_only=True)
class Graders:
    """The answers of one process that are graded."""

    rng: random.Random
    verdicts: Verdicts
    _backlog: Backlog[Work] = field(init=False)

    def __post_init__(self) -> None:
        self._backlog = Backlog(self._grade, running_max=RUNNING_MAX, waiting_max=WAITING_MAX)

    def drawn(self, exchange: Exchange, route: Route) -> Grading | None:
        """Draw whether the answer of a step is to be graded; None when it is not."""
        chance = 1.0
        if not exchange.gateway.decider.standing.grades_all(route.role):
            alert = exchange.loaded.policy.file.alerts.quality_of(route.role)
            chance = 1.0 if alert is None else alert.sample
        if self._backlog.closed or self.rng.random() >= chance:
            return None
        return Grading(chance=chance, graders=route.graders)

    def offer(self, exchange: Exchange, outcome: Outcome) -> None:
        """Take a step that was drawn and is over; never waits and never raises."""
        try:
            work = self._work(exchange, outcome)
            if work is not None and not self._backlog.put(work):
                _count(work.decision, exchange, "busy")
        except Exception:
            logger.exception("step %s could not be offered to its graders", exchange.decision_id)

    async def close(self) -> None:
        """Call off what runs and forget what waits."""
        await self._backlog.close()

    def _work(self, exchange: Exchange, outcome: Outcome) -> Work | None:
        decision, grading, attempt = exchange.decision, exchange.grading, outcome.answering
        if decision is None or grading is None or attempt is None or self._backlog.closed:
            return None
        if outcome.status >= 300:
            return None  # nobody got an answer
        answer = grading.answers.get(attempt.number)
        if answer is None or _size(exchange, answer) > CHARS_MAX:  # or it broke off
            _count(decision, exchange, "unread")
            return None
        since = exchange.gateway.clock.monotonic()
        return Work(exchange, decision, outcome, attempt, answer, grading, since)

    async def _grade(self, work: Work) -> None:
        exchange = work.exchange
        if exchange.gateway.clock.monotonic() - work.since > WAITED_SECONDS_MAX:
            _count(work.decision, exchange, "late")
            return
        try:
            async with asyncio.timeout(GRADE_SECONDS_MAX):
                checked = await run_checks(work.grading.graders, work.answer)
        except TimeoutError:
            _count(work.decision, exchange, "late")
            return
        except Exception:
            logger.exception("the answer of step %s could not be graded", exchange.decision_id)
            _count(work.decision, exchange, "fault")
            return
        for error in checked.errors:
            exchange.gateway.meters.check_crashed(error.check)
        said = [verdict for verdict in checked.verdicts if verdict.result is not Result.ABSTAIN]
        if said:
            marked = tuple(replace(verdict, chance=work.grading.chance) for verdict in said)
            attempt = replace(work.attempt, verdicts=marked)
            self.verdicts.judged(work.decision, replace(work.outcome, attempts=(attempt,)))
        result = "graded" if said else "fault" if checked.errors else "silent"
        _count(work.decision, exchange, result)


def _size(exchange: Exchange, answer: Answer) -> int:
    asked = 0 if exchange.request is None else len(exchange.request.body.raw)
    return asked + len(answer.text) + sum(len(call.arguments) for call in answer.tool_calls)


def _count(decision: Decision, exchange: Exchange, result: str) -> None:
    exchange.gateway.meters.count(METRIC, labels=(decision.context.role, result))
