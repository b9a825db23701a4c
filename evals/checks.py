"""What a check promises, and how several of them judge one answer.

A check says pass, fail or abstain. A check that breaks has not said anything about the answer: that
is a ``CheckCrashed`` beside the verdicts, never a bad score. Abstaining never fails an answer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeGuard

from pydantic import Field

from evals.answers import Answer
from telemetry.configfile import Section
from telemetry.errors import CheckCrashed
from telemetry.records import Result, Verdict

OVERALL: Final = "overall"
REASON_MAX: Final = 300


class CheckSection(Section):
    """What every check takes."""

    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        description="stands in verdicts instead of the check's name; for using one check twice",
    )


class Check(Protocol):
    """A quick, pure test of one answer: the same answer always gets the same verdict."""

    name: str
    version: str  # changes when old scores stop being comparable

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict; whatever it raises counts as a crash of the check."""
        ...


class SlowCheck(Protocol):
    """A test that waits for a process, a server or somebody else's code, up to its own deadline."""

    name: str
    version: str

    async def judge(self, answer: Answer) -> Verdict:
        """Return the verdict before the check's deadline; raise ``CheckCrashed`` when it broke."""
        ...

    async def close(self) -> None:
        """Give back what the check holds; safe to call twice."""
        ...


AnyCheck = Check | SlowCheck


def is_quick(check: AnyCheck) -> TypeGuard[Check]:
    """Say whether a check answers at once."""
    return hasattr(check, "check")


def is_slow(check: AnyCheck) -> TypeGuard[SlowCheck]:
    """Say whether a check has to be waited for."""
    return hasattr(check, "judge")


class BuiltIn:
    """A quick check that the policy names, made from its parameters."""

    name: str
    version: ClassVar[str] = "1"
    Parameters: ClassVar[type[CheckSection]] = CheckSection

    def __init__(self, parameters: Any) -> None:
        self.parameters = parameters
        self.name = parameters.name or self.name

    def passed(self, reason: str = "", *, score: float = 1.0) -> Verdict:
        """Return a pass with a score in 0..1."""
        return self._verdict(Result.PASS, score, reason)

    def failed(self, reason: str, *, score: float = 0.0) -> Verdict:
        """Return a fail with a score in 0..1; ``reason`` must not quote the answer."""
        return self._verdict(Result.FAIL, score, reason)

    def abstained(self, reason: str) -> Verdict:
        """Return an abstention."""
        return self._verdict(Result.ABSTAIN, None, reason)

    def _verdict(self, result: Result, score: float | None, reason: str) -> Verdict:
        return Verdict(
            check=self.name,
            version=self.version,
            result=result,
            score=score,
            reason=reason[:REASON_MAX],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What a role's checks made of one answer."""

    verdicts: tuple[Verdict, ...] = ()
    errors: tuple[CheckCrashed, ...] = ()

    @property
    def overall(self) -> Verdict:
        """The verdicts as one."""
        return overall(self.verdicts)


def check_now(checks: Sequence[AnyCheck], answer: Answer) -> Checked:
    """Return what the quick checks say, in order; the slow ones are left out."""
    verdicts: list[Verdict] = []
    errors: list[CheckCrashed] = []
    for check in checks:
        if is_quick(check):
            try:
                verdicts.append(check.check(answer))
            except Exception as error:  # noqa: BLE001 - a broken check must not break the step
                errors.append(crashed(check, error))
    return Checked(verdicts=tuple(verdicts), errors=tuple(errors))


async def run_checks(checks: Sequence[AnyCheck], answer: Answer) -> Checked:
    """Return what all checks say: the quick ones in order, then the slow ones side by side.

    Slow checks are spared when a quick one failed the answer: they could not save it.
    """
    quick = check_now(checks, answer)
    slow = [check for check in checks if is_slow(check)]
    if not slow or quick.overall.result is Result.FAIL:
        return quick
    verdicts, errors = list(quick.verdicts), list(quick.errors)
    for said in await asyncio.gather(*(_judged(check, answer) for check in slow)):
        if isinstance(said, Verdict):
            verdicts.append(said)
        else:
            errors.append(said)
    return Checked(verdicts=tuple(verdicts), errors=tuple(errors))


async def _judged(check: SlowCheck, answer: Answer) -> Verdict | CheckCrashed:
    try:
        return await check.judge(answer)
    except CheckCrashed as error:
        return error
    except Exception as error:  # noqa: BLE001 - a broken check must not break the step
        return crashed(check, error)


async def close_checks(checks: Sequence[AnyCheck]) -> None:
    """Close the slow checks; call it when a policy is replaced and at the end."""
    for check in checks:
        if is_slow(check):
            await check.close()


def crashed(check: AnyCheck, error: BaseException) -> CheckCrashed:
    """Return the error for a check that raised; its text is left out, it may quote the answer."""
    return CheckCrashed(
        f"check {check.name!r} (version {check.version}) raised {type(error).__name__}",
        check=check.name,
        version=check.version,
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one verdict for all: fail if any failed, else pass if any passed, else abstain.

    Its score is the lowest among the verdicts that decided it, where an absent score counts as 1
    for a pass and 0 for a fail; an abstention has none. Its reason is the first decisive one.
    """
    for result, absent in ((Result.FAIL, 0.0), (Result.PASS, 1.0)):
        decisive = [verdict for verdict in verdicts if verdict.result is result]
        if decisive:
            scores = [absent if v.score is None else v.score for v in decisive]
            first = decisive[0]
            reason = f"{first.check}: {first.reason}" if first.reason else first.check
            return Verdict(
                check=OVERALL, version="1", result=result, score=min(scores), reason=reason
            )
    return Verdict(check=OVERALL, version="1", result=Result.ABSTAIN)
