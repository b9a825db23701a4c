"""A proposal waits for its readers while evidence goes on arriving."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import proposals, revision_book
from collector.auditlog import Deed
from collector.refusals import Refusal
from collector.review import refuse_closed
from collector.revision_book import LEARNER, Record, Status
from tests.collector.teaching import World, role_terms, terms

GOOD = {("good", "small"): 0.93, ("good", "frontier"): 0.95}

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(**more: Any) -> World:
        policy = terms(role_terms("good", learn="propose"), step_max=1.0, dwell_seconds=0.0)
        made.append(World(tmp_path, policy, dict(GOOD), **more))
        return made[-1]

    yield world
    for each in made:
        each.close()


def records(world: World) -> list[Record]:
    """Every revision, oldest first."""
    with world.desk.transaction() as change:
        return list(reversed(revision_book.page(change, limit=100)))


def approve(world: World, record: Record) -> None:
    """Put a proposal in force as a person does."""
    with world.desk.transaction() as change:
        deed = Deed(actor="ada", at_ns=world.clock.now_ns(), reason="read")
        revision_book.put_in_force(change, record, deed, action="approve", rollout=1.0)
    world.revisions.wake()


def waits(world: World) -> Record:
    """The one proposal that nobody has decided on."""
    (found,) = [each for each in records(world) if each.status is Status.PROPOSED]
    return found


def daring(make: Make) -> World:
    """A world whose proposal is to serve every step by the small tier alone."""
    world = make()
    world.run(["good"], ticks=1, count=200)
    approve(world, waits(world))
    world.run(["good"], ticks=1, count=900)
    assert waits(world).revision.shares["good||plain"] == {"small/accept": 1.0}
    return world


def test_a_proposal_stands_for_its_readers_while_evidence_arrives(make: Make) -> None:
    world = make()
    world.run(["good"], ticks=1, count=200)
    approve(world, waits(world))
    world.run(["good"], ticks=1, count=150)
    read = waits(world)
    reports = world.run(["good"], ticks=5, count=150)
    assert [report["submitted"] for report in reports] == [{}] * 5
    approve(world, read)
    assert world.start_small("good") > 0.9


def test_after_an_hour_one_that_differs_by_a_tenth_of_a_cell_takes_its_place(make: Make) -> None:
    world = make()
    world.run(["good"], ticks=1, count=200)
    approve(world, waits(world))
    world.run(["good"], ticks=1, count=150)
    first = waits(world)
    world.run(["good"], ticks=3, count=900)
    assert waits(world).id == first.id
    world.clock.advance(proposals.STANDS_NS / 1e9)
    world.tick()
    second = waits(world)
    before, after = (each.revision.shares["good||plain"] for each in (first, second))
    moved = sum(max(after.get(arm, 0.0) - share, 0.0) for arm, share in before.items())
    moved += sum(share for arm, share in after.items() if arm not in before)
    assert moved >= proposals.NEWS_MIN
    (over,) = [each for each in records(world) if each.id == first.id]
    assert (over.status, over.reason) == (Status.SUPERSEDED, "a later proposal took its place")


def test_one_whose_floor_is_no_longer_proven_is_withdrawn_at_once_and_says_why(make: Make) -> None:
    world = daring(make)
    read = waits(world)
    world.truth["good", "small"] = 0.3
    report = world.run(["good"], ticks=1, count=150)[-1]
    assert report["submitted"][read.id] == "withdrawn"
    (over,) = [each for each in records(world) if each.id == read.id]
    assert over.status is Status.SUPERSEDED
    assert over.reason is not None
    assert over.reason.startswith("by now quality of good is proven to be at least 0.")
    row = world.desk.row("SELECT actor, reason FROM audit_log WHERE action = 'withdraw'")
    assert row is not None
    assert (row["actor"], row["reason"]) == ("learner", over.reason)
    with pytest.raises(Refusal, match="is superseded \\(by now quality of good"):
        refuse_closed(over)


def test_a_firing_quality_alert_withdraws_it_and_it_comes_again_afterwards(make: Make) -> None:
    world = daring(make)
    read = waits(world)
    world.unsafe = frozenset({"good"})
    assert world.tick()["submitted"][read.id] == "withdrawn"
    assert waits(world).revision.shares == {}  # back to the table
    assert world.tick()["submitted"] == {}
    world.unsafe = frozenset()
    world.clock.advance(proposals.STANDS_NS / 1e9)
    world.tick()
    assert waits(world).revision.shares == read.revision.shares


def test_one_that_comes_again_has_its_whole_hour_again(make: Make) -> None:
    world = make()
    world.run(["good"], ticks=1, count=200)
    read = waits(world)
    with world.desk.transaction() as change:
        now_ns = world.clock.now_ns()
        proposals.withdraw(change, read, reason="it is not aimed at", now_ns=now_ns)
    world.clock.advance(proposals.STANDS_NS / 1e9)
    now_ns = world.clock.now_ns()
    world.revisions.submit(
        read.revision, author=LEARNER, trigger="tick", now_ns=now_ns, activate=False, note={}
    )
    again = waits(world)
    assert again.id == read.id
    assert not proposals.rested(again, now_ns=now_ns + proposals.STANDS_NS - 1)
    assert proposals.rested(again, now_ns=now_ns + proposals.STANDS_NS)


def test_one_that_follows_on_what_is_no_longer_in_force_makes_room(make: Make) -> None:
    world = daring(make)
    read = waits(world)
    with world.desk.transaction() as change:
        deed = Deed(actor="ada", at_ns=world.clock.now_ns(), reason="no")
        revision_book.put_in_force(change, None, deed, action="rollback", rollout=1.0)
    world.revisions.wake()
    assert world.tick()["submitted"][read.id] == "withdrawn"
    (over,) = [each for each in records(world) if each.id == read.id]
    assert over.reason is not None
    assert over.reason.endswith("but declared is in force")
    assert waits(world).revision.parent is None


def test_a_rejected_one_comes_not_again_until_something_else_is_aimed_at(make: Make) -> None:
    world = make()
    world.run(["good"], ticks=1, count=200)
    read = waits(world)
    with world.desk.transaction() as change:
        deed = Deed(actor="ada", at_ns=world.clock.now_ns(), reason="not now")
        revision_book.move(change, read, deed, to=Status.REJECTED, action="reject")
    reports = world.run(["good"], ticks=3, count=150)
    assert [report["submitted"] for report in reports] == [{}] * 3
