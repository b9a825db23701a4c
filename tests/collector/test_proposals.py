"""A proposal waits for its readers while evidence goes on arriving."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import auditlog, proposals, revision_book
from collector.auditlog import Deed
from collector.refusals import Refusal
from collector.review import refuse_closed
from collector.revision_book import LEARNER, Record, Status
from collector.revisions import moved_cells
from learning.revision import Revision
from tests.collector.teaching import World, role_terms, terms

GOOD = {("good", "small"): 0.93, ("good", "frontier"): 0.95}

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(**more: Any) -> World:
        policy = terms(role_terms("good", learn="propose"), step_max=1.0, dwell_seconds=0.0)
        made.append(World(tmp_path, **{"terms": policy, "truth": dict(GOOD), **more}))
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


def mixed(make: Make, **more: Any) -> World:
    """A world in which a proposal waits for `good`, and `brisk` acts by itself, step by step."""
    policy = terms(
        role_terms("good", learn="propose"), role_terms("brisk", learn="bounded"),
        step_max=0.3, dwell_seconds=0.0,
    )  # fmt: skip
    truth = GOOD | {("brisk", "small"): 0.93, ("brisk", "frontier"): 0.95}
    world = make(terms=policy, truth=truth)
    world.run(["good"], ticks=1, count=200)
    world.run([], ticks=2)  # `brisk` begins to explore by itself, then nothing more acts
    return world


def moves(record: Record, world: World) -> dict[str, dict[str, float]]:
    """What a proposal moves, by cell."""
    with world.desk.transaction() as change:
        parent = record.revision.parent
        before = None if parent is None else revision_book.known(change, parent).revision
    return {
        cell: dict(record.revision.shares[cell]) for cell in moved_cells(before, record.revision)
    }


def test_a_proposal_survives_what_another_role_does_by_itself(make: Make) -> None:
    world = mixed(make)
    read = waits(world)
    reports = world.run(["good", "brisk"], ticks=4, count=150)
    assert sum("active" in report["submitted"].values() for report in reports) >= 2
    assert world.start_small("brisk") > 0.0
    now = waits(world)
    assert now.id != read.id
    assert moves(now, world) == moves(read, world)
    assert now.revision.evidence == read.revision.evidence
    active = world.revisions.active().standing.revision
    assert active is not None
    assert now.revision.parent == active.revision_id
    assert {c: now.revision.shares[c] for c in active.shares} == active.shares
    (was,) = [each for each in records(world) if each.id == read.id]
    assert was.status is Status.SUPERSEDED
    assert was.reason is not None
    assert was.reason.startswith("it lives on as ")
    rows = world.desk.rows("SELECT subject FROM audit_log WHERE action = 'rebase'")
    assert rows[0]["subject"] == read.id
    assert auditlog.verify(world.desk).fault is None


def test_whoever_approves_one_that_was_rebased_is_told_its_name_by_now(make: Make) -> None:
    world = mixed(make)
    read = waits(world)
    world.run(["good", "brisk"], ticks=3, count=150)
    now = waits(world)
    with world.desk.transaction() as change:
        was = revision_book.known(change, read.id)
        assert proposals.successor(change, was) == now.id
        assert proposals.successor(change, now) is None
    with pytest.raises(Refusal, match=f"{now.id} moves the same cells: approve that"):
        refuse_closed(was, later=now.id)
    approve(world, now)
    assert world.start_small("good") > 0.0
    assert world.start_small("brisk") > 0.0
    with world.desk.transaction() as change:
        assert proposals.successor(change, was) is None


def test_rebasing_gives_a_proposal_no_new_hour(make: Make) -> None:
    world = mixed(make)
    read = waits(world)
    world.run(["good", "brisk"], ticks=3, count=150)
    now = waits(world)
    assert now.status_ns > read.status_ns
    assert not proposals.rested(now, now_ns=read.status_ns + proposals.STANDS_NS - 1)
    assert proposals.rested(now, now_ns=read.status_ns + proposals.STANDS_NS)


def test_what_moves_a_role_of_the_proposal_takes_its_place_as_before(make: Make) -> None:
    world = mixed(make)
    read = waits(world)
    standing = world.revisions.active().standing.revision
    assert standing is not None
    shares = {**standing.shares, "good||": {"small/step": 1.0}}
    other = Revision(policy_hash="p1", parent=standing.revision_id, shares=shares, evidence={})
    world.revisions.submit(
        other, author="ada", trigger="person", now_ns=world.clock.now_ns(), activate=True, note={}
    )
    assert world.tick()["submitted"][read.id] == "withdrawn"
    (over,) = [each for each in records(world) if each.id == read.id]
    assert over.reason is not None
    assert over.reason.startswith(f"it follows on {standing.revision_id}, but ")


def test_a_rejected_one_comes_not_again_because_another_role_moved(make: Make) -> None:
    world = mixed(make)
    read = waits(world)
    with world.desk.transaction() as change:
        deed = Deed(actor="ada", at_ns=world.clock.now_ns(), reason="not now")
        revision_book.move(change, read, deed, to=Status.REJECTED, action="reject")
    world.run(["brisk"], ticks=6, count=150)
    assert world.start_small("brisk") > 0.0
    assert [each.status for each in records(world) if each.status is Status.PROPOSED] == []
