"""The shared ledger: whatever workers say and in whatever order, the limit is not given away."""

import io
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from collector.budgets import EXPIRES_SECONDS, WAKING_SECONDS, Budgets, Keeper, Stale
from telemetry.leases import PATH, Answer, Claim, Report
from tests.collector.conftest import Start

AWAKE = WAKING_SECONDS
TODAY = 20_000
A, B, C = "worker-a", "worker-b", "worker-c"
LIMIT = 1_000


class Desk:
    """A ledger, with workers that number their reports."""

    def __init__(self, *, shares: int = 2) -> None:
        self.ledger = Budgets(epoch="e", now=0.0)
        self.now = AWAKE
        self.shares = shares
        self._numbers: dict[str, itertools.count[int]] = {}

    def say(self, worker: str, *claims: Claim, epoch: str = "e", **more: Any) -> Answer:
        number = next(self._numbers.setdefault(worker, itertools.count(1)))
        said = Report(
            worker=worker, number=number, epoch=epoch, shares=self.shares,
            shares_min=self.shares, claims=claims, **more,
        )  # fmt: skip
        return self.ledger.report(said, now=self.now, today=TODAY)


def claim(
    spent: int = 0,
    *,
    ceiling: int = 500,
    wants: int = 0,
    reserved: int = 0,
    day: int | None = TODAY,
    waiting: tuple[int, ...] = (),
) -> Claim:
    return Claim(
        account="day", limit=LIMIT, day=day, spent=spent, reserved=reserved, ceiling=ceiling,
        wants=wants, needs=sum(waiting), least=min(waiting, default=0),
    )  # fmt: skip


def more(answer: Answer) -> int:
    (grant,) = answer.grants
    return grant.more


def test_a_worker_alone_may_have_all_of_it() -> None:
    desk = Desk()
    assert more(desk.say(A, claim(400, wants=500))) == 500
    assert more(desk.say(A, claim(900, ceiling=1_000, wants=100))) == 0


def test_the_share_of_a_worker_that_has_not_spoken_of_an_account_is_kept_free() -> None:
    desk = Desk()
    desk.say(B)
    assert more(desk.say(A, claim(400, wants=500))) == 0


def test_what_a_worker_holds_and_does_not_use_is_asked_back_for_another() -> None:
    desk = Desk()
    desk.say(A, claim(400))
    desk.say(B, claim(100))
    assert more(desk.say(A, claim(480, wants=200))) == 0
    (notice,) = desk.say(B, claim(100)).notices
    assert (notice.account, notice.ceiling) == ("day", None)
    assert desk.say(B, claim(100, ceiling=150)).notices != ()
    # 1,000 less 500 of A and 150 of B.
    answer = desk.say(A, claim(480, wants=200))
    assert more(answer) == 200
    assert answer.grants[0].elsewhere == 100
    assert more(desk.say(A, claim(690, ceiling=700, wants=200))) == 150
    assert more(desk.say(A, claim(850, ceiling=850, wants=200))) == 0


def test_what_is_too_little_for_any_waiting_step_is_left_to_others() -> None:
    desk = Desk()
    desk.say(B, claim(460, ceiling=460))
    assert more(desk.say(A, claim(490, ceiling=490, wants=100, waiting=(60,)))) == 0
    assert more(desk.say(A, claim(490, ceiling=490, wants=100, waiting=(50,)))) == 50


def test_while_steps_of_others_wait_nobody_gets_more_than_its_own_waiting_steps_need() -> None:
    desk = Desk()
    desk.say(B, claim(300, ceiling=300))
    assert more(desk.say(A, claim(500, wants=300, waiting=(300,)))) == 0
    (notice,) = desk.say(B, claim(300, ceiling=400)).notices
    assert notice.needed == 300
    assert more(desk.say(B, claim(300, ceiling=300, wants=100))) == 0
    assert more(desk.say(B, claim(300, ceiling=300, wants=150, waiting=(40, 40)))) == 80


def test_a_worker_hears_what_others_hold_and_how_long_ago_they_said_so() -> None:
    desk = Desk()
    desk.say(C)
    desk.now += 0.2
    desk.say(B, claim(100, reserved=30))
    desk.now += 0.1
    (grant,) = desk.say(A, claim(400)).grants
    assert (grant.elsewhere, grant.taken) == (100, 130)
    assert grant.age_seconds == pytest.approx(0.3)  # C may hold something by now
    desk.say(C)
    (grant,) = desk.say(A, claim(400)).grants
    assert grant.age_seconds == pytest.approx(0.1)


def test_a_wish_is_forgotten_when_it_is_not_repeated() -> None:
    desk = Desk()
    desk.say(B, claim())
    desk.say(A, claim(wants=600))
    desk.now += 3.0
    assert desk.say(B, claim()).notices == ()


def test_nothing_is_granted_until_all_workers_had_time_to_speak() -> None:
    desk = Desk()
    desk.now = AWAKE - 0.1
    assert more(desk.say(A, claim(wants=300))) == 0
    desk.now = AWAKE
    assert more(desk.say(A, claim(wants=300))) == 300


def test_a_worker_that_vanished_keeps_what_it_used_and_not_what_it_held() -> None:
    desk = Desk()
    desk.say(B, claim(100, reserved=30))
    desk.now += EXPIRES_SECONDS
    assert more(desk.say(A, claim(wants=500))) == 0
    desk.now += 0.1
    assert more(desk.say(A, claim(wants=500))) == 370


def test_a_worker_that_leaves_gives_all_it_did_not_spend_to_others() -> None:
    desk = Desk()
    desk.say(B, claim(100), leaving=True)
    answer = desk.say(A, claim(wants=500))
    assert (more(answer), answer.grants[0].elsewhere) == (400, 100)
    assert answer.workers == 1


def test_a_report_that_arrives_after_the_good_bye_counts_nothing_twice() -> None:
    desk = Desk()
    desk.say(B, claim(100), leaving=True)
    with pytest.raises(Stale):
        desk.say(B, claim(100))
    assert desk.ledger.spent("day") == 100
    assert desk.say(A).workers == 1


def test_a_worker_that_starts_hears_what_others_have_spent() -> None:
    desk = Desk()
    desk.say(A, claim(900, ceiling=900), leaving=True)
    first = desk.say(B, epoch="")
    second = desk.say(C, epoch="")
    # Half of the 100 that are left, each.
    assert [n.ceiling for n in (*first.notices, *second.notices)] == [50, 50]


def test_a_worker_that_began_to_spend_without_knowing_hears_how_far_it_may_go() -> None:
    desk = Desk()
    desk.say(A, claim(400, ceiling=400), leaving=True)
    desk.say(C)  # it has not spoken of the account: its share of 500 is kept free
    (notice,) = desk.say(B, claim(10, reserved=5, ceiling=500), epoch="").notices
    assert notice.ceiling == 1_000 - 400 - 500
    (notice,) = desk.say(C, claim(0, ceiling=500), epoch="").notices
    assert notice.ceiling == 1_000 - 400 - 500  # B has not said yet that it goes no further
    desk.say(B, claim(15, ceiling=100))
    assert desk.say(C, claim(0, ceiling=500), epoch="").notices == ()


def test_a_worker_that_missed_the_first_answer_hears_it_again() -> None:
    desk = Desk()
    desk.say(A, claim(900, ceiling=900), leaving=True)
    desk.say(B, epoch="")
    assert [n.ceiling for n in desk.say(B, epoch="").notices] == [50]
    assert desk.say(B, claim(0, ceiling=50)).notices == ()


def test_a_report_that_was_overtaken_is_refused() -> None:
    ledger = Budgets(epoch="e", now=0.0)
    second, first = (Report(worker=A, number=n, shares=1, shares_min=1) for n in (2, 1))
    ledger.report(second, now=9.0, today=TODAY)
    with pytest.raises(Stale):
        ledger.report(first, now=9.0, today=TODAY)


def test_the_day_before_yesterday_is_dropped_and_a_far_day_is_not_believed() -> None:
    desk = Desk()
    assert desk.say(A, claim(5, day=TODAY + 2), claim(5, day=TODAY - 2)).grants == ()
    desk.say(A, claim(7))
    later = Report(worker=A, number=99, epoch="e", shares=1, shares_min=1)
    desk.ledger.report(later, now=desk.now, today=TODAY + 1)
    assert desk.ledger.spent("day") == 7
    desk.ledger.report(msgspec.structs.replace(later, number=100), now=desk.now, today=TODAY + 2)
    assert desk.ledger.spent("day") == 0


def test_a_ledger_that_starts_again_knows_what_was_spent_and_counts_no_worker_twice() -> None:
    desk = Desk()
    desk.say(C, claim(50), leaving=True)
    desk.say(A, claim(100, reserved=30))
    desk.say(B, claim(200))
    again = Desk()
    again.ledger.load(json.loads(json.dumps(desk.ledger.dump())))
    assert again.ledger.spent("day") == 350
    again.say(A, claim(110, ceiling=140), epoch="old")
    assert again.ledger.spent("day") == 360
    # 1,000 less 50 of the past, 200 of B, which is silent, and 140 of A.
    assert more(again.say(A, claim(110, ceiling=140, wants=1_000))) == 610


class Workers(RuleBasedStateMachine):
    """Three workers that spend up to their ceilings, ask, give back, leave and lose answers."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk(shares=3)
        self.ceilings = dict.fromkeys((A, B, C), LIMIT // 3)
        self.spent = dict.fromkeys((A, B, C), 0)
        for worker in (A, B, C):
            self.desk.say(worker)

    @rule(worker=st.sampled_from((A, B, C)), amount=st.integers(0, 400))
    def spend(self, worker: str, amount: int) -> None:
        if self.spent[worker] + amount <= self.ceilings[worker]:
            self.spent[worker] += amount

    @rule(worker=st.sampled_from((A, B, C)), wants=st.integers(0, 800), lost=st.booleans())
    def talk(self, worker: str, wants: int, lost: bool) -> None:
        said = claim(self.spent[worker], ceiling=self.ceilings[worker], wants=wants)
        answer = self.desk.say(worker, said)
        if lost:
            return
        self.ceilings[worker] += more(answer)
        for _ in answer.notices:
            self.ceilings[worker] = self.spent[worker]

    @rule(seconds=st.floats(0.1, 3.0))
    def wait(self, seconds: float) -> None:
        self.desk.now += seconds
        for worker in (A, B, C):  # nobody is silent for so long that it counts as gone
            self.desk.say(worker, claim(self.spent[worker], ceiling=self.ceilings[worker]))

    @invariant()
    def no_more_than_the_limit_may_be_spent(self) -> None:
        assert sum(self.ceilings.values()) <= LIMIT
        assert sum(self.spent.values()) <= LIMIT


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Over the console's port -----------------------------------------------------------------------


async def test_a_file_that_cannot_be_read_is_left_out_of_account(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "budgets.json"
    path.write_text('{"day": 7}')
    ledger = Budgets(epoch="e", now=0.0)
    Keeper(ledger, path)
    assert ledger.spent("day") == 0
    assert "cannot be read" in caplog.text


def body(number: int, *claims: Claim, **more: Any) -> bytes:
    return msgspec.json.encode(
        Report(worker=A, number=number, shares=1, shares_min=1, claims=claims, **more)
    )


async def test_spend_outlives_the_collector(start: Start, tmp_path: Path) -> None:
    first = await start()
    today = first.clock.now_ns() // 86_400_000_000_000
    async with first.session.post(
        first.console + PATH, data=body(1, claim(700, ceiling=900, day=today), leaving=True)
    ) as answer:
        assert answer.status == 200
    (kept,) = tmp_path.glob("*.budgets.json")
    assert json.loads(kept.read_text())["day"]["past"] == 700
    ledger = Budgets(epoch="e", now=0.0)
    Keeper(ledger, kept)
    assert ledger.spent("day") == 700


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{}", 422),
        (b"nonsense", 422),
        (b'{"worker": "worker-a", "number": 0, "shares": 1, "shares_min": 1}', 422),
        (body(1).replace(b'"shares":1', b'"shares":-1'), 422),
        (b" " * 4_194_305, 413),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused(
    start: Start, content: bytes, status: int
) -> None:
    running = await start()
    async with running.session.post(running.console + PATH, data=io.BytesIO(content)) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["type"] == "invalid_request"


async def test_only_who_shows_the_collectors_token_may_report(start: Start) -> None:
    running = await start(token="s3cret-token")
    for headers, status in (({}, 401), ({"authorization": "Bearer s3cret-token"}, 200)):
        async with running.session.post(
            running.console + PATH, data=body(1), headers=headers
        ) as answer:
            assert answer.status == status
