"""Checks that are waited for: their error budget, and somebody else's check in a thread."""

import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import Final, TypeGuard

from evals.answers import Answer
from evals.checks import REASON_MAX, AnyCheck, Check, SlowCheck, crashed
from evals.workers import NoThread, Raised, TookTooLong, Workers
from telemetry.clock import Clock
from telemetry.errors import CheckCrashed
from telemetry.records import Result, Verdict

WINDOW: Final = 50  # calls
ERRORS_MAX: Final = 12  # more than 25 % of the window
COOL_DOWN_SECONDS: Final = 60.0
_LOG = logging.getLogger("tierwise.checks")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call."""

    probe: bool  # the one call that decides whether a disabled check comes back


class ErrorBudget:
    """Disables what breaks too often: more than a quarter of the last 50 calls.

    After a cool-down one call is let through as a probe; its success enables again with a clean
    slate, its failure starts another cool-down.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._until: float | None = None
        self._probing = False

    @property
    def disabled(self) -> bool:
        """Whether calls are held back now."""
        return self._until is not None

    def enter(self) -> Ticket | None:
        """Return a ticket for one call; None while disabled."""
        if self._until is None:
            return Ticket(probe=False)
        if self._probing or self._clock.monotonic() < self._until:
            return None
        self._probing = True
        return Ticket(probe=True)

    def leave(self, ticket: Ticket, *, failed: bool | None) -> None:
        """Give the ticket back with what came of the call; None when it was called off."""
        if ticket.probe:
            self._probing = False
            if failed:
                self._disable("its probe failed")
            elif failed is False:
                self._until = None
                self._failed.clear()
                _LOG.warning("check %s is enabled again", self._name)
        elif self._until is None and failed is not None:
            self._failed.append(failed)
            if (errors := sum(self._failed)) > ERRORS_MAX:
                self._disable(f"{errors} of its last {len(self._failed)} calls failed")

    def _disable(self, reason: str) -> None:
        self._until = self._clock.monotonic() + COOL_DOWN_SECONDS
        _LOG.error(
            "check %s is disabled for %.0f s: %s; it abstains meanwhile",
            self._name,
            COOL_DOWN_SECONDS,
            reason,
        )


class Budgeted(SlowCheck):
    """A slow check under an error budget; while it is disabled it abstains and says so."""

    def __init__(self, name: str, version: str, clock: Clock) -> None:
        self.name = name
        self.version = version
        self.budget = ErrorBudget(name, clock)

    async def judge(self, answer: Answer) -> Verdict:
        ticket = self.budget.enter()
        if ticket is None:
            return self.verdict(Result.ABSTAIN, reason="the check is disabled, it failed too often")
        failed: bool | None = None
        try:
            verdict = await self.ask(answer)
            failed = False
            return verdict
        except CheckCrashed:
            failed = True
            raise
        except Exception as error:
            failed = True
            raise crashed(self, error) from error
        finally:
            self.budget.leave(ticket, failed=failed)

    async def ask(self, answer: Answer) -> Verdict:
        """Return the verdict; anything raised counts against the budget."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give back what the check holds; safe to call twice."""

    def broken(self, what: str) -> CheckCrashed:
        """Return the error that says what went wrong, without quoting the answer."""
        return CheckCrashed(f"check {self.name!r}: {what}", check=self.name, version=self.version)

    def verdict(self, result: Result, *, score: float | None = None, reason: str = "") -> Verdict:
        """Return a verdict of this check."""
        return Verdict(
            check=self.name, version=self.version, result=result, score=score, reason=reason
        )


def is_budgeted(check: AnyCheck) -> TypeGuard[Budgeted]:
    """Say whether a check is held to an error budget."""
    return isinstance(check, Budgeted)


class Guarded(Budgeted):
    """Somebody else's quick check, in a thread and under a deadline: it may hang or break."""

    def __init__(self, check: Check, *, seconds: float, clock: Clock) -> None:
        super().__init__(check.name, check.version, clock)
        self._check = check
        self._seconds = seconds
        self._workers = Workers(f"check {check.name}")

    async def ask(self, answer: Answer) -> Verdict:
        try:
            said = await self._workers.run(lambda: self._check.check(answer), seconds=self._seconds)
        except TookTooLong:
            raise self.broken(f"took longer than {self._seconds:g} s") from None
        except NoThread as error:
            raise self.broken(str(error)) from None
        except Raised as error:
            raise self.broken(f"raised {error}") from error.__cause__
        if not isinstance(said, Verdict):
            raise self.broken(f"returned {type(said).__name__}, not a Verdict")
        return replace(said, check=self.name, version=self.version, reason=said.reason[:REASON_MAX])

    async def close(self) -> None:
        self._workers.close()
