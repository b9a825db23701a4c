"""The attempts of one step: who is asked, who next, and whose answer the caller gets."""

from collections.abc import Callable

from evals.steps import Step
from router import codecall, headers, ladder, reply
from router.attempt import KEYLESS, Call, Delivered, Down, Ended, Way
from router.authors import Authorship
from router.budget import Hold
from router.codecall import Abstained
from router.exchange import Exchange, Held, Trial, Waiting
from router.judge import Judge
from router.ladder import Candidate
from router.request import Request, Send
from router.retry import RETRIED, pause_seconds
from router.route import Route
from router.rules import CODE
from telemetry.errors import BudgetExceeded, CheckFailed, UpstreamError
from telemetry.records import Attempt, Cause, Decision, Dialect, Result


async def walk(
    exchange: Exchange, asked: Request, decision: Decision, send: Send, produced: Callable[[], None]
) -> None:
    """Ask one candidate after the other until an answer is good enough; deliver that one.

    When none is, the caller gets the best answer that failed its checks, or the last provider's
    own error. ``produced`` is called once nothing more is wanted of a provider.

    Raises:
        CheckFailed: no answer passed and the role wants an error rather than the best one.
        UpstreamError: there is no answer at all.
    """
    route = exchange.loaded.policy.route(decision.context)
    checked = exchange.endpoint.inference and route.dialect is not Dialect.EMBEDDINGS
    step = Step(role=route.role, dialect=route.dialect, fields=asked.body.fields)
    if checked and route.graders and exchange.gateway.graders is not None:
        exchange.grading = exchange.gateway.graders.drawn(exchange, route)
    way = Way(
        exchange=exchange,
        asked=asked,
        route=route,
        judge=Judge(exchange, step, route.checks if checked else ()),
        authorship=Authorship(
            exchange.gateway.memory.authors,
            exchange.loaded.policy,
            asked=asked,
            context=decision.context,
        ),
        passed_on=tuple(headers.upstream(asked.received)),
        send=send,
        produced=produced,
    )
    await Chain(way, decision, step).run()


class Chain:
    """One step's walk."""

    def __init__(self, way: Way, decision: Decision, step: Step) -> None:
        self._way = way
        self._step = step
        self._exchange = way.exchange
        self._gateway = way.exchange.gateway
        self._route: Route = way.route
        self._decision = decision
        self._flagged: list[Held] = []
        self._down: Down | None = None
        self._retried_tier: str | None = None
        self._escalates = False  # the candidate to be asked next stands above the last one
        self._plan_escalations_max = way.exchange.loaded.policy.plan_escalations_max

    async def run(self) -> None:
        """Walk to the end."""
        self._gateway.retries.request()
        candidate: Candidate | None = self._open_to(ladder.first(self._route, self._decision.arm))
        while candidate is not None:
            try:
                ended = await self._ask(candidate)
            except BudgetExceeded:
                if not self._flagged and self._down is None:
                    raise
                break  # what is in hand is not thrown away for a budget
            if isinstance(ended, Delivered):
                return self._remember(candidate, ended)
            if isinstance(ended, Abstained):
                candidate = self._above(candidate)
            elif isinstance(ended, Down):
                self._down = ended
                candidate = await self._after_down(candidate, ended)
            elif self._flagged and ended.held.status >= 300:
                return await self._deliver_best()  # better a doubtful answer than this error
            elif _passes(ended.held):
                return await self._deliver(ended.held)
            else:
                self._flagged.append(ended.held)
                candidate = self._after_flag(candidate)
        return await self._deliver_best()

    async def _ask(self, candidate: Candidate) -> Ended | Abstained:
        if self._route.code is not None and candidate.tier == CODE:
            return await codecall.ask(
                self._way, self._trial(candidate), self._route.code, self._step
            )
        # What it waits for room is not the attempt's time, and keeps nobody from probing the model.
        hold = await self._hold(candidate)
        breakers = self._gateway.breakers
        leave = breakers.enter(candidate.target.model)
        try:
            trial = self._trial(candidate)
            trial.hold = hold
            self._count_escalation()
            ended = await Call(self._way, trial).make()
        except UpstreamError:
            breakers.failed(leave)
            raise
        except BaseException:
            breakers.gave_up(leave)
            raise
        broke = isinstance(ended, Delivered) and self._exchange.attempts[-1].error_type is not None
        if isinstance(ended, Down):
            breakers.failed(leave, certain=ended.status in KEYLESS)
        elif broke:
            breakers.failed(leave)
        else:
            breakers.answered(leave)
        return ended

    def _trial(self, candidate: Candidate) -> Trial:
        return self._exchange.try_on(candidate.target, tier=candidate.tier, cause=candidate.cause)

    async def _hold(self, candidate: Candidate) -> Hold | None:
        """Hold back what the call can cost at most; None when no budget applies.

        Raises:
            BudgetExceeded: there is no room for it.
        """
        purse = self._exchange.purse
        if purse is None:
            return None
        hold = purse.reserve(candidate)
        if hold is None:
            with Waiting(self._exchange):
                hold = await purse.borrow(candidate)
        return hold

    def _calls(self) -> list[Attempt]:
        """Return the attempts that asked a model."""
        return [attempt for attempt in self._exchange.attempts if attempt.tier != CODE]

    # Whom to ask next --------------------------------------------------------------------------

    async def _after_down(self, candidate: Candidate, down: Down) -> Candidate | None:
        """Return whom to ask after a call that gave no answer."""
        if self._may_not_repeat(down) or self._is_out_of_attempts():
            return None
        following = ladder.after_down(self._route, self._decision.arm, candidate)
        if following is not None:
            following = self._open_to(following)
        if following is None or following.tier != candidate.tier:
            again = await self._again(candidate, down)
            if again is not None:
                return again
        if following is None or not (down.denied or self._gateway.retries.take()):
            return None
        self._escalates = following.tier != candidate.tier
        return following

    async def _again(self, candidate: Candidate, down: Down) -> Candidate | None:
        """Return the same model once more, after a pause, if it only said "not now"."""
        if down.status not in RETRIED:
            return None
        if self._retried_tier == candidate.tier:
            return None
        if not self._gateway.breakers.allows(candidate.target.model):
            return None
        pause = pause_seconds(down.retry_after_seconds, self._gateway.rng)
        if pause is None or not self._gateway.retries.take():
            return None
        self._retried_tier = candidate.tier
        with Waiting(self._exchange):
            await self._gateway.clock.sleep(pause)
        return candidate._replace(cause=Cause.RETRY)

    def _above(self, candidate: Candidate) -> Candidate | None:
        """Return whom to ask after the operator's function had no answer, whatever the arm says."""
        tier = self._route.next_up(candidate.tier)
        if tier is None:
            self._down = Down(
                error=UpstreamError(
                    "no_answer",
                    f"the function {candidate.target.request_model!r} has no answer to this step",
                    hint="widen the role's range beyond the tier `code`",
                )
            )
            return None
        return self._open_to(ladder.begin(self._route, tier, Cause.ESCALATION))

    def _after_flag(self, candidate: Candidate) -> Candidate | None:
        """Return whom to ask after an answer that failed its checks."""
        following = ladder.after_flag(self._route, self._decision.arm, candidate)
        if following is None:
            if candidate.tier == self._route.tiers[-1]:
                self._exchange.replan = True
            return None
        if self._route.rules.side_effects or self._is_out_of_attempts():
            return None
        opened = self._open_to(following)
        if opened is None or not self._plan_allows():
            return None
        self._escalates = True
        return opened

    def _open_to(self, candidate: Candidate) -> Candidate | None:
        """Return ``candidate`` or the first after it whose circuit lets the step through.

        When every circuit is open a step that has asked nobody yet asks ``candidate`` all the
        same: better one call that may fail than a gateway that refuses everything.
        """
        found: Candidate | None = candidate
        while found is not None:
            if self._gateway.breakers.allows(found.target.model):
                return found
            found = ladder.after_down(self._route, self._decision.arm, found)
        return None if self._calls() else candidate

    def _may_not_repeat(self, down: Down) -> bool:
        """Say whether the model may have acted on a step that has side effects."""
        unsent = down.error is not None and down.error.code == "upstream_unreachable"
        return self._route.rules.side_effects and not unsent and down.status not in KEYLESS

    def _is_out_of_attempts(self) -> bool:
        return len(self._calls()) >= self._route.rules.attempts_max

    def _plan_allows(self) -> bool:
        """Say whether the plan has an escalation left; if not, the planner is told so."""
        plan = self._decision.context.plan
        if plan is None or self._gateway.memory.escalations(plan) < self._plan_escalations_max:
            return True
        self._exchange.replan = True
        return False

    def _count_escalation(self) -> None:
        """Count an escalation against the plan's budget, now that it really happens."""
        plan = self._decision.context.plan
        escalates, self._escalates = self._escalates, False
        if plan is None or not escalates:
            return
        if self._gateway.memory.escalated(plan) >= self._plan_escalations_max:
            self._exchange.replan = True

    # What the caller gets ----------------------------------------------------------------------

    async def _deliver_best(self) -> None:
        """Deliver the best answer that failed its checks, else the last provider's own error."""
        if self._flagged and self._route.rules.unpassed == "refuse":
            best = self._best()
            self._exchange.delivered = best.attempt  # the step is no better than this
            raise CheckFailed(
                "check_failed",
                f"no tier of role {self._route.role!r} gave an answer that passed its checks "
                f"({best.verdict.reason if best.verdict else 'no verdict'})",
                hint='revise the step, or set unpassed = "answer" for the role',
            )
        if self._flagged:
            return await self._deliver(self._best())
        assert self._down is not None, "a walk ends with an answer, a flag or a failure"
        if self._down.denied:
            raise self._denied()
        if self._down.held is not None:
            return await self._deliver(self._down.held)
        assert isinstance(self._down.error, UpstreamError)
        raise self._down.error

    def _denied(self) -> UpstreamError:
        """Return what the caller hears when the last provider refuses us: none of its own words.

        Providers quote parts of the key that they refuse.
        """
        last = self._exchange.attempts[-1]
        return UpstreamError(
            "upstream_denied",
            f"the provider of {last.model} refused the gateway's own key or account "
            f"(status {last.status})",
            hint="the gateway's operator should look at that key; `tierwise doctor` tests it",
        )

    def _best(self) -> Held:
        """Return the flagged answer with the highest score; of equals the last, dearest one."""

        def score(held: Held) -> float:
            return held.verdict.score or 0.0 if held.verdict else 0.0

        best = self._flagged[0]
        for held in self._flagged[1:]:
            if score(held) >= score(best):
                best = held
        return best

    async def _deliver(self, held: Held) -> None:
        self._way.produced()
        self._exchange.delivered = held.attempt
        if held.status < 300 and held.attempt.tier != CODE:
            self._way.authorship.wrote(held.attempt.provider)
        await reply.held(self._exchange, held, self._way.send)

    def _remember(self, candidate: Candidate, ended: Delivered) -> None:
        """Start the session higher after a stream whose checks failed when it was already out."""
        context = self._decision.context
        failed = ended.verdict is not None and ended.verdict.result is Result.FAIL
        above = self._route.after_fail(self._decision.arm, candidate.tier)
        if failed and above is not None and context.session is not None:
            place = self._exchange.loaded.policy.ladder.index(above)
            self._gateway.memory.raise_to(context.session, context.role, tier=place)


def _passes(held: Held) -> bool:
    return held.verdict is None or held.verdict.result is not Result.FAIL
