"""Revisions: what is submitted, what stands, and who hears of it."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import holds
from collector.auditlog import Deed
from collector.desk import Desk
from collector.holds import Hold
from collector.refusals import Refusal
from collector.revisions import Revisions
from learning.revision import Revision
from learning.standing import parse
from telemetry.clock import ManualClock
from telemetry.records import Arm, OnFail
from tests.collector.conftest import Start

SECOND = 10**9


def revision(small: float, *, parent: str | None = None, cell: str = "worker||") -> Revision:
    shares = {cell: {"small/step": small, "mid/step": 1.0 - small}}
    return Revision(policy_hash="p1", parent=parent, shares=shares, evidence={})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "t.desk")
    yield made
    made.close()


@pytest.fixture
def revisions(desk: Desk, clock: ManualClock) -> Revisions:
    return Revisions(desk, clock)


def submit(revisions: Revisions, found: Revision, *, activate: bool = True, **named: Any) -> str:
    given: dict[str, Any] = {"author": "learner", "trigger": "tick", "note": {}} | named
    return revisions.submit(found, now_ns=revisions.clock.now_ns(), activate=activate, **given)


def hold(revisions: Revisions, kind: Any, role: str, **named: Any) -> None:
    now_ns = revisions.clock.now_ns()
    given: dict[str, Any] = {"arm": None, "until_ns": None, "owner": "ada", "reason": "r"} | named
    with revisions.desk.transaction() as change:
        held = Hold(kind=kind, role=role, since_ns=now_ns, **given)
        holds.put(change, held, Deed(actor="ada", at_ns=now_ns))
    revisions.wake()


def test_the_declared_policy_stands_until_something_is_activated(revisions: Revisions) -> None:
    found = revisions.active()
    assert found.standing.revision is None
    assert (found.activated_ns, found.frozen, found.name) == (None, frozenset(), "declared")


def test_an_activated_revision_stands_and_survives_reopening(
    revisions: Revisions, clock: ManualClock, desk: Desk
) -> None:
    first = revision(0.2)
    assert submit(revisions, first) == "active"
    assert revisions.active().standing.revision == first
    assert revisions.active().activated_ns == clock.now_ns()
    assert Revisions(desk, clock).active() == revisions.active()


def test_a_proposal_is_not_served_and_a_later_one_supersedes_it(revisions: Revisions) -> None:
    first, second = revision(0.2), revision(0.3)
    assert submit(revisions, first, activate=False) == "proposed"
    assert revisions.active().standing.revision is None
    assert submit(revisions, second, activate=False) == "proposed"
    assert submit(revisions, second, activate=False) == "proposed"  # once more: nothing happens
    assert submit(revisions, second) == "active"  # the role may be moved without asking by now


def test_one_that_left_the_queue_unserved_comes_back_and_the_other_leaves(
    revisions: Revisions, desk: Desk
) -> None:
    first, second = revision(0.2), revision(0.3)
    for each in (first, second, first):
        assert submit(revisions, each, activate=False) == "proposed"
    rows = desk.rows("SELECT id, status FROM revisions ORDER BY number")
    assert [(row["id"], row["status"]) for row in rows] == [
        (first.revision_id, "proposed"),
        (second.revision_id, "superseded"),
    ]


def test_a_person_s_proposal_is_not_superseded_by_the_learner(revisions: Revisions) -> None:
    mine = revision(0.2)
    submit(revisions, mine, activate=False, author="ada")
    submit(revisions, revision(0.3), activate=False)
    assert submit(revisions, mine, activate=False, author="ada") == "proposed"


def test_the_same_revision_twice_changes_nothing(revisions: Revisions, clock: ManualClock) -> None:
    submit(revisions, revision(0.2))
    before = revisions.active()
    clock.advance(5)
    assert submit(revisions, revision(0.2)) == "active"
    assert revisions.active() == before


def test_a_revision_whose_parent_is_not_in_force_is_refused_and_leaves_nothing(
    revisions: Revisions, desk: Desk
) -> None:
    submit(revisions, revision(0.2))
    before = desk.rows("SELECT * FROM revisions")
    with pytest.raises(Refusal, match="is in force") as caught:
        submit(revisions, revision(0.4, parent="0" * 16))
    assert caught.value.code == "stale_base"
    assert desk.rows("SELECT * FROM revisions") == before


def test_a_frozen_role_is_not_moved_but_may_fall_back(revisions: Revisions) -> None:
    first = revision(0.2)
    submit(revisions, first)
    hold(revisions, "freeze", "worker")
    assert revisions.active().frozen == {"worker"}
    assert submit(revisions, revision(0.4, parent=first.revision_id)) == "proposed"
    fallen = Revision(policy_hash="p1", parent=first.revision_id, shares={}, evidence={})
    assert submit(revisions, fallen) == "active"


def test_a_freeze_of_one_role_leaves_the_others_to_move(revisions: Revisions) -> None:
    hold(revisions, "freeze", "planner")
    assert submit(revisions, revision(0.2)) == "active"
    hold(revisions, "freeze", "*")
    second = revision(0.3, parent=revision(0.2).revision_id)
    assert submit(revisions, second) == "proposed"


def test_a_pin_stands_until_its_time_is_over(revisions: Revisions, clock: ManualClock) -> None:
    pinned = Arm(tier="mid", on_fail=OnFail.STEP)
    hold(revisions, "pin", "worker", arm="mid/step", until_ns=clock.now_ns() + 60 * SECOND)
    assert revisions.active().standing.pins == {"worker": pinned}
    clock.advance(60)
    assert revisions.active().standing.pins == {}
    revisions.sweep(clock.now_ns())
    ended = revisions.desk.row("SELECT * FROM audit_log ORDER BY sequence DESC")
    assert ended is not None
    assert (ended["actor"], ended["action"], ended["subject"]) == ("expiry", "unpin", "worker")


def test_whoever_waits_hears_of_a_change_at_once(revisions: Revisions) -> None:
    etag = revisions.active().standing.etag
    heard: list[str] = []
    waiting = threading.Thread(
        target=lambda: heard.append(revisions.wait(etag, seconds=30.0).name), daemon=True
    )
    waiting.start()
    first = revision(0.2)
    submit(revisions, first)
    waiting.join(timeout=10)
    assert heard == [first.revision_id]


async def test_tasks_wait_without_threads_and_hear_of_a_change(revisions: Revisions) -> None:
    etag = revisions.active().standing.etag
    waiting = [asyncio.create_task(revisions.wait_async(etag, seconds=30.0)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(submit, revisions, revision(0.2))
    heard = await asyncio.wait_for(asyncio.gather(*waiting), timeout=10)
    assert {found.name for found in heard} == {revision(0.2).revision_id}


async def test_closing_answers_everybody_who_waits(revisions: Revisions) -> None:
    etag = revisions.active().standing.etag
    waiting = asyncio.create_task(revisions.wait_async(etag, seconds=30.0))
    await asyncio.sleep(0)
    revisions.close()
    assert (await asyncio.wait_for(waiting, timeout=10)).name == "declared"


async def test_gateways_fetch_the_standing_policy_and_304_when_it_is_theirs(start: Start) -> None:
    running = await start(token="s3cret")
    address = running.console + "/api/policy/active"
    async with running.session.get(address) as answer:
        assert answer.status == 401
    shown = {"authorization": "Bearer s3cret"}
    async with running.session.get(address, headers=shown) as answer:
        assert answer.status == 200
        found = parse(await answer.text())
        assert answer.headers["etag"] == found.etag
    async with running.session.get(
        address, headers={**shown, "if-none-match": found.etag}, params={"wait": "0.05"}
    ) as answer:
        assert answer.status == 304
        assert await answer.read() == b""
    async with running.session.get(
        address, headers={**shown, "if-none-match": f"W/{found.etag}"}
    ) as answer:
        assert answer.status == 304
    async with running.session.get(address, headers=shown, params={"wait": "31"}) as answer:
        assert answer.status == 422


def test_nobody_waits_for_one_who_wakes_while_holding_the_desk(revisions: Revisions) -> None:
    asked = threading.Thread(target=revisions.active, daemon=True)
    with revisions.desk.transaction():
        asked.start()  # wants the desk
        revisions.wake()  # wants what a reader of the desk might hold
    asked.join(timeout=10)
    assert not asked.is_alive()
