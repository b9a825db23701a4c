"""The shared ledger of budgets: which gateway worker may spend how much of which limit.

A worker takes an account up to its *ceiling* and never asks before it spends. A worker that has
not spoken of an account may take its share of the limit, so that share is kept free for it; all
ceilings and shares together stay within the limit. A worker that wants more gets what nobody
holds, and the others are asked to give back what they do not need.
"""

import asyncio
import json
import logging
import math
import os
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from collector.access import STRANGER, TOKEN, Access
from collector.refusals import envelope
from telemetry.clock import Clock
from telemetry.errors import ApiError
from telemetry.leases import NOTICES_MAX, PATH, Answer, Claim, Grant, Notice, Report

EXPIRES_SECONDS: Final = 10.0  # without a word; then what a worker left unused goes to others
WAKING_SECONDS: Final = 3.0  # after a start nothing is granted: all workers must speak first
WANTED_SECONDS: Final = 2.0  # how long a wish is passed on to others
SAVE_SECONDS: Final = 1.0
BODY_BYTES_MAX: Final = 4_194_304
DAY_NS: Final = 86_400_000_000_000
LASTING_MAX: Final = 262_144  # accounts of sessions and tasks; the least recently used goes first
WORKERS_MAX: Final = 4_096
DAYS_AHEAD_MAX: Final = 1

log = logging.getLogger("tierwise.collector")


@dataclass(slots=True)
class _Holding:
    """What one worker has of one account, in picodollars."""

    spent: int = 0
    reserved: int = 0
    ceiling: int = 0
    said: bool = False  # by the worker itself, not put down for it

    @property
    def used(self) -> int:
        return self.spent + self.reserved


@dataclass(slots=True)
class _Account:
    limit: int
    day: int | None
    past: int = 0  # spent by workers that said good-bye
    holdings: dict[str, _Holding] = field(default_factory=dict)


@dataclass(slots=True)
class _Worker:
    heard: float  # monotonic seconds
    number: int = 0
    shares: int = 1


@dataclass(slots=True)
class _Wish:
    """What one worker would like to have of an account that has not enough left."""

    until: float  # monotonic seconds; repeated in each report
    needed: int  # steps of it wait for so much


class Stale(Exception):
    """A report that was overtaken by a later one of the same worker."""


class Budgets:
    """The ledger; every method runs in one event loop and takes the time as an argument."""

    def __init__(self, *, epoch: str, now: float) -> None:
        self.epoch = epoch
        self._grants_from = now + WAKING_SECONDS
        self._daily: dict[str, _Account] = {}
        self._lasting: OrderedDict[str, _Account] = OrderedDict()
        self._workers: dict[str, _Worker] = {}
        self._wanted: dict[str, dict[str, _Wish]] = {}  # by account, then worker
        self._today = 0

    def report(self, report: Report, *, now: float, today: int) -> Answer:
        """Take what a worker says and return what it may do; ``now`` is monotonic seconds.

        Raises:
            Stale: a later report of the worker has been taken already.
        """
        self._forget(now=now, today=today)
        worker = self._workers.get(report.worker)
        joins = report.epoch != self.epoch
        if worker is None:
            worker = self._workers[report.worker] = _Worker(heard=now)
        elif report.number <= worker.number:
            raise Stale
        worker.heard, worker.number, worker.shares = now, report.number, report.shares
        claims = [claim for claim in report.claims if self._plausible(claim, today)]
        for claim in claims:
            self._take(report.worker, claim)
        if report.leaving:
            self._part(report.worker)
            return self._answer(1, (), ())
        age = self._age(report.worker, now)
        grants = tuple(self._grant(report.worker, claim, now=now, age=age) for claim in claims)
        notices = self._notices(report.worker, joins=joins, now=now)
        workers = sum(self._is_live(one, now) for one in self._workers.values())
        # What it is told here it goes by from now on, so its share may grow only now.
        worker.shares = min(worker.shares, max(report.shares_min, workers))
        return self._answer(workers, grants, notices)

    def _answer(
        self, workers: int, grants: tuple[Grant, ...], notices: tuple[Notice, ...]
    ) -> Answer:
        return Answer(
            epoch=self.epoch,
            workers=workers,
            grants=grants,
            notices=notices,
        )

    def spent(self, account: str) -> int:
        """Return what all workers have spent of an account, in picodollars."""
        found = self._find(account)
        if found is None:
            return 0
        return found.past + sum(each.spent for each in found.holdings.values())

    # One worker's word -------------------------------------------------------------------------

    @staticmethod
    def _plausible(claim: Claim, today: int) -> bool:
        return claim.day is None or abs(claim.day - today) <= DAYS_AHEAD_MAX

    def _find(self, name: str) -> _Account | None:
        return self._daily.get(name) or self._lasting.get(name)

    def _take(self, worker: str, claim: Claim) -> None:
        accounts = self._lasting if claim.day is None else self._daily
        account = accounts.get(claim.account)
        if account is None:
            account = accounts[claim.account] = _Account(claim.limit, claim.day)
        account.limit = claim.limit
        if claim.day is None:
            self._lasting.move_to_end(claim.account)
            while len(self._lasting) > LASTING_MAX:
                self._lasting.popitem(last=False)
        holding = account.holdings.setdefault(worker, _Holding())
        holding.spent = max(holding.spent, claim.spent)
        holding.reserved, holding.ceiling = claim.reserved, claim.ceiling
        holding.said = True

    def _grant(self, worker: str, claim: Claim, *, now: float, age: float) -> Grant:
        account = self._find(claim.account)
        assert account is not None, "a claim opens its account"
        more = self._more(account, worker, claim, now)
        account.holdings[worker].ceiling += more
        others = [one for name, one in account.holdings.items() if name != worker]
        return Grant(
            account=claim.account,
            more=more,
            elsewhere=account.past + sum(one.spent for one in others),
            taken=account.past + sum(one.used for one in others),
            age_seconds=age,
        )

    def _more(self, account: _Account, worker: str, claim: Claim, now: float) -> int:
        """Return how much further a worker may go; what it cannot have yet is asked of others.

        While steps of others wait it gets no more than its own waiting steps need, and nothing
        that is too little for any of them: the others may have use for it.
        """
        wishes = self._wanted.get(claim.account, {})
        wishes.pop(worker, None)
        if not claim.wants or now < self._grants_from:
            return 0
        holding = account.holdings[worker]
        free = self._free(account, worker, now) - max(holding.ceiling, holding.used)
        others_wait = any(wish.needed and wish.until >= now for wish in wishes.values())
        more = max(0, min(claim.needs if others_wait else claim.wants, free))
        if more < claim.least:
            more = 0
        if more < claim.wants:
            needed = max(0, claim.needs - more)
            wish = _Wish(until=now + WANTED_SECONDS, needed=needed)
            self._wanted.setdefault(claim.account, {})[worker] = wish
        return more

    def _age(self, worker: str, now: float) -> float:
        """Return how long the one of all others has been silent that spoke longest ago."""
        heard = [
            one.heard
            for name, one in self._workers.items()
            if name != worker and self._is_live(one, now)
        ]
        return now - min(heard, default=now)

    def _free(self, account: _Account, worker: str, now: float) -> int:
        """Return what is left of an account for ``worker`` beside all others; may be negative."""
        left = account.limit - account.past
        for name, one in self._workers.items():
            if name != worker and name not in account.holdings and self._is_live(one, now):
                left -= account.limit // one.shares
        for name, holding in account.holdings.items():
            if name == worker:
                continue
            known = self._workers.get(name)
            live = known is not None and self._is_live(known, now)
            left -= max(holding.ceiling, holding.used) if live else holding.used
        return left

    # What it hears -----------------------------------------------------------------------------

    def _notices(self, worker: str, *, joins: bool, now: float) -> tuple[Notice, ...]:
        found = []
        if joins:
            found += self._first_notices(worker, now)
        for name, wishes in list(self._wanted.items()):
            account = self._find(name)
            for wisher in [one for one, wish in wishes.items() if wish.until < now]:
                del wishes[wisher]
            if account is None or not wishes:
                del self._wanted[name]
            elif set(wishes) - {worker} and self._may_give(account, worker):
                needed = sum(wish.needed for one, wish in wishes.items() if one != worker)
                found.append(
                    Notice(account=name, limit=account.limit, day=account.day, needed=needed)
                )
        return tuple(found[:NOTICES_MAX])

    def _may_give(self, account: _Account, worker: str) -> bool:
        holding = account.holdings.get(worker)
        return holding is None or holding.ceiling > holding.used

    def _first_notices(self, worker: str, now: float) -> list[Notice]:
        """Tell a new worker of the accounts in which its share is not free any more.

        One that has begun to spend without knowing hears how much further it may go.
        """
        shares = self._workers[worker].shares
        found: list[Notice] = []
        for name, account in chain(self._daily.items(), self._lasting.items()):
            holding = account.holdings.get(worker)
            free = self._free(account, worker, now)
            said = holding if holding is not None and holding.said else None
            if free >= (account.limit // shares if said is None else said.ceiling):
                continue
            if len(found) == NOTICES_MAX:
                break
            if said is not None:  # it counts as said until the worker says otherwise
                ceiling = max(said.used, free)
            else:
                # A fair part of what is left, so that others who start just now find some too.
                left = account.limit - account.past
                left -= sum(other.used for other in account.holdings.values())
                ceiling = max(0, min(free, left // shares))
                account.holdings[worker] = _Holding(ceiling=ceiling)
            found.append(
                Notice(account=name, limit=account.limit, day=account.day, ceiling=ceiling)
            )
        return found

    # Time passes -------------------------------------------------------------------------------

    @staticmethod
    def _is_live(worker: _Worker, now: float) -> bool:
        return now - worker.heard <= EXPIRES_SECONDS

    def _part(self, worker: str) -> None:
        """Keep what a worker that leaves has spent; all else is free again."""
        # A report of before that arrives only now must not count its spend again.
        self._workers[worker] = _Worker(heard=-math.inf, number=sys.maxsize)
        for accounts in (self._daily, self._lasting):
            for account in accounts.values():
                holding = account.holdings.pop(worker, None)
                if holding is not None:
                    account.past += holding.used

    def _forget(self, *, now: float, today: int) -> None:
        if today != self._today:
            self._today = today
            for name in [n for n, one in self._daily.items() if (one.day or 0) < today - 1]:
                del self._daily[name]
        if len(self._workers) > WORKERS_MAX:
            for name in [n for n, one in self._workers.items() if not self._is_live(one, now)]:
                del self._workers[name]

    # Between two starts ------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return the accounts of today and yesterday as JSON values; see ``load``."""
        return {
            name: {
                "limit": account.limit,
                "day": account.day,
                "past": account.past,
                "workers": {
                    worker: [one.spent, one.reserved] for worker, one in account.holdings.items()
                },
            }
            for name, account in self._daily.items()
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take up what ``dump`` returned. Workers that still run report again what is theirs."""
        for name, one in dumped.items():
            holdings = {worker: _Holding(*amounts) for worker, amounts in one["workers"].items()}
            self._daily[name] = _Account(one["limit"], one["day"], one["past"], holdings)


class Keeper:
    """Keeps a ledger's daily accounts in a file, replaced as a whole at most once a second."""

    def __init__(self, budgets: Budgets, path: Path) -> None:
        """Load the file; one that cannot be read is left out of account, and said in the log."""
        self._budgets = budgets
        self._path = path
        self._saved = 0.0
        self._saving = asyncio.Lock()
        try:
            budgets.load(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("budgets: %s cannot be read, today's spend starts at zero: %s", path, error)

    async def save(self, *, now: float, at_once: bool = False) -> None:
        """Write the file if its last writing is a second ago; a failure is only logged."""
        if not at_once and now - self._saved < SAVE_SECONDS:
            return
        self._saved = now
        content = json.dumps(self._budgets.dump())
        async with self._saving:
            await asyncio.to_thread(self._write, content)

    def _write(self, content: str) -> None:
        beside = self._path.with_suffix(".tmp")
        try:
            beside.write_text(content, encoding="utf-8")
            os.replace(beside, self._path)
        except OSError as error:
            log.error("budgets: %s cannot be written: %s", self._path, error)


def budget_routes(*, path: Path, clock: Clock, access: Access) -> APIRouter:
    """Return the route by which gateway workers share budgets; ``path`` keeps the daily ones."""
    routes = APIRouter()
    budgets = Budgets(epoch=os.urandom(8).hex(), now=clock.monotonic())
    keeper = Keeper(budgets, path)

    @routes.post(PATH)
    async def lease(request: Request) -> Response:
        if not access.allows(request.headers.get("authorization", "").encode()):
            return _refused(401, "unknown_key", ApiError(STRANGER, hint=TOKEN))
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            told = ApiError(
                f"at most {BODY_BYTES_MAX} bytes, length stated", hint="report in parts"
            )
            return _refused(413, "body_too_large", told)
        try:
            report = msgspec.json.decode(await request.body(), type=Report)
        except msgspec.MsgspecError as error:
            told = ApiError(str(error), hint="gateway and collector must be of one version")
            return _refused(422, "invalid_field", told)
        now = clock.monotonic()
        try:
            answer = budgets.report(report, now=now, today=clock.now_ns() // DAY_NS)
        except Stale:
            told = ApiError("a later report of this worker was taken", hint="send the next one")
            return _refused(409, "stale", told)
        if report.claims or report.leaving:
            await keeper.save(now=now, at_once=report.leaving)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return routes


def _refused(status: int, code: str, error: ApiError) -> Response:
    kind = "unauthorized" if status == 401 else "invalid_request"
    body = msgspec.json.encode(envelope(kind, code, error))
    return Response(body, status_code=status, media_type="application/json")
