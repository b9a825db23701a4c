"""Keeps this process' part of shared budgets in step with the collector.

A process spends up to its own ceilings without asking. Some times a second it reports what it has
spent, asks for more where room gets scarce, and gives back what others need more. Only a step that
would be refused waits for its word, and not for long. While the collector is away the ceilings
stay as they are, and no step waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
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
# Of a step, for what others hold and do not use: most often a third of a second, but a collector
# lends nothing in the first three seconds of its life.
WAIT_SECONDS_MAX: Final = 4.0
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
        self._heard = asyncio.Event()  # of the next answer, or that there is none
        self._waiting: dict[str, list[int]] = {}  # amounts of steps that wait, by account
        self._session: aiohttp.ClientSession | None = None
        self._talk: asyncio.Task[None] | None = None
        spending.lender = self

    async def start(self) -> None:
        """Hear, before the first step, what others have spent; then report until ``close``."""
        if self._wanted():
            await self._tell()
        self._talk = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            reached = await self._tell() if self._wanted() else True
            heard, self._heard = self._heard, asyncio.Event()
            heard.set()
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
        sent_at = self._clock.monotonic()
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
        self._take(answer, sent_at=sent_at)
        return True

    # What steps ask ----------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        """Whether the last report was not answered, or none has been yet."""
        return bool(self._failures) or not self._epoch

    def wake(self) -> None:
        """Report soon."""
        self._woken.set()

    async def lend(self, account: Account, amount: int, *, since: float) -> bool:
        """Wait for the collector's next word on ``account``; True when it is worth trying again.

        False means that there is no room for ``amount`` now: it is spent, or held by steps that
        others said to be under way after ``since`` (monotonic seconds); or that nobody can tell,
        because the collector is away or the step has waited for ``WAIT_SECONDS_MAX``.
        """
        left_seconds = since + WAIT_SECONDS_MAX - self._clock.monotonic()
        others_said = account.taken_at >= since
        if (
            not account.shared
            or account.ceiling >= account.limit
            or account.is_full(amount)
            or (others_said and account.used + account.taken + amount > account.limit)
            or self.away
            or left_seconds <= 0.0
        ):
            return False
        amounts = self._waiting.setdefault(account.name, [])
        amounts.append(amount)
        self._ledger.changed(account)
        self._woken.set()
        try:
            async with asyncio.timeout(left_seconds):
                await self._heard.wait()
        except TimeoutError:
            return False
        finally:
            amounts.remove(amount)
            if not amounts:
                self._waiting.pop(account.name, None)
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
        first = [name for name in self._waiting if name in dirty]
        names = list(dict.fromkeys([*first, *dirty]))[:CLAIMS_MAX]
        claimed = {name: dirty.pop(name) for name in names}
        claims = tuple(
            _claim(account, self._waiting.get(name, ())) for name, account in claimed.items()
        )
        for account in claimed.values():
            account.reported()
        return claimed, claims

    async def _call(self, body: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS_MAX)
            )
        async with self._session.post(self._url, data=body, headers=self._headers) as reply:
            reply.raise_for_status()
            return msgspec.json.decode(await reply.read(), type=Answer)

    def _take(self, answer: Answer, *, sent_at: float) -> None:
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
                if grant.taken is not None:
                    known.taken, known.taken_at = grant.taken, sent_at - grant.age_seconds
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
        elif not any(map(account.fits, self._waiting.get(account.name, ()))):
            account.give_back(needed=notice.needed)
        self._ledger.changed(account)
        self._woken.set()


def _claim(account: Account, waiting: Sequence[int]) -> Claim:
    needs = max(0, sum(waiting) - account.headroom)
    return Claim(
        account=account.name,
        limit=account.limit,
        day=account.day,
        spent=account.spent,
        reserved=account.reserved,
        ceiling=account.ceiling,
        wants=max(account.wants, min(needs, account.limit - account.ceiling)),
        needs=min(needs, max(0, account.limit - account.ceiling)),
        least=max(0, min(waiting, default=0) - account.headroom),
    )
