"""What may still be spent: accounts that hold back the most a call can cost until it is settled.

Money is counted in whole picodollars (10^-12 US dollars), so that sums are exact and do not depend
on their order. A process may take an account up to its *ceiling*, which is its part of the limit;
the parts of all processes together are the limit, so none has to ask before it spends.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

PICO: Final = 1_000_000_000_000
DAY_NS: Final = 86_400_000_000_000
LASTING_MAX: Final = 65_536  # accounts of sessions and tasks; the least recently used goes first
EVICTIONS_TRIED_MAX: Final = 16
# In steps as dear as the latest ones: ask for more below the first, up to the second; keep the
# third when others need it. What was reserved between two reports, where that is more, counts as
# two such steps.
LOW_WATER: Final = 4
HIGH_WATER: Final = 8
KEPT: Final = 2
FLOW_STEPS: Final = 2


def pico(usd: float) -> int:
    """Return US dollars as the nearest whole number of picodollars.

    >>> pico(0.0014)
    1400000000
    """
    return round(usd * PICO)


def dollars(amount: int) -> float:
    """Return picodollars as US dollars."""
    return amount / PICO


@dataclass(slots=True, kw_only=True, eq=False)
class Account:
    """One budget's spend by one subject; amounts are picodollars.

    Without overdrafts and with costs within what was reserved, ``spent + reserved`` never exceeds
    ``ceiling``.
    """

    name: str  # the same in every process
    limit: int
    ceiling: int  # how far this process may take it
    day: int | None = None  # days since 1970 in UTC; None: it is never reset
    shared: bool = True  # with other processes; not so for one request's own
    spent: int = 0
    reserved: int = 0
    elsewhere: int = 0  # spent by other processes, as last heard
    taken: int = 0  # the same, and what they hold for steps under way
    taken_at: float = -math.inf  # monotonic seconds; none of them has been silent since
    peak: int = 0  # largest single amount asked for since the last report
    peak_before: int = 0  # and between that one and the one before
    flow: int = 0  # reserved in all since the last report
    flow_before: int = 0

    @property
    def used(self) -> int:
        """What is gone or held back here."""
        return self.spent + self.reserved

    @property
    def headroom(self) -> int:
        """What this process may still reserve; never negative."""
        return max(0, self.ceiling - self.used)

    @property
    def demand(self) -> int:
        """What a step may ask for, or what many of them ask for while one report is made."""
        peak = max(self.peak, self.peak_before)
        return max(peak, max(self.flow, self.flow_before) // FLOW_STEPS)

    def reported(self) -> None:
        """Begin a new time between two reports."""
        self.peak_before, self.peak = self.peak, 0
        self.flow_before, self.flow = self.flow, 0

    @property
    def wants(self) -> int:
        """How much higher the ceiling should be for steps like the latest to find room."""
        demand = self.demand
        if self.headroom >= LOW_WATER * demand:
            return 0
        return max(0, min(self.limit - self.ceiling, HIGH_WATER * demand - self.headroom))

    def give_back(self, *, needed: int = 0) -> None:
        """Lower the ceiling to what is used, and some more where steps still come.

        Steps elsewhere wait for ``needed``: it is given though nothing more is kept then.
        """
        demand = self.demand
        kept = min(self.headroom, KEPT * demand) if self.headroom >= demand else 0
        self.ceiling = self.used + min(kept, max(0, self.headroom - needed))

    def is_full(self, amount: int) -> bool:
        """Say whether no ceiling could make room for ``amount``: what is spent stays spent."""
        return self.used + self.elsewhere + amount > self.limit

    def fits(self, amount: int) -> bool:
        """Say whether ``amount`` may be reserved: exactly up to the ceiling, not one more.

        What costs nothing always fits.
        """
        return amount == 0 or self.used + amount <= self.ceiling


@dataclass(slots=True, eq=False)
class Hold:
    """An amount reserved on several accounts at once; it is settled once, whatever happens."""

    accounts: Sequence[Account]
    amount: int
    ledger: "Ledger"
    open: bool = True

    def settle(self, cost: int | None) -> None:
        """Replace the reservation by what the call cost; an unknown cost keeps all of it spent."""
        if not self.open:
            return
        self.open = False
        cost = self.amount if cost is None else cost
        for account in self.accounts:
            account.reserved -= self.amount
            account.spent += cost
            self.ledger.changed(account)


@dataclass(slots=True, kw_only=True)
class Ledger:
    """All accounts of one process, bounded in number."""

    shares: int = 1  # processes that may spend from the same limits
    lasting_max: int = LASTING_MAX
    dirty: dict[str, Account] = field(default_factory=dict)  # shared ones, changed since a report
    daily: dict[str, Account] = field(default_factory=dict)
    lasting: "OrderedDict[str, Account]" = field(default_factory=OrderedDict)
    _today: int = 0

    def account(self, name: str, *, limit: int, day: int | None = None) -> Account:
        """Return the account called ``name``, opened with this process' share of ``limit``.

        A limit that has changed moves the ceiling by this process' share of the difference.
        """
        accounts = self.lasting if day is None else self.daily
        found = accounts.get(name)
        if found is None:
            self._make_room(day)
            found = Account(name=name, limit=limit, ceiling=limit // self.shares, day=day)
            accounts[name] = found
        elif day is None:
            self.lasting.move_to_end(name)
        if found.limit != limit:
            found.ceiling = max(0, found.ceiling + (limit - found.limit) // self.shares)
            found.limit = limit
            self.changed(found)
        return found

    def find(self, name: str) -> Account | None:
        """Return an account if it is open."""
        return self.daily.get(name) or self.lasting.get(name)

    def reserve(
        self, accounts: Sequence[Account], amount: int, *, overdrawn: Sequence[Account] = ()
    ) -> Hold | Account:
        """Hold ``amount`` back on all ``accounts``, or on none and return one that it exceeds.

        Those among ``overdrawn`` take it whether it fits or not.
        """
        short: Account | None = None
        for account in accounts:
            account.peak = max(account.peak, amount)
            if not account.fits(amount) and account not in overdrawn:
                short = short or account
                self.changed(account)  # so that more of the limit is asked for
        if short is not None:
            return short
        for account in accounts:
            account.reserved += amount
            account.flow += amount
            self.changed(account)
        return Hold(accounts, amount, self)

    def changed(self, account: Account) -> None:
        """Note that other processes have something to learn of ``account``."""
        if account.shared:
            self.dirty[account.name] = account

    def _make_room(self, day: int | None) -> None:
        if day is not None:
            if day > self._today:  # yesterday's stay: steps that began then are still settled
                self._today = day
                old = [name for name, one in self.daily.items() if (one.day or 0) < day - 1]
                for name in old:
                    del self.daily[name]
            return
        for _ in range(EVICTIONS_TRIED_MAX):
            if len(self.lasting) < self.lasting_max:
                return
            name, oldest = self.lasting.popitem(last=False)
            if oldest.reserved:  # a step of it is under way
                self.lasting[name] = oldest
            else:
                self.dirty.pop(name, None)
