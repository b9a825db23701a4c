"""A role's checks, applied to the answer of one attempt."""

from collections.abc import Sequence

from evals.answers import Answer, read_answer
from evals.assembly import Assembler, assembler
from evals.checks import AnyCheck, Checked, is_slow, run_checks
from evals.slow import is_budgeted
from evals.steps import Step
from router.exchange import Exchange, Trial
from router.policy import Policy
from telemetry import propagation
from telemetry.records import Verdict


class Judge:
    """Judges answers to one step; without checks it has no opinion."""

    def __init__(self, exchange: Exchange, step: Step, checks: Sequence[AnyCheck]) -> None:
        self._exchange = exchange
        self._step = step
        self._checks = checks

    @property
    def listens(self) -> bool:
        """Whether there is anything to check, or an answer to keep for the graders."""
        return bool(self._checks) or self._exchange.grading is not None

    def assembler(self) -> Assembler:
        """Return what puts a streamed answer together."""
        return assembler(self._step)

    async def whole(self, trial: Trial, content: bytes) -> Verdict | None:
        """Judge an unstreamed answer."""
        if not self.listens:
            return None
        return await self.answer(trial, read_answer(content, self._step))

    async def answer(self, trial: Trial, answer: Answer) -> Verdict | None:
        """Judge an answer; the verdicts stay with the attempt. None: no check had a word."""
        if self._exchange.grading is not None:
            self._exchange.grading.answers[trial.number] = answer
        if not self._checks:
            return None
        clock, meters = self._exchange.gateway.clock, self._exchange.gateway.meters
        began = clock.monotonic()
        checked = await self._checked(answer)
        if any(is_slow(check) for check in self._checks):
            # A slow check is waited for like a provider: that is not our own overhead.
            self._exchange.waited_seconds += clock.monotonic() - began
            for check in self._checks:
                if is_budgeted(check):
                    meters.check_disabled(check.name, check.budget.disabled)
        trial.verdicts = checked.verdicts
        for error in checked.errors:
            meters.check_crashed(error.check)
        if not checked.verdicts:
            return None
        return checked.overall

    async def _checked(self, answer: Answer) -> Checked:
        """Ask the checks; what a judge among them spends is told as spent within this step.

        Not so of a shadow run, which is no step: it is over before it began.
        """
        exchange = self._exchange
        if exchange.ended:
            return await run_checks(self._checks, answer)
        before = propagation.WITHIN.set(
            propagation.format_traceparent(
                exchange.trace_id, exchange.span_id, sampled=exchange.sampled
            )
        )
        try:
            return await run_checks(self._checks, answer)
        finally:
            propagation.WITHIN.reset(before)


def disabled_checks(policy: Policy) -> tuple[str, ...]:
    """Return what to tell people of each check that its error budget keeps from being asked."""
    broken = {
        f"{route.rules.where}: check {check.name!r} is disabled, it failed too often; it abstains"
        for route in policy.table.values()
        for check in (*route.checks, *route.graders)
        if is_budgeted(check) and check.budget.disabled
    }
    return tuple(sorted(broken))
