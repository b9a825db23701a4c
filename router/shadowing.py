"""Shadow runs: a share of answered steps asked again on another tier, after the caller's answer.

Off the request path: the answer is out, or on its way, when a run begins; nothing waits for it, and
nothing of it reaches the caller, the learner, the role's spend or the callers' budgets. Bounded on
every side: runs at once, runs that wait, bytes of a body, seconds of a run, and US dollars a day.
Those are an account of their own among the budgets, so all workers of all gateways spend from one
limit, and the most that a run can cost is held back before it is sent.
"""

import asyncio
import logging
import random
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgspec

from evals.checks import overall
from evals.steps import Step
from router import body, headers
from router.allowance import bound, size_of
from router.attempt import Answered, Call, Delivered, Way
from router.authors import Authorship
from router.backlog import Backlog
from router.budget import DAY_NS, Hold, pico
from router.exchange import Exchange, Trial, decision_id
from router.judge import Judge
from router.ladder import Candidate
from router.policy import PINS
from router.policyfile import ShadowConfig
from router.request import Message, Request
from router.route import Route
from router.targets import Target
from telemetry import propagation
from telemetry.records import (
    Arm,
    Cause,
    Decision,
    Dialect,
    OnFail,
    Outcome,
    Result,
    Verdict,
    total_cost_usd,
)
from telemetry.spans import Content

RUNNING_MAX: Final = 2
WAITING_MAX: Final = 32
BODY_BYTES_MAX: Final = 1_048_576
RUN_SECONDS_MAX: Final = 120.0
LOAD_MAX: Final = 0.5  # of the steps that this process may serve; beyond it nothing is run again
METRIC: Final = "tierwise_shadow_runs_total"

logger = logging.getLogger(__name__)


class Work(NamedTuple):
    """One step that waits to be run again."""

    exchange: Exchange  # of the step that was answered
    decision: Decision
    asked: Request
    plan: ShadowConfig
    role: str


@dataclass(slots=True, kw_only=True)
class Shadows:
    """The shadow runs of one process."""

    rng: random.Random
    _backlog: Backlog[Work] = field(init=False)

    def __post_init__(self) -> None:
        self._backlog = Backlog(self._run, running_max=RUNNING_MAX, waiting_max=WAITING_MAX)

    def offer(self, exchange: Exchange, outcome: Outcome) -> None:
        """Take a step that was answered, if it is drawn; never waits and never raises."""
        try:
            work = self._drawn(exchange, outcome)
            if work is not None and not self._backlog.put(work):
                _count(work, "dropped")
        except Exception:
            logger.exception("step %s could not be offered to a shadow", exchange.decision_id)

    async def close(self) -> None:
        """Call off what runs and forget what waits."""
        await self._backlog.close()

    def _drawn(self, exchange: Exchange, outcome: Outcome) -> Work | None:
        decision, asked = exchange.decision, exchange.request
        if decision is None or asked is None or self._backlog.closed:
            return None
        rules = exchange.loaded.policy.rules.get((decision.context.role, None))
        if rules is None or rules.shadow is None:
            return None
        work = Work(exchange, decision, asked, rules.shadow, rules.role)
        if not _comparable(work, outcome) or self.rng.random() >= work.plan.share:
            return None
        load = exchange.gateway.load
        refused = None
        if load.draining or load.steps > LOAD_MAX * load.steps_max:
            refused = "busy"
        elif len(asked.body.raw) > BODY_BYTES_MAX:
            refused = "too_large"
        if refused is not None:
            _count(work, refused)
        return work if refused is None else None

    async def _run(self, work: Work) -> None:
        try:
            target = _target(work)
            if target is None:
                _count(work, "no_model")
                return
            shadow = _Shadow(work, target)
            held = await _reserved(work, shadow.bound())
            if held is None:
                _count(work, "budget")
                return
            try:
                await shadow.run()
            finally:
                held.settle(shadow.cost())
            _count(work, "run")
        except Exception:
            logger.exception("the shadow run of step %s failed", work.exchange.decision_id)
            _count(work, "fault")


class _Shadow:
    """One run."""

    def __init__(self, work: Work, target: Target) -> None:
        exchange, tier = work.exchange, work.plan.tier
        policy = exchange.loaded.policy
        context = replace(work.decision.context, stream=False, caller_pin=None)
        declared = policy.route(work.decision.context)
        arm = Arm(tier=tier, on_fail=OnFail.ACCEPT)
        params = policy.file.tiers[tier].params
        self._route: Route = replace(
            declared,
            tiers=(tier,),
            declared=arm,
            arms=(arm,),
            code=None,
            models={tier: (target,)},
            fields={tier: params[context.dialect]} if context.dialect in params else {},
        )
        self._asked = unstreamed(work.asked)
        self._exchange = _exchange_of(exchange, self._asked)
        self._decision = replace(
            work.decision,
            decision_id=self._exchange.decision_id,
            at_ns=exchange.gateway.clock.now_ns(),
            context=context,
            offered=(arm,),
            arm=arm,
            propensity=1.0,
            cell=None,
            shadow_of=exchange.decision_id,
        )
        self._parent = exchange.span_id
        self._candidate = Candidate(tier, 0, target, Cause.START)

    def bound(self) -> int:
        """Return the most that it can cost, in picodollars."""
        file = self._exchange.loaded.policy.file
        size = size_of(
            self._asked.body,
            self._route.dialect,
            output_tokens_default=file.reservations.output_tokens,
        )
        return bound(self._route, self._candidate, size)

    def cost(self) -> int | None:
        """Return what it did cost, in picodollars; None when that is not known."""
        cost = total_cost_usd(self._exchange.attempts)
        return None if cost is None else pico(cost)

    async def run(self) -> None:
        """Ask the model once, judge its answer, record both."""
        exchange = self._exchange
        trial = exchange.try_on(
            self._candidate.target, tier=self._candidate.tier, cause=Cause.START
        )
        step = Step(
            role=self._route.role, dialect=self._route.dialect, fields=self._asked.body.fields
        )
        way = Way(
            exchange=exchange,
            asked=self._asked,
            route=self._route,
            judge=Judge(exchange, step, self._route.checks),
            authorship=Authorship(
                exchange.gateway.memory.authors,
                exchange.loaded.policy,
                asked=self._asked,
                context=self._decision.context,
            ),
            passed_on=tuple(headers.upstream(self._asked.received)),
            send=_nowhere,
            produced=lambda: None,
        )
        status = 504
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                ended = await Call(way, trial).make()
            answered = isinstance(ended, Answered | Delivered)
            status = (trial.status or 502) if answered else _failed(trial)
        except TimeoutError:
            logger.info("a shadow run took longer than %g s", RUN_SECONDS_MAX)
        finally:
            self._record(status)

    def _record(self, status: int) -> None:
        exchange = self._exchange
        if not exchange.attempts:
            return
        quality, source = _quality(exchange.attempts[-1].verdicts)
        outcome = Outcome(
            decision_id=exchange.decision_id,
            trace_id=exchange.trace_id,
            span_id=exchange.span_id,
            parent_span_id=self._parent,
            sampled=exchange.sampled,
            ended_ns=exchange.gateway.clock.now_ns(),
            attempts=tuple(exchange.attempts),
            status=status,
            quality=quality,
            quality_source=source,
        )
        bytes_max = exchange.gateway.content_bytes_max
        content = None
        if bytes_max is not None:
            content = Content(
                request=self._asked.body.raw[:bytes_max], answers=tuple(exchange.answers)
            )
        exchange.gateway.recorder.record(self._decision, outcome, content=content)


def unstreamed(asked: Request) -> Request:
    """Return the same request for an answer in one piece."""
    if not asked.stream:
        return asked
    fields: dict[str, Any] = {
        name: value for name, value in asked.body.fields.items() if name != "stream_options"
    }
    fields["stream"] = False
    return replace(asked, body=body.parse(msgspec.json.encode(fields)), stream=False)


def _exchange_of(answered: Exchange, asked: Request) -> Exchange:
    gateway = answered.gateway
    return Exchange(
        gateway=gateway,
        endpoint=answered.endpoint,
        query=answered.query,
        loaded=answered.loaded,
        started=gateway.clock.monotonic(),
        decision_id=decision_id(gateway),
        trace_id=answered.trace_id,
        span_id=propagation.new_span_id(gateway.rng),
        parent=answered.parent,
        request=asked,
        ended=True,  # it is recorded here, and counted as no step
    )


def _comparable(work: Work, outcome: Outcome) -> bool:
    """Say whether a step was answered, by another tier, and may be asked elsewhere."""
    served = outcome.answering
    if outcome.status >= 300 or served is None or served.tier == work.plan.tier:
        return False
    embeds = work.decision.context.dialect is Dialect.EMBEDDINGS
    return not embeds and work.decision.reason not in PINS


def _target(work: Work) -> Target | None:
    """Return the first model of the shadow's tier that speaks the dialect and is not down."""
    found = work.exchange.loaded.policy.targets(work.plan.tier, work.decision.context.dialect)
    allows = work.exchange.gateway.breakers.allows
    return next((target for target in found if allows(target.model)), None)


async def _reserved(work: Work, most: int) -> Hold | None:
    """Hold back the most that a run can cost; None when the day's dollars have no room for it."""
    gateway = work.exchange.gateway
    spending, today = gateway.spending, gateway.clock.now_ns() // DAY_NS
    # The parts of every account's name: scope, what happens without room, whose, day, subject.
    name = f"shadow|skip|{work.role}|{today}|{work.role}"
    account = spending.ledger.account(name, limit=pico(work.plan.usd_per_day), day=today)
    since = gateway.clock.monotonic()
    while not isinstance(held := spending.ledger.reserve([account], most), Hold):
        lender = spending.lender
        if lender is None or not await lender.lend(account, most, since=since):
            return None
    return held


def _failed(trial: Trial) -> int:
    return trial.status if trial.status is not None and trial.status >= 400 else 502


def _quality(verdicts: tuple[Verdict, ...]) -> tuple[float | None, str | None]:
    whole = overall(verdicts)
    if whole.result is Result.ABSTAIN:
        return None, None
    return whole.score, next(one.check for one in verdicts if one.result is whole.result)


def _count(work: Work, result: str) -> None:
    labels = (work.role, work.plan.tier, result)
    work.exchange.gateway.meters.count(METRIC, labels=labels)


async def _nowhere(_: Message) -> None:
    """Take what would go to a caller: nobody waits for it."""
