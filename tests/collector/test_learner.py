"""The loop over a made-up world: steps served by the revision in force, outcomes to the next."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collector.learner_state import alarms
from learning.watch import Change
from telemetry.records import Arm
from telemetry.terms import Armed
from tests.collector.teaching import World, role, role_terms, terms

GOOD = {("good", "small"): 0.93, ("good", "frontier"): 0.95}
BAD = {("bad", "small"): 0.5, ("bad", "frontier"): 0.93}

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(*roles: Any, truth: dict[tuple[str, str], float], **more: Any) -> World:
        learning = more.pop("learning", {})
        made.append(World(tmp_path, terms(*roles, **learning), dict(truth), **more))
        return made[-1]

    yield world
    for each in made:
        each.close()


QUICK: dict[str, Any] = {"step_max": 1.0, "dwell_seconds": 0.0}


def test_the_loop_saves_where_it_may_falls_back_when_a_tier_fails_and_finds_recovery(
    make: Make,
) -> None:
    world = make(
        role_terms("good"), role_terms("bad"), truth=GOOD | BAD,
        learning={"step_max": 0.4, "dwell_seconds": 60.0},
    )  # fmt: skip
    roles, starts = ("good", "bad"), [0.0]
    for _ in range(6):
        world.steps(roles, count=250)
        world.tick()
        starts.append(world.start_small("good"))
        assert world.quality("bad") >= 0.85 - 0.005  # never under its floor
        assert world.quality("good") >= 0.85
    assert starts[-1] > 0.95
    assert max(after - before for before, after in pairwise(starts)) <= 0.41
    # Small alone is right in half the steps; under the check of .8/.1 it may start .85's worth.
    assert world.shares("bad").get("small/accept", 0.0) < 0.1

    world.truth["good", "small"] = 0.4
    reports = []
    for _ in range(4):
        reports += world.run(["good"], ticks=1, count=250)
        assert world.quality("good") >= 0.85 - 0.03  # an estimate may err while it is thin
    found = [each for each in reports[-1]["alarms"] if each["role"] == "good"]
    assert [(each["tier"], each["change"]) for each in found] == [("small", "worse")]
    assert found[0]["version"] == "p/small@small-1"
    assert not [each for each in reports[-1]["alarms"] if each["role"] == "bad"]
    assert role(reports[-1], "good")["demoted"] == ["small"]
    assert world.shares("good").get("small/accept", 0.0) < 0.15
    assert world.quality("good") >= 0.85 - 0.005

    world.truth["good", "small"] = 0.93
    reports = world.run(["good"], ticks=3, count=250)
    changes = [each["change"] for each in reports[-1]["alarms"] if each["role"] == "good"]
    assert changes == ["better", "worse"]  # newest first
    assert role(reports[-1], "good")["demoted"] == []
    assert world.quality("good") >= 0.85


def test_a_restart_goes_on_and_a_replay_finds_the_same_evidence_and_alarms(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=200)
    world.truth["good", "small"] = 0.3
    before = world.run(["good"], ticks=2, count=200)[-1]
    world.learner = world.made()
    again = world.learner.look(world.clock.now_ns(), dry=True)
    assert _figures(again) == pytest.approx(_figures(before), abs=1e-9)
    watched = [each for each in before["alarms"] if each["change"] == "worse"]
    assert len(watched) == 1

    monkeypatch.setattr("collector.evidence.BLOCK_DECISIONS", 150)
    with world.desk.transaction() as change:
        change.run("DELETE FROM learner")
        change.run("DELETE FROM learner_alarms")
        change.run("DELETE FROM facts")
    rebuilt = world.tick()
    assert rebuilt["rebuilding"] is False  # all of it in one tick
    assert rebuilt["watched_to_ns"] == again["watched_to_ns"]
    [alarm] = alarms(world.desk, limit=10)
    assert (alarm.tier, alarm.change, alarm.version) == (
        "small", Change.WORSE, "p/small@small-1",
    )  # fmt: skip


def _figures(report: dict[str, Any]) -> list[float]:
    names = ("decisions", "labels", "quality", "quality_lower", "cost_usd_aim")
    found = [each[name] for each in report["roles"] for name in names]
    arms = [arm for each in report["roles"] for arm in each["arms"]]
    return found + [arm[name] for arm in arms for name in ("quality", "cost_usd", "share_aim")]


FAULTS = (
    "UPDATE learner SET state = '{'",
    """UPDATE learner SET state = replace(state, 'worse\\":[', 'worse\\":[-')""",
    "UPDATE facts SET value = '7' WHERE name = 'learner.cursor'",
    """UPDATE facts SET value = '{"cursor_ns": 99999999999999999999, "rebuilding": false}'
    WHERE name = 'learner.cursor'""",
)


def test_a_state_that_makes_no_sense_is_rebuilt_and_until_then_the_table_is_served(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=2, count=150)
    for fault in FAULTS:
        assert world.start_small("good") > 0.0
        with world.desk.transaction() as change:
            before = change.rows("SELECT state FROM learner")
            assert change.run(fault) == 1
            assert change.rows("SELECT state FROM learner") != before or "cursor" in fault
        with monkeypatch.context() as slow:
            slow.setattr("collector.watching.BLOCKS_MAX", 1)
            slow.setattr("collector.evidence.BLOCK_DECISIONS", 50)
            report = world.tick()
        assert report["trouble"] is not None
        assert report["rebuilding"] is True
        assert world.shares("good") == {"frontier/accept": 1.0}
        assert role(report, "good")["blocked_by"] == ["unsafe"]
        after = world.tick()
        assert (after["rebuilding"], after["trouble"]) == (False, None)


@pytest.mark.parametrize("mode", ["off", "observe", "propose"])
def test_only_bounded_acts_by_itself(make: Make, mode: Any) -> None:
    world = make(role_terms("good", learn=mode), truth=GOOD, learning=QUICK)
    reports = world.run(["good"], ticks=2, count=120)
    assert world.shares("good") == {"frontier/accept": 1.0}
    statuses = [status for report in reports for status in report["submitted"].values()]
    assert set(statuses) == ({"proposed"} if mode == "propose" else set())
    entry = role(reports[-1], "good")
    assert entry["idle" if mode == "off" else "standing"]


def test_a_proposal_is_made_once_and_again_only_when_it_says_something_else(make: Make) -> None:
    world = make(role_terms("good", learn="propose"), truth=GOOD, learning=QUICK)
    first = world.run(["good"], ticks=1, count=200)[-1]["submitted"]
    assert list(first.values()) == ["proposed"]
    assert world.tick()["submitted"] == {}


@pytest.mark.parametrize(
    ("change", "block"),
    [
        ({"armed": Armed(cost=True, quality=False)}, "quality_disarmed"),
        ({"unsafe": frozenset({"good"})}, "unsafe"),
    ],
)
def test_guards_hold_a_role_where_it_is(make: Make, change: dict[str, Any], block: str) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK, **change)
    report = world.run(["good"], ticks=2, count=100)[-1]
    assert role(report, "good")["blocked_by"] == [block]
    assert world.shares("good") == {"frontier/accept": 1.0}


def test_an_unsafe_role_goes_back_to_its_table_at_once(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=150)
    assert world.start_small("good") > 0.3
    world.unsafe = frozenset({"good"})
    world.tick()
    assert world.shares("good") == {"frontier/accept": 1.0}


def test_forged_praise_moves_nothing_to_cheaper_arms_and_words_of_anyone_may_if_told_so(
    make: Make,
) -> None:
    world = make(role_terms("bad"), truth=BAD, learning=QUICK, authenticated=False)
    world.truth["bad", "small"] = 1.0  # as praised
    report = world.run(["bad"], ticks=3, count=150)[-1]
    entry = role(report, "bad")
    assert entry["labels_without_proof"] is True
    assert world.start_small("bad") < 0.15  # what exploration asks for without any word
    world.terms = terms(role_terms("bad"), labels="anyone", **QUICK)
    world.run(["bad"], ticks=2, count=50)
    assert world.start_small("bad") > 0.5


def test_checks_grade_only_where_the_policy_says_so(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK, labelled=0.0)
    report = world.run(["good"], ticks=2, count=150)[-1]
    assert role(report, "good")["labels"] == 0.0
    assert role(report, "good")["standing"] == "unproven"
    world.terms = terms(role_terms("good"), checks_grade=True, **QUICK)
    report = world.run(["good"], ticks=1, count=150)[-1]
    assert role(report, "good")["labels_from_checks_only"] is True
    assert role(report, "good")["standing"] == "proven"


def test_a_new_version_of_a_model_starts_without_the_old_ones_evidence(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=150)
    assert world.start_small("good") > 0.5
    world.served = {"small": "small-2"}
    report = world.run(["good"], ticks=1, count=200)[-1]
    entry = role(report, "good")
    assert entry["versions"]["small"] == "p/small@small-2"
    small = next(arm for arm in entry["arms"] if arm["arm"] == "small/accept")
    assert 0 < small["labels"] <= 220  # of the last tick alone
    assert not report["alarms"]


def test_a_price_is_believed_at_the_next_tick(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=150)
    dear = replace(world.terms.tiers["small"], usd_per_token=(1e-3, 1e-3, 1e-3))
    tiers = {**world.terms.tiers, "small": dear}
    world.terms = replace(world.terms, tiers=tiers)
    assert role(world.tick(), "good")["cost_usd_aim"] < 0.01
    world.run(["good"], ticks=1, count=20)
    assert world.start_small("good") < 0.2


def test_longer_answers_are_paid_for_within_two_hours_of_evidence(make: Make) -> None:
    """Frontier costs 100 x 3e-6 + 10 x 15e-6 a step, then 40 tokens of output in place of 10."""
    world = make(role_terms("good", learn="observe"), truth=GOOD)
    costs = []
    for hour in range(8):
        world.answer = 10 if hour < 6 else 40
        [report] = world.run(["good"], ticks=1, count=100)
        arms = {arm["arm"]: arm["cost_usd"] for arm in role(report, "good")["arms"]}
        costs.append(arms["frontier/accept"])
        world.clock.advance(3_600.0)
    assert costs[5] == pytest.approx(0.00045, rel=0.01)
    assert costs[7] == pytest.approx(0.0009, rel=0.05)  # a plain memory would say 0.00056


def test_a_changed_policy_gets_a_revision_of_its_own_without_tiers_it_took_away(
    make: Make,
) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=150)
    held = world.shares("good")
    world.terms = terms(role_terms("good"), policy_hash="p2", **QUICK)
    world.tick()
    revision = world.revisions.active().standing.revision
    assert revision is not None
    assert revision.policy_hash == "p2"
    assert world.shares("good").keys() >= {arm for arm in held if held[arm] > 0.3}
    alone = role_terms("good", tiers=("frontier",))
    world.terms = terms(alone, policy_hash="p3", **QUICK)
    report = world.tick()
    assert role(report, "good")["idle"] == "its range is frontier alone"
    revision = world.revisions.active().standing.revision
    assert revision is not None
    assert (revision.policy_hash, dict(revision.shares)) == ("p3", {})


def test_what_a_person_agreed_to_ends_with_the_terms_it_was_agreed_under(make: Make) -> None:
    asks, acts = role_terms("good", learn="propose"), role_terms("bad")
    world = make(asks, acts, truth=GOOD | BAD, learning=QUICK)
    world.run(["good", "bad"], ticks=1, count=100)
    world.terms = terms(role_terms("good"), acts, policy_hash="p1", **QUICK)  # as if approved
    world.run(["good", "bad"], ticks=1, count=20)
    world.terms = terms(asks, acts, policy_hash="p1", **QUICK)
    world.tick()
    agreed = world.shares("good")
    assert agreed != {"frontier/accept": 1.0}
    world.terms = terms(asks, role_terms("bad", floor=0.86), policy_hash="p2", **QUICK)
    world.tick()
    assert world.shares("good") == agreed
    stricter = role_terms("good", learn="propose", floor=0.94)
    world.terms = terms(stricter, acts, policy_hash="p3", **QUICK)
    world.tick()
    assert world.shares("good") == {"frontier/accept": 1.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"floor": None}, "no quality_floor"),
        ({"learn": "off"}, "learn is off"),
        ({"tiers": ("frontier",)}, "its range is frontier alone"),
    ],
)
def test_a_role_that_cannot_learn_says_why(make: Make, change: dict[str, Any], words: str) -> None:
    world = make(role_terms("good", **change), truth=GOOD)
    assert role(world.tick(), "good")["idle"] == words


def test_a_revision_says_in_figures_what_it_rests_on(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=2, count=150)
    revision = world.revisions.active().standing.revision
    assert revision is not None
    figures = revision.evidence["good||plain"]
    assert figures["floor"] == 0.85
    assert figures["labels"] == 300
    assert figures["cost_usd_after"] < figures["cost_usd_before"]
    assert figures["quality_lower"] < figures["quality"]
    row = world.desk.row("SELECT author, trigger_name, note FROM revisions ORDER BY number DESC")
    assert row is not None
    assert (row["author"], row["trigger_name"]) == ("learner", "evidence")
    assert "good||plain" in json.loads(row["note"])["cells"]


def test_an_empty_store_is_no_trouble_however_often_one_looks(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD)
    for _ in range(3):
        report = world.tick()
        assert (report["trouble"], report["rebuilding"]) == (None, False)
        world.clock.advance(60.0)


def test_nothing_new_changes_nothing(make: Make) -> None:
    world = make(role_terms("good"), truth=GOOD, learning=QUICK)
    world.run(["good"], ticks=3, count=150)
    world.tick()
    name = world.revisions.active().name
    world.tick()
    assert world.tick()["submitted"] == {}
    assert world.revisions.active().name == name


def test_a_mode_with_terms_of_its_own_learns_by_itself(make: Make) -> None:
    cautious = role_terms("good", mode="debate", learn="observe", floor=0.94)
    world = make(role_terms("good"), cautious, truth=GOOD, learning=QUICK)
    report = world.run(["good"], ticks=1, count=60)[-1]
    assert [(each["mode"], each["floor"]) for each in report["roles"]] == [
        (None, 0.85),
        ("debate", 0.94),
    ]
    assert report["roles"][1]["decisions"] == 0.0
    assert report["roles"][0]["decisions"] == pytest.approx(60.0)


def test_a_table_that_starts_small_keeps_its_start_while_nothing_is_known(make: Make) -> None:
    world = make(
        role_terms("good", declared=Arm(tier="small")), truth=GOOD, learning=QUICK
    )  # fmt: skip
    world.tick()
    assert world.start_small("good") > 0.85
