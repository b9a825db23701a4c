"""Budgets in the request path: which ones a step counts towards, and what it may still do.

Before an attempt the most it can cost is reserved on every budget that applies; afterwards what it
did cost replaces the reservation. Only numbers of this process are touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from router.allowance import DAILY, Size, applying, bound, size_of
from router.budget import DAY_NS, Account, Hold, Ledger, dollars, pico
from router.ladder import Candidate
from router.policyfile import BudgetConfig
from router.route import Route
from router.rules import CODE
from telemetry.clock import Clock
from telemetry.errors import BudgetExceeded
from telemetry.records import Decision

if TYPE_CHECKING:
    from router.exchange import Exchange
    from router.request import Request

CHEAPEST: Final = "cheapest"


class Entry(NamedTuple):
    """A budget, and the account of the subject whose spend it limits."""

    budget: BudgetConfig
    subject: str
    account: Account


class Lender(Protocol):
    """Where a process gets more of a limit than its own part; see ``router/lease.py``."""

    @property
    def away(self) -> bool:
        """Whether nothing can be had now."""
        ...

    def wake(self) -> None:
        """Hear that more of a limit is wanted soon."""
        ...

    async def lend(self, account: Account, amount: int, *, since: float) -> bool:
        """Return whether it is worth trying again; False when there is no room for ``amount``."""
        ...


@dataclass(slots=True, kw_only=True)
class Spending:
    """The budgets of one process."""

    ledger: Ledger = field(default_factory=Ledger)
    lender: Lender | None = None  # None: nobody else spends from the same limits

    def purse(self, exchange: "Exchange", asked: "Request", decision: Decision) -> "Purse | None":
        """Return what a step may spend; None when no budget applies."""
        file = exchange.loaded.policy.file
        if not file.budgets or not exchange.endpoint.inference:
            return None
        context = decision.context
        today = exchange.gateway.clock.now_ns() // DAY_NS
        entries = [
            Entry(budget, subject or "", self._account(budget, subject, today))
            for budget, subject in applying(file.budgets, context, session=asked.session)
        ]
        if not entries:
            return None
        return Purse(
            spending=self,
            entries=tuple(entries),
            route=exchange.loaded.policy.route(context),
            start=decision.arm.tier,
            size=size_of(
                asked.body,
                context.dialect,
                output_tokens_default=file.reservations.output_tokens,
            ),
            clock=exchange.gateway.clock,
            refused=lambda scope: exchange.gateway.meters.count(
                "tierwise_budget_refused_total", labels=(scope,)
            ),
        )

    def _account(self, budget: BudgetConfig, subject: str | None, today: int) -> Account:
        limit = pico(budget.usd)
        if budget.scope == "request" or subject is None:  # a step without a task is one of its own
            return Account(name=budget.scope, limit=limit, ceiling=limit, shared=False)
        day = today if budget.scope in DAILY else None
        name = "|".join(
            (budget.scope, budget.on_exhausted, budget.name or "*", str(day or ""), subject)
        )
        return self.ledger.account(name, limit=limit, day=day)


@dataclass(frozen=True, kw_only=True, slots=True)
class Purse:
    """What one step may spend."""

    spending: Spending
    entries: tuple[Entry, ...]
    route: Route
    start: str  # the tier that the decision chose
    size: Size
    clock: Clock
    refused: Callable[[str], None]

    def reserve(self, candidate: Candidate) -> Hold | None:
        """Hold back the most that asking ``candidate`` can cost; None when there is no room here.

        Where an exhausted budget says "cheapest", the tier that the step starts at and the
        cheapest tier are served all the same, and no other is.
        """
        held = self._reserve(candidate, self.bound(candidate))
        return held if isinstance(held, Hold) else None

    async def borrow(self, candidate: Candidate) -> Hold:
        """Hold back the same as soon as other processes give the room for it.

        Raises:
            BudgetExceeded: naming the budget that has no room.
        """
        amount, since = self.bound(candidate), self.clock.monotonic()
        held = self._reserve(candidate, amount)
        while not isinstance(held, Hold) and await self._lent(held, amount, since=since):
            held = self._reserve(candidate, amount)
        if isinstance(held, Hold):
            return held
        entry = next(entry for entry in self.entries if entry.account is held)
        self.refused(entry.budget.scope)
        lender = self.spending.lender
        raise _exceeded(
            entry, amount, now_ns=self.clock.now_ns(), away=lender is None or lender.away
        )

    def _reserve(self, candidate: Candidate, amount: int) -> Hold | Account:
        kept = candidate.tier in (self.start, _lowest(self.route))
        overdrawn = [
            entry.account
            for entry in self.entries
            if kept and entry.budget.on_exhausted == CHEAPEST
        ]
        held = self.spending.ledger.reserve(
            [entry.account for entry in self.entries], amount, overdrawn=overdrawn
        )
        lender = self.spending.lender
        if lender and any(entry.account.shared and entry.account.wants for entry in self.entries):
            lender.wake()
        return held

    async def _lent(self, account: Account, amount: int, *, since: float) -> bool:
        lender = self.spending.lender
        return lender is not None and await lender.lend(account, amount, since=since)

    def exhausted(self, candidate: Candidate) -> Entry | None:
        """Return the first budget that sends steps to the cheapest tier and has no room."""
        amount = self.bound(candidate)
        for entry in self.entries:
            if entry.budget.on_exhausted == CHEAPEST and not entry.account.fits(amount):
                return entry
        return None

    async def still_exhausted(self, candidate: Candidate) -> Entry | None:
        """Return the same once other processes have had the time to give room."""
        amount, since = self.bound(candidate), self.clock.monotonic()
        entry = self.exhausted(candidate)
        while entry is not None and await self._lent(entry.account, amount, since=since):
            entry = self.exhausted(candidate)
        return entry

    def bound(self, candidate: Candidate) -> int:
        """Return the most that asking ``candidate`` can cost, in picodollars."""
        return bound(self.route, candidate, self.size)


def _lowest(route: Route) -> str:
    """Return the cheapest tier that has a model."""
    return next((tier for tier in route.tiers if tier != CODE), route.tiers[0])


def _exceeded(entry: Entry, amount: int, *, now_ns: int, away: bool) -> BudgetExceeded:
    budget, account = entry.budget, entry.account
    spent = account.spent + account.elsewhere
    held = account.reserved + max(0, account.taken - account.elsewhere)
    name = budget.name or (entry.subject if budget.scope in DAILY else None) or None
    reset, retry_after = None, None
    if account.day is not None:
        ends_ns = (account.day + 1) * DAY_NS
        reset = datetime.fromtimestamp(ends_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        retry_after = max(1, -((now_ns - ends_ns) // 1_000_000_000))
    hint = f"wait until {reset}, or have" if reset else "lower its limit of output tokens, or have"
    hint += " [[budgets]] of policy.toml changed"
    if account.ceiling < account.limit and spent + account.reserved + amount <= account.limit:
        hint, retry_after = "the rest is held by other gateway workers: try again shortly", 1
        if away:
            hint += " (the collector is away, so none can have what another does not use)"
    whose = f"{budget.scope} {name!r}" if name else budget.scope
    return BudgetExceeded(
        f"the budget of this {whose} has {dollars(spent):.6g} of {budget.usd:.6g} US dollars spent "
        f"and {dollars(held):.6g} held for steps under way; "
        f"this step may cost up to {dollars(amount):.6g}",
        hint=hint,
        budget={
            "scope": budget.scope,
            "name": name,
            "spent": dollars(spent),
            "limit": budget.usd,
            "reset": reset,
        },
        retry_after_seconds=retry_after,
    )
