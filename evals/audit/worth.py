"""Is routing worth having? The arithmetic, line by line, so that anybody can redo it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from evals.audit.estimate import Move, answers_needed
from evals.audit.wording import usd

MONTH_DAYS: Final = 30.0
DAYS_MIN: Final = 1 / 24  # a shorter dump says nothing about a month
PROOF_DAYS_MAX: Final = 90.0


class Word(StrEnum):
    """The audit's answer."""

    YES = "worth it"
    PILOT = "pilot first"
    NO = "not worth it"
    UNKNOWN = "cannot say"


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """The answer, and the lines that lead to it; money is a month's, ``None`` is unknown."""

    word: Word
    because: str
    arithmetic: tuple[str, ...]
    upper_usd_per_month: float | None
    lower_usd_per_month: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """What was seen, and for how long."""

    days: float | None  # from the first call to the last
    calls: int
    priced: bool  # some call has a known price
    placed: bool  # some model's rung is known
    ceiling_usd: float  # saved if the lowest tier could do everything


def worth_of(
    moves: Sequence[Move], seen: Stretch, *, floor: float, wanted_usd_per_month: float
) -> Worth:
    """Return whether routing is worth ``wanted_usd_per_month`` and can be proven."""
    if not seen.priced:
        return _unknown("no call has a known price, so there is nothing to compare")
    if not seen.placed:
        return _unknown("no model is of a provider whose cheaper models are known here")
    if seen.days is None or seen.days < DAYS_MIN:
        return _unknown(
            "the calls cover less than an hour, which says nothing about a month; "
            "audit a longer stretch"
        )
    upper = sum(move.saving_upper_usd for move in moves)
    lower = sum(move.saving_lower_usd for move in moves)
    month = MONTH_DAYS / seen.days
    waits = _waits(moves, days=seen.days, floor=floor) or [
        _wait("all steps together", seen.calls / seen.days, floor=floor)
    ]
    word, because = _word(
        ceiling=seen.ceiling_usd * month, upper=upper * month, lower=lower * month,
        wanted=wanted_usd_per_month, days_to_prove=min(days for days, _ in waits),
    )  # fmt: skip
    return Worth(
        word=word,
        because=because,
        arithmetic=(
            _line("ceiling (the lowest tier does everything)", seen.ceiling_usd, seen.days),
            _line("at most, by the proposed policy", upper, seen.days),
            _line("for certain, by the proposed policy", lower, seen.days),
            f"wanted: {usd(wanted_usd_per_month)} a month (--worth)",
            *(line for _, line in waits),
        ),
        upper_usd_per_month=upper * month,
        lower_usd_per_month=lower * month,
    )


def _line(what: str, amount: float, days: float) -> str:
    month = amount * MONTH_DAYS / days
    return f"{what}: {usd(amount)} in {days:,.4g} days x 30 / {days:,.4g} = {usd(month)} a month"


def _word(
    *, ceiling: float, upper: float, lower: float, wanted: float, days_to_prove: float
) -> tuple[Word, str]:
    if ceiling < wanted:
        return Word.NO, (
            f"the spend is too small: even if the lowest tier could do everything, "
            f"{usd(ceiling)} a month is less than the {usd(wanted)} wanted"
        )
    if lower >= wanted:
        return Word.YES, f"{usd(lower)} a month is saved by what the telemetry itself proves"
    if days_to_prove > PROOF_DAYS_MAX:
        return Word.NO, (
            f"the volume is too small: proving one step's quality takes {days_to_prove:,.0f} days"
        )
    if upper < wanted:
        return Word.PILOT, (
            f"little speaks for a cheaper tier by itself (at most {usd(upper)} a month), but the "
            f"spend is large: run a sample of the dearest step on a lower tier and grade it"
        )
    return Word.PILOT, (
        f"up to {usd(upper)} a month, of which {usd(lower)} is proven; grade the answers of the "
        "steps that move before believing the rest"
    )


def _waits(moves: Sequence[Move], *, days: float, floor: float) -> list[tuple[float, str]]:
    """Return for each unproven move how many days its proof takes, with the line that says so."""
    return [
        _wait(str(move.step), move.calls / days, floor=floor)
        for move in moves
        if move.evidence is None
    ]


def _wait(step: str, calls_a_day: float, *, floor: float) -> tuple[float, str]:
    needed = answers_needed(floor)
    days = needed / calls_a_day
    return days, (
        f"proof of {step}: {needed:,} graded answers / {calls_a_day:,.1f} calls a day = "
        f"{days:,.2g} days" if days < 10 else
        f"proof of {step}: {needed:,} graded answers / {calls_a_day:,.1f} calls a day = "
        f"{days:,.0f} days"
    )  # fmt: skip


def _unknown(because: str) -> Worth:
    return Worth(
        word=Word.UNKNOWN, because=because, arithmetic=(), upper_usd_per_month=None,
        lower_usd_per_month=None,
    )  # fmt: skip
