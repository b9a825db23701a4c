"""The ledger alone: in whatever order things happen, the limit holds and the sums are exact."""

from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from router.budget import Account, Hold, Ledger, dollars, pico

CENT = pico(0.01)


def account(limit: int = 100 * CENT) -> Account:
    return Account(name="a", limit=limit, ceiling=limit)


def held(ledger: Ledger, accounts: list[Account], amount: int) -> Hold:
    found = ledger.reserve(accounts, amount)
    assert isinstance(found, Hold)
    return found


def test_a_dollar_is_a_whole_number_of_picodollars() -> None:
    # 1,000 tokens at 0.075 dollars per million and 3 at 0.3: floats whose sums are not exact.
    assert pico(1_000 * 0.075e-6 + 3 * 0.3e-6) == 75_900_000
    assert dollars(75_900_000) == 0.0000759
    assert pico(0.1 + 0.2) == pico(0.3)


def test_exactly_the_limit_fits_and_one_cent_more_does_not() -> None:
    ledger, found = Ledger(), account()
    assert ledger.reserve([found], 101 * CENT) is found
    first = held(ledger, [found], 60 * CENT)
    assert ledger.reserve([found], 41 * CENT) is found
    held(ledger, [found], 40 * CENT)
    assert (found.reserved, found.headroom) == (100 * CENT, 0)
    assert ledger.reserve([found], 1) is found
    first.settle(10 * CENT)
    assert (found.spent, found.reserved, found.headroom) == (10 * CENT, 40 * CENT, 50 * CENT)


def test_what_costs_nothing_fits_into_a_spent_budget() -> None:
    ledger, found = Ledger(), account()
    held(ledger, [found], 100 * CENT).settle(None)
    assert isinstance(ledger.reserve([found], 0), Hold)


def test_an_unknown_cost_keeps_the_whole_reservation_spent() -> None:
    ledger, found = Ledger(), account()
    held(ledger, [found], 30 * CENT).settle(None)
    assert (found.spent, found.reserved) == (30 * CENT, 0)


def test_settling_twice_counts_once() -> None:
    ledger, found = Ledger(), account()
    hold = held(ledger, [found], 30 * CENT)
    hold.settle(5 * CENT)
    hold.settle(7 * CENT)
    assert (found.spent, found.reserved) == (5 * CENT, 0)


def test_a_cost_over_its_reservation_is_counted_whole() -> None:
    ledger, found = Ledger(), account(limit=10 * CENT)
    held(ledger, [found], 10 * CENT).settle(13 * CENT)
    assert found.spent == 13 * CENT
    assert found.headroom == 0
    assert ledger.reserve([found], 1) is found


def test_all_accounts_hold_the_amount_or_none_does() -> None:
    ledger = Ledger()
    wide, narrow = account(), account(limit=5 * CENT)
    assert ledger.reserve([wide, narrow], 6 * CENT) is narrow
    assert (wide.reserved, narrow.reserved) == (0, 0)
    held(ledger, [wide, narrow], 5 * CENT)
    assert (wide.reserved, narrow.reserved) == (5 * CENT, 5 * CENT)


def test_an_overdrawn_account_takes_what_does_not_fit() -> None:
    ledger, soft, hard = Ledger(), account(limit=CENT), account(limit=5 * CENT)
    assert isinstance(ledger.reserve([soft, hard], 5 * CENT, overdrawn=[soft]), Hold)
    assert soft.reserved == 5 * CENT
    assert ledger.reserve([soft, hard], 1, overdrawn=[soft]) is hard


def test_a_process_opens_an_account_with_its_share() -> None:
    ledger = Ledger(shares=4)
    found = ledger.account("s", limit=100)
    assert (found.limit, found.ceiling) == (100, 25)
    assert ledger.account("s", limit=100) is found


@pytest.mark.parametrize(("needed", "ceiling"), [(0, 30), (40, 30), (75, 25), (200, 10)])
def test_what_is_kept_for_steps_to_come_gives_way_to_steps_that_wait_elsewhere(
    needed: int, ceiling: int
) -> None:
    ledger = Ledger()
    found = ledger.account("s", limit=100)
    assert isinstance(ledger.reserve([found], 10), Hold)
    found.give_back(needed=needed)  # of 90 unused, twice the latest step is kept
    assert found.ceiling == ceiling


def test_a_process_asks_for_as_much_as_its_steps_take_until_the_answer_is_there() -> None:
    ledger = Ledger(shares=100)
    found = ledger.account("s", limit=1_000_000)  # a hundredth of it: 10,000
    for _ in range(900):
        hold = ledger.reserve([found], 10)
        assert isinstance(hold, Hold)
        hold.settle(10)
    # 9,000 went since the last report, which counts as two steps of 4,500: 1,000 are left of the
    # four that should be, and eight are asked for.
    assert found.wants == 8 * 4_500 - 1_000
    found.reported()
    found.reported()
    assert found.wants == 0


def test_what_is_spent_elsewhere_is_no_room_whatever_the_ceiling() -> None:
    ledger = Ledger(shares=2)
    found = ledger.account("s", limit=100)
    found.elsewhere = 60
    assert not found.is_full(40)
    assert found.is_full(41)


@pytest.mark.parametrize(("limit", "ceiling"), [(200, 100), (60, 30), (1, 0)])
def test_a_changed_limit_moves_the_share_with_it(limit: int, ceiling: int) -> None:
    ledger = Ledger(shares=2)
    ledger.account("s", limit=100)
    assert ledger.account("s", limit=limit).ceiling == ceiling


def test_the_least_recently_used_session_is_forgotten_unless_it_holds_something() -> None:
    ledger = Ledger(lasting_max=3)
    opened = {name: ledger.account(name, limit=100) for name in "abc"}
    held(ledger, [opened["a"]], 10)
    ledger.account("b", limit=100)
    ledger.account("d", limit=100)
    # Oldest first: a is under way and stays, c was not used since, b was.
    assert set(ledger.lasting) == {"a", "b", "d"}
    assert "c" not in ledger.dirty


def test_days_before_yesterday_are_dropped_and_no_session_pushes_a_day_out() -> None:
    ledger = Ledger(lasting_max=1)
    for day in (10, 11, 12):
        ledger.account(f"day {day}", limit=1, day=day)
    for session in "abc":
        ledger.account(session, limit=1)
    assert set(ledger.daily) == {"day 11", "day 12"}


class Money(RuleBasedStateMachine):
    """Reserve, settle, cancel and move ceilings in any order over three accounts."""

    holds: Bundle[Hold | None] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(shares=2)
        self.accounts = [self.ledger.account(name, limit=1_000) for name in "xyz"]
        self.spent = dict.fromkeys("xyz", 0)
        self.reserved = dict.fromkeys("xyz", 0)

    @rule(target=holds, which=st.sets(st.integers(0, 2), min_size=1), amount=st.integers(0, 600))
    def reserve(self, which: set[int], amount: int) -> Hold | None:
        chosen = [self.accounts[index] for index in sorted(which)]
        room = all(
            amount == 0 or self.spent[a.name] + self.reserved[a.name] + amount <= a.ceiling
            for a in chosen
        )
        found = self.ledger.reserve(chosen, amount)
        assert isinstance(found, Hold) == room
        if not isinstance(found, Hold):
            return None
        for one in chosen:
            self.reserved[one.name] += amount
        return found

    @rule(hold=consumes(holds), share=st.fractions(0, 1))
    def settle(self, hold: Hold | None, share: Fraction) -> None:
        if hold is not None:
            self._settle(hold, int(hold.amount * share))

    @rule(hold=consumes(holds))
    def lose_sight(self, hold: Hold | None) -> None:
        if hold is not None:
            self._settle(hold, None)

    def _settle(self, hold: Hold, cost: int | None) -> None:
        hold.settle(cost)
        hold.settle(0)
        for one in hold.accounts:
            self.reserved[one.name] -= hold.amount
            self.spent[one.name] += hold.amount if cost is None else cost

    @rule(index=st.integers(0, 2), more=st.integers(0, 500))
    def grant(self, index: int, more: int) -> None:
        found = self.accounts[index]
        found.ceiling = min(found.limit, found.ceiling + more)

    @rule(index=st.integers(0, 2))
    def give_back(self, index: int) -> None:
        before = self.accounts[index].ceiling
        self.accounts[index].give_back()
        assert self.accounts[index].ceiling <= before

    @invariant()
    def sums_are_exact_and_within_the_limit(self) -> None:
        for one in self.accounts:
            assert one.spent == self.spent[one.name]
            assert one.reserved == self.reserved[one.name] >= 0
            assert one.used <= one.ceiling <= one.limit


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
