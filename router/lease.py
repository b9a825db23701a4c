"""Keeps this process' part of shared budgets in step with the collector; never in a step's way.

A process spends up to its own ceilings without asking. Some times a second it reports what it has
spent, asks for more where room gets scarce, and gives back what others need more. While the
collector is away the ceilings stay as they are.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from router.budget import DAY_NS, Account
from router.spending import Spending
from telemetry.clock import Clock
from telemetry.leases import CLAIMS_MAX, PATH, Answer, Claim, Notice, Report
from telemetry.metrics import Meters

REPORT_SECONDS: Final = 0.25
# Between two attempts to reach a collector that is away: the first, doubled up to the second.
AWAY_SECONDS_MIN: Final = 0.1
AWAY_SECONDS_MAX: Final = 1.0
GAP_SECONDS: Final = 0.05  # at least, between two reports
CALL_SECONDS_MAX: Final = 2.0
ANSWER_BYTES_MAX: Final = 16_777_216

log = logging.getLogger("tierwise.budgets")


class Leases:
    """The talk with the collector about budgets."""

    def __init__(  # noqa: PLR0913 - all of it is wiring
        self,
        spending: Spending,
        *,
        url: str,
        token: str | None,
        worker: str,
        clock: Clock,
        meters: Meters,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """``worker`` is an id of this process; ``wanted`` says whether any budget is declared."""
        self.spending = spending
        self._ledger = spending.ledger
        self._shares_min = spending.ledger.shares
        self._url = url.rstrip("/") + PATH
        self._headers = {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._worker = worker
        self._clock = clock
        self._meters = meters
        self._wanted = wanted
        self._number = 0
        self._epoch = ""
        self._failures = 0  # in a row
        self._shown: set[tuple[str, str]] = set()
        self._woken = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._talk: asyncio.Task[None] | None = None
        spending.awaken = self._woken.set

    async def start(self) -> None:
        """Hear, before the first step, what others have spent; then report until ``close``."""
        if self._wanted():
            await self._tell()
        self._talk = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            reached = await self._tell() if self._wanted() else True
            self.show()
            self._woken.clear()
            await self._clock.sleep(GAP_SECONDS)
            if reached:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REPORT_SECONDS - GAP_SECONDS):
                        await self._woken.wait()
            else:
                doubled = AWAY_SECONDS_MIN * 2 ** min(self._failures - 1, 10)
                await self._clock.sleep(min(AWAY_SECONDS_MAX, doubled))

    async def close(self) -> None:
        """Say good-bye, so that what is unused is free for others at once."""
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.gather(self._talk, return_exceptions=True)
        while self._epoch and len(self._ledger.dirty) > CLAIMS_MAX and await self._tell():
            pass
        if self._epoch:
            await self._tell(leaving=True)
        if self._session is not None:
            await self._session.close()

    async def _tell(self, *, leaving: bool = False) -> bool:
        """Report once and take the answer; False when the collector could not be reached."""
        claimed, claims = self._claims()
        self._number += 1
        report = Report(
            worker=self._worker,
            number=self._number,
            epoch=self._epoch,
            shares=self._ledger.shares,
            shares_min=self._shares_min,
            claims=claims,
            leaving=leaving,
        )
        try:
            answer = await self._call(msgspec.json.encode(report))
        except asyncio.CancelledError:
            self._ledger.dirty.update(claimed)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, steps go on with what they have
            self._ledger.dirty.update(claimed)
            self._failures += 1
            if self._failures == 1:
                log.warning("budgets: the collector is away, own shares hold: %r", error)
            return False
        if self._failures:
            log.info("budgets: the collector is there")
        self._failures = 0
        self._take(answer)
        return True

    def show(self) -> None:
        """Show how much of today's budgets is spent."""
        today = self._clock.now_ns() // DAY_NS
        ratios: dict[tuple[str, str], float] = dict.fromkeys(self._shown, 0.0)
        for account in self._ledger.daily.values():
            if account.day == today:
                scope, _, _, _, subject = account.name.split("|", 4)
                ratio = (account.spent + account.elsewhere) / account.limit
                ratios[scope, subject] = max(ratio, ratios.get((scope, subject), 0.0))
        for (scope, subject), ratio in ratios.items():
            self._meters.budget_spent(scope, subject, ratio)
        self._shown = set(ratios)

    def _claims(self) -> tuple[dict[str, Account], tuple[Claim, ...]]:
        """Take what has changed out of the ledger's list, as claims."""
        dirty = self._ledger.dirty
        claimed = {name: dirty.pop(name) for name in list(dirty)[:CLAIMS_MAX]}
        claims = tuple(_claim(account) for account in claimed.values())
        for account in claimed.values():
            account.peak_before, account.peak = account.peak, 0
        return claimed, claims

    async def _call(self, body: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS_MAX)
            )
        async with self._session.post(self._url, data=body, headers=self._headers) as reply:
            reply.raise_for_status()
            return msgspec.json.decode(await reply.read(), type=Answer)

    def _take(self, answer: Answer) -> None:
        ledger = self._ledger
        if answer.epoch != self._epoch:
            self._epoch = answer.epoch
            for account in (*ledger.daily.values(), *ledger.lasting.values()):
                ledger.changed(account)
        ledger.shares = max(self._shares_min, answer.workers)
        for grant in answer.grants:
            known = ledger.find(grant.account)
            if known is not None:
                known.ceiling += max(0, grant.more)
                known.elsewhere = grant.elsewhere
        for notice in answer.notices:
            self._heed(notice)

    def _heed(self, notice: Notice) -> None:
        """Go no further than others allow, and tell them in the next report."""
        account = self._ledger.find(notice.account)
        if account is None:
            account = self._ledger.account(notice.account, limit=notice.limit, day=notice.day)
            account.ceiling = notice.ceiling or 0
        elif notice.ceiling is not None:
            account.ceiling = max(account.used, min(account.ceiling, notice.ceiling))
        else:
            account.give_back()
        self._ledger.changed(account)
        self._woken.set()


def _claim(account: Account) -> Claim:
    return Claim(
        account=account.name,
        limit=account.limit,
        day=account.day,
        spent=account.spent,
        reserved=account.reserved,
        ceiling=account.ceiling,
        wants=account.wants,
    )
