"""Whatever people and the learner do, in whatever order, statuses move as they may."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.answers import Ask
from collector.auditlog import verify
from collector.changes import Changes
from collector.desk import Desk
from collector.duckdb_store import DuckDBStore
from collector.holding import Holding
from collector.refusals import Refusal
from collector.review import Review
from collector.revision_book import MOVES, Status
from collector.revisions import Revisions
from learning.revision import Revision
from telemetry.clock import ManualClock
from tests.collector.otlp import NOW_NS
from tests.collector.reviewing import revision, terms

TABLES = ("revisions", "standing", "holds", "audit_log", "answers")
STEPS = ("submit", "propose", "approve", "reject", "shadow", "activate", "rollback", "freeze",
         "thaw")  # fmt: skip
Script = list[tuple[str, int, bool]]


def test_rejected_is_for_good_and_everything_else_leads_on() -> None:
    assert MOVES[Status.REJECTED] == frozenset()
    assert all(MOVES[status] for status in Status if status is not Status.REJECTED)
    assert {status for status in Status if Status.ACTIVE in MOVES[status]} == {
        Status.PROPOSED, Status.SHADOW, Status.SUPERSEDED, Status.ROLLED_BACK,
    }  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBStore]:
    store = DuckDBStore(tmp_path_factory.mktemp("store") / "t.duckdb", now_ns=NOW_NS)
    yield store
    store.close()


class Play:
    """Everybody at one desk; revisions are numbered in the order in which they came."""

    def __init__(self, desk: Desk, store: DuckDBStore) -> None:
        self.desk = desk
        self.clock = ManualClock()
        self.revisions = Revisions(desk, self.clock, terms=terms)
        changes = Changes(self.revisions)
        self._review, self._holding = Review(changes, store), Holding(changes)
        self._made: list[Revision] = []

    def step(self, what: str, number: int, fresh: bool) -> None:
        """Do one thing to one revision, on the present base or (not ``fresh``) on another."""
        self.clock.advance(1)
        base = self.revisions.active().standing.etag if fresh else '"0000"'
        ask = Ask(person="ada", action=what, body={}, base=base)
        made = self._made[number % len(self._made)] if self._made else revision(0.99)
        named = made.revision_id
        if what in ("submit", "propose"):
            self._submit(number, activate=what == "submit")
        elif what == "approve":
            self._review.approve(ask, named, override="r", rollout=None)
        elif what == "reject":
            self._review.reject(ask, named, reason="r")
        elif what == "shadow":
            self._review.shadow(ask, named, reason=None)
        elif what == "activate":
            self._review.activate(ask, made, override="r", rollout=None)
        elif what == "rollback":
            self._review.rollback(ask, to=None if number % 2 else named, reason="r")
        elif what == "freeze":
            self._holding.freeze(ask, role=None, reason="r", days=None)
        else:
            self._holding.thaw(ask, role=None, reason=None)

    def _submit(self, number: int, *, activate: bool) -> None:
        standing = self.revisions.active().standing.revision
        parent = None if standing is None else standing.revision_id
        made = revision(number / 100, parent=parent)
        if made not in self._made:
            self._made.append(made)
        self.revisions.submit(
            made, author="learner", trigger="tick", now_ns=self.clock.now_ns(),
            activate=activate, note={},
        )  # fmt: skip

    def contents(self) -> dict[str, Any]:
        return {name: self.desk.rows(f"SELECT * FROM {name}") for name in TABLES}

    def statuses(self) -> dict[str, Status]:
        return {
            row["id"]: Status(row["status"])
            for row in self.desk.rows("SELECT id, status FROM revisions")
        }


@settings(max_examples=40, deadline=None)
@given(
    script=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 20), st.booleans() | st.just(True)),
        max_size=20,
    )
)
def test_statuses_move_as_they_may_and_a_refusal_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, empty: DuckDBStore, script: Script
) -> None:
    desk = Desk(tmp_path_factory.mktemp("play") / "t.desk")
    play = Play(desk, empty)
    try:
        for what, number, fresh in script:
            before, statuses = play.contents(), play.statuses()
            try:
                play.step(what, number, fresh)
            except Refusal:
                assert play.contents() == before
            for name, status in play.statuses().items():
                was = statuses.get(name, Status.PROPOSED)
                assert status is was or status in MOVES[was], (name, was, status)
            active = [name for name, one in play.statuses().items() if one is Status.ACTIVE]
            name = play.revisions.active().name
            assert active == ([] if name == "declared" else [name])
        assert verify(desk).fault is None
    finally:
        desk.close()


def test_old_revisions_are_forgotten_but_not_those_that_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.revisions.KEPT_MAX", 3)
    desk = Desk(tmp_path / "t.desk")
    revisions = Revisions(desk, ManualClock())
    ids: list[str] = []
    for number in range(8):
        made = revision(number / 100, parent=ids[-1] if ids else None)
        ids.append(made.revision_id)
        revisions.submit(
            made, author="learner", trigger="tick", now_ns=number, activate=True, note={}
        )
    revisions.sweep(99)
    rows = desk.rows("SELECT id FROM revisions ORDER BY number")
    assert [row["id"] for row in rows] == ids[-3:]
    assert revisions.active().name == ids[-1]
    desk.close()
