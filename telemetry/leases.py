"""What gateway workers and the collector say to each other about shared budgets.

Amounts are whole picodollars (10^-12 US dollars). Everything a worker reports is a running total,
so a report that is lost or comes twice changes nothing.
"""

from typing import Annotated, Final

import msgspec

PATH: Final = "/api/budgets/lease"
CLAIMS_MAX: Final = 1_000  # in one report
NOTICES_MAX: Final = 10_000  # in one answer
NAME_CHARACTERS_MAX: Final = 600

Amount = Annotated[int, msgspec.Meta(ge=0, le=9 * 10**18)]  # nine million dollars
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class Claim(msgspec.Struct, kw_only=True, frozen=True):
    """One account, as one worker sees it."""

    account: Name
    limit: Amount
    day: int | None = None  # days since 1970 in UTC, for accounts that are reset daily
    spent: Amount  # by this worker, in all
    reserved: Amount  # by this worker, now
    ceiling: Amount  # how far this worker may go
    wants: Amount = 0  # how much further it would like to
    needs: Amount = 0  # how much further all steps that wait for room would take it
    least: Amount = 0  # and the smallest of them; less is of no use to any


class Report(msgspec.Struct, kw_only=True, frozen=True):
    """What one worker says; ``number`` rises with each report of the same worker."""

    worker: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]  # one id for each process
    number: Annotated[int, msgspec.Meta(ge=1)]
    epoch: Annotated[str, msgspec.Meta(max_length=64)] = ""  # of the last answer it had
    shares: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # of which it takes one unasked
    shares_min: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # however few others are heard of
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_MAX)] = ()
    leaving: bool = False  # it will spend nothing more


class Grant(msgspec.Struct, kw_only=True, frozen=True):
    """The word on one claim."""

    account: str
    more: int  # to be added to the ceiling
    elsewhere: int  # spent by all others
    taken: int | None = None  # spent by them or held for their steps, as they said last
    age_seconds: float = 0.0  # since the one that has been silent for longest said so


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    """An account of which others want more: what is not needed should be given back."""

    account: str
    limit: int
    day: int | None = None
    ceiling: int | None = None  # go no further than this; None: keep what is needed now
    needed: int = 0  # steps wait for so much: keep of it only what is in use


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """What the collector says."""

    epoch: str  # another one than before: everything has to be reported again
    workers: int  # that have been heard of lately, this one included
    grants: tuple[Grant, ...] = ()
    notices: tuple[Notice, ...] = ()
