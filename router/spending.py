"""Budgets in the request path: which ones a step counts towards, and what it may still do.

Before an attempt the most it can cost is reserved on every budget that applies; afterwards what it
did cost replaces the reservation. Only numbers of this process are touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from router.allowance import DAILY, Size, applying, bound, size_of
from router.budget import DAY_NS, Account, Hold, Ledger, dollars, pico
from router.ladder import Candidate, first
from router.policy import DECLARED
from router.policyfile import BudgetConfig
from router.route import Route, sensible
from router.rules import CODE
from telemetry.errors import BudgetExceeded
from telemetry.records import Arm, Decision, OnFail, Reason

if TYPE_CHECKING:
    from router.exchange import Exchange
    from router.request import Request

CHEAPEST: Final = "cheapest"


class Entry(NamedTuple):
    """A budget, and the account of the subject whose spend it limits."""

    budget: BudgetConfig
    subject: str
    account: Account


@dataclass(slots=True, kw_only=True)
class Spending:
    """The budgets of one process."""

    ledger: Ledger = field(default_factory=Ledger)
    awaken: Callable[[], None] = lambda: None  # told when more of a limit is wanted soon

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
            now_ns=exchange.gateway.clock.now_ns,
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
    now_ns: Callable[[], int]
    refused: Callable[[str], None]

    def reserve(self, candidate: Candidate) -> Hold:
        """Hold back the most that asking ``candidate`` can cost.

        Where an exhausted budget says "cheapest", the tier that the step starts at and the
        cheapest tier are served all the same, and no other is.

        Raises:
            BudgetExceeded: naming the budget that has no room.
        """
        amount = self.bound(candidate)
        kept = candidate.tier in (self.start, _lowest(self.route))
        overdrawn = [
            entry.account
            for entry in self.entries
            if kept and entry.budget.on_exhausted == CHEAPEST
        ]
        held = self.spending.ledger.reserve(
            [entry.account for entry in self.entries], amount, overdrawn=overdrawn
        )
        if any(entry.account.shared and entry.account.wants for entry in self.entries):
            self.spending.awaken()
        if isinstance(held, Hold):
            return held
        entry = next(entry for entry in self.entries if entry.account is held)
        self.refused(entry.budget.scope)
        raise _exceeded(entry, amount, now_ns=self.now_ns())

    def exhausted(self, candidate: Candidate) -> Entry | None:
        """Return the first budget that sends steps to the cheapest tier and has no room."""
        amount = self.bound(candidate)
        for entry in self.entries:
            if entry.budget.on_exhausted == CHEAPEST and not entry.account.fits(amount):
                return entry
        return None

    def bound(self, candidate: Candidate) -> int:
        """Return the most that asking ``candidate`` can cost, in picodollars."""
        return bound(self.route, candidate, self.size)


def lowered(exchange: "Exchange", asked: "Request", decision: Decision) -> Decision:
    """Return ``decision``, or the one for the cheapest tier where a spent budget asks for it.

    Also gives ``exchange`` its purse. What was drawn before does not count any more, so the
    propensity is exactly 1.
    """
    purse = exchange.purse = exchange.gateway.spending.purse(exchange, asked, decision)
    if purse is None:
        return decision
    spent = purse.exhausted(first(purse.route, decision.arm))
    if spent is None:
        return decision
    exchange.gateway.meters.count("tierwise_budget_cheapest_total", labels=(spent.budget.scope,))
    tiers = purse.route.tiers
    if len(tiers) == 1:
        return decision
    arm = sensible(Arm(tier=tiers[0], on_fail=OnFail.ACCEPT), tiers)
    exchange.purse = replace(purse, start=arm.tier)
    return replace(decision, arm=arm, propensity=1.0, reason=Reason.BUDGET, revision=DECLARED)


def _lowest(route: Route) -> str:
    """Return the cheapest tier that has a model."""
    return next((tier for tier in route.tiers if tier != CODE), route.tiers[0])


def _exceeded(entry: Entry, amount: int, *, now_ns: int) -> BudgetExceeded:
    budget, account = entry.budget, entry.account
    spent = account.spent + account.elsewhere
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
    whose = f"{budget.scope} {name!r}" if name else budget.scope
    return BudgetExceeded(
        f"the budget of this {whose} has {dollars(spent):.6g} of {budget.usd:.6g} US dollars spent "
        f"and {dollars(account.reserved):.6g} held for steps under way; "
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
