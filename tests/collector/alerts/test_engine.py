"""Ticks whole: who is told, who is muted, what survives, and what it costs."""

from typing import Any

import pytest

from collector import holds
from collector.alerts import ledger, steps
from collector.alerts.engine import INSTANCES_MAX, NoAlert
from collector.alerts.raised import raised_roles
from collector.alerts.watched import one
from collector.armed import Armory
from collector.auditlog import Deed
from collector.desk import Desk
from collector.duckdb_store import DuckDBStore
from collector.holds import DAY_NS, Hold
from collector.rows import Batch
from collector.silences import Asked, checked, put
from telemetry.terms import TierTerms
from tests.collector.alerts.world import (
    SECOND,
    World,
    call,
    decision,
    judgement,
    role_terms,
    terms,
    word,
)

GOOD = [1.0] * 19 + [0.0]
BAD = [0.0, 1.0] * 10


def drop(world: World, *, good: int = 5, bad: int = 3) -> None:
    for scores in [GOOD] * good + [BAD] * bad:
        world.put(scores)
        world.tick()


def mute(world: World, **matchers: str) -> None:
    asked = Asked(
        matchers=matchers, starts_ns=world.now, ends_ns=world.now + 3_600 * SECOND, author="ann",
        comment="known",
    )  # fmt: skip
    with world.desk.transaction() as change:
        put(change, checked(asked, now_ns=world.now, days_max=7))


def test_a_drop_is_told_once_with_tier_model_time_evidence_and_examples(world: World) -> None:
    drop(world)
    drop(world, good=0, bad=5)
    assert [each for each in world.told() if each[0] == "QualityLow"] == [
        ("QualityLow", "worker", "firing"),
        ("QualityLow", None, "firing"),
    ]
    event = next(e for e in world.events if (e.name, e.role) == ("QualityLow", "worker"))
    said = event.annotations
    assert event.labels == {"alertname": "QualityLow", "severity": "page", "role": "worker"}
    assert "tier mid, model openai/b" in said["answered by"]
    assert "e-value" in said["evidence"]
    examples = said["examples"].split(", ")
    assert examples
    for each in examples:
        found = world.store.read(
            "SELECT quality FROM decisions WHERE decision_id = $id", {"id": each}
        )
        assert found == [{"quality": 0.0}]
    assert said["since"].startswith("2027-01-15T08:0"), "the traffic turned after 50 s"


def test_an_alert_over_all_roles_is_muted_by_the_role_that_explains_it(world: World) -> None:
    drop(world)
    own, overall = world.alert("QualityLow"), world.alert("QualityLow", None)
    warning = world.alert("QualityWarn")
    assert own is not None
    assert overall is not None
    assert warning is not None
    assert own.muted is None
    assert overall.muted == "alert QualityLow of worker"
    assert warning.muted == "alert QualityLow"
    quiet = world.alerts.muted(world.now)
    assert own.fingerprint not in quiet
    assert {overall.fingerprint, warning.fingerprint} <= quiet


def test_a_silence_mutes_the_notice_and_never_the_safety_action(world: World) -> None:
    mute(world, alertname="QualityLow", role="worker")
    drop(world)
    alert = world.alert("QualityLow")
    assert alert is not None
    assert alert.muted is not None
    assert alert.fingerprint in world.alerts.muted(world.now)
    armory = Armory(desk=world.desk, terms=lambda: world.terms)
    assert armory.unsafe_roles() == {"worker"}
    assert armory.safety("worker")


def test_acknowledging_ends_the_safety_action_and_begins_again(world: World) -> None:
    drop(world)
    alert = world.alert("QualityLow")
    assert alert is not None
    world.alerts.acknowledge(alert.fingerprint, author="ann", comment="known", now_ns=world.now)
    armory = Armory(desk=world.desk, terms=lambda: world.terms)
    assert armory.unsafe_roles() == frozenset()
    watched = one(world.desk, "QualityLow", "worker")
    assert watched is not None
    assert (watched.evidence, watched.alarmed) == (0, False)
    history = ledger.history(world.desk, alert.fingerprint)
    assert history[0]["reason"] == "acknowledged by ann: known"
    drop(world, good=0, bad=6)
    assert armory.unsafe_roles() == {"worker"}, "quality is still low, so it fires again"


def test_only_what_fires_can_be_acknowledged(world: World) -> None:
    with pytest.raises(NoAlert):
        world.alerts.acknowledge("f" * 64, author="a", comment="b", now_ns=world.now)


def test_an_outage_mutes_cost_and_quality_of_its_role(world: World) -> None:
    drop(world, bad=2)
    for _ in range(4):
        world.now += 60 * SECOND
        batch = Batch()
        for _ in range(20):
            world.count += 1
            batch.calls.append(call(world.count, world.now, 0.0, status=2))
            batch.decisions.append(decision(world.count, world.now, 0.0))
        world.keep(batch)
        world.tick()
    assert world.state("ProviderOutage", provider="openai") == "firing"
    alert = world.alert("QualityLow")
    assert alert is not None
    assert alert.muted == "alert ProviderOutage"


def test_a_changed_floor_starts_evidence_again_and_keeps_what_it_was(world: World) -> None:
    drop(world, bad=1)
    before = one(world.desk, "QualityLow", "worker")
    assert before is not None
    assert before.evidence > 100
    world.change(roles=(role_terms(floor=0.5),))
    world.tick()
    after = one(world.desk, "QualityLow", "worker")
    assert after is not None
    assert after.evidence == 0
    alert = world.alert("QualityWarn")
    assert alert is not None
    reasons = [each["reason"] for each in ledger.history(world.desk, alert.fingerprint)]
    assert any("the terms changed: evidence" in reason for reason in reasons)


def test_editing_another_role_leaves_a_role_s_evidence_alone(world: World) -> None:
    drop(world, bad=1)
    before = one(world.desk, "QualityLow", "worker")
    world.change(roles=(role_terms(), role_terms("critic", floor=0.6)), policy_hash="p2")
    world.tick()
    after = one(world.desk, "QualityLow", "worker")
    assert before is not None
    assert after is not None
    assert after.evidence == before.evidence


def test_a_changed_price_is_told_once_and_takes_the_baseline_again(world: World) -> None:
    world.put([1.0] * 60, usd=0.01)
    world.tick()
    watched = one(world.desk, "CostHigh", "worker")
    assert watched is not None
    assert watched.baseline is not None
    assert watched.baseline.mean == pytest.approx(0.01)
    tiers = dict(world.terms.tiers)
    tiers["mid"] = TierTerms(models=("openai/b",), usd_per_token=(2e-6, 4e-6, 2e-7))
    world.change(tiers=tiers)
    world.tick()
    world.tick()
    told = [each for each in world.told() if each[0] == "PriceChanged"]
    assert told == [("PriceChanged", None, "firing")]
    event = next(e for e in world.events if e.name == "PriceChanged")
    assert "$1/2/0.1 per million tokens before, $2/4/0.2" in event.annotations["summary"]
    watched = one(world.desk, "CostHigh", "worker")
    assert watched is not None
    assert watched.baseline is None


def test_a_new_model_version_is_told_and_the_first_one_is_not(world: World) -> None:
    for version in ("b-2026-01", "b-2026-01", "b-2026-06"):
        batch = Batch()
        world.count += 1
        batch.calls.append(call(world.count, world.now, 0.01, model_served=version))
        world.keep(batch)
        world.tick()
    told = [each for each in world.told() if each[0] == "ModelChanged"]
    assert told == [("ModelChanged", None, "firing")]


def test_one_source_that_talks_too_much_is_named(world: World) -> None:
    world.change(
        alerts=terms(alerts={"quality": {"feedback_per_hour_max": 30, "horizon_seconds": 0}}).alerts
    )
    batch = Batch()
    batch.evaluations += [word(n, world.now, "mallory") for n in range(31)]
    batch.evaluations += [word(n, world.now, "ann") for n in range(100, 110)]
    world.keep(batch)
    world.tick()
    assert world.state("FeedbackAnomaly", None, source="mallory") == "firing"
    assert world.alert("FeedbackAnomaly", None, source="ann") is None


def test_draws_that_are_not_as_logged_are_told(world: World) -> None:
    for _ in range(3):
        batch = Batch()
        for index in range(40):
            world.count += 1
            tier = "small" if index % 2 else "mid"
            propensity = 0.1 if index % 2 else 0.9
            batch.decisions.append(
                decision(
                    world.count, world.now + index, None, tier_start=tier, propensity=propensity
                )
            )
        world.keep(batch)
        world.tick()
    assert world.state("PropensityMismatch") == "firing"


def test_the_steps_of_one_session_repeat_one_draw_and_count_once(world: World) -> None:
    """All steps of ten long sessions at an arm of probability 0.1: ten draws of a hundred."""
    for turn in range(6):
        batch = Batch()
        for session in range(100 if turn == 0 else 10):  # ten lucky ones go on
            world.count += 1
            tier, propensity = ("small", 0.1) if session < 10 else ("mid", 0.9)
            number, at = world.count, world.now + turn * SECOND
            batch.decisions.append(
                decision(number, at, None, tier_start=tier, propensity=propensity)
            )
            batch.calls.append(call(number, at, 0.01, task=f"s{session}"))
        world.keep(batch)
        world.tick()
    watched = one(world.desk, "PropensityMismatch", "worker")
    assert watched is not None
    assert watched.seen == 100
    assert world.state("PropensityMismatch") == "inactive"


def test_grades_of_a_sampled_judge_weigh_more_than_those_of_checks(world: World) -> None:
    quality = {"horizon_seconds": 0, "sample": 0.25}
    world.change(alerts=terms(alerts={"quality": quality}).alerts)
    world.put([0.0], quality_source="check")
    world.tick()
    checked_only = one(world.desk, "QualityLow", "worker")
    assert checked_only is not None
    # 1 + b x 0.25 x 0.85 over the six bets, whose mean is 1.375
    assert checked_only.evidence == pytest.approx(1 + 1.375 * 0.25 * 0.85)


def test_a_grade_weighs_by_the_chance_that_was_logged_for_it(world: World) -> None:
    quality = {"horizon_seconds": 0, "sample": 0.25}
    world.change(alerts=terms(alerts={"quality": quality}).alerts)
    judged(world, chance=0.25)
    judged(world, chance=1.0)  # the share was raised: this one was four times as likely
    judged(world, chance=1.0)
    watched = one(world.desk, "QualityLow", "worker")
    assert watched is not None
    assert watched.rate == 1.0
    # Wealth W of the bet b after weights 1, 1/4 and 1, m = 0.15 and failures throughout:
    # W <- (W + 1) (1 + b w 0.85), which the six bets have on average.
    grid = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
    wealth = [0.0] * 6
    for weight in (1.0, 0.25, 1.0):
        wealth = [(w + 1) * (1 + b * weight * 0.85) for w, b in zip(wealth, grid, strict=True)]
    assert watched.evidence == pytest.approx(sum(wealth) / 6)


def judged(world: World, *, chance: float) -> None:
    """Store a failed step whose judge logged its chance, and look."""
    world.put([0.0], quality_source="judge")
    grade = judgement(world.count, world.now, chance=chance)
    world.keep(Batch(evaluations=[grade]))
    for sql in (  # as the roll-up joins them
        "UPDATE evaluations SET call_decision_id = decision_id",
        "UPDATE decisions SET quality_rank = 2",
    ):
        world.store._connection.execute(sql)
    world.tick()


def test_a_warning_has_every_answer_of_its_role_graded_until_it_is_over(world: World) -> None:
    assert raised_roles(world.desk) == set()
    drop(world)
    assert world.state("QualityWarn") == "firing"
    assert raised_roles(world.desk) == {"worker"}
    mute(world, alertname="Quality*")  # a silence stops nobody from looking
    world.tick()
    assert raised_roles(world.desk) == {"worker"}
    for _ in range(40):
        world.put(GOOD)
        world.tick()
    assert world.state("QualityWarn") in ("resolved", "inactive")
    assert raised_roles(world.desk) == set()


def test_dropped_telemetry_is_told(world: World) -> None:
    world.tick()
    world.meters.dropped.labels("queue").inc(7)
    world.tick()
    event = next(e for e in world.events if e.name == "TelemetryDropped")
    assert event.annotations["summary"] == "7 spans or records were not kept"


def test_a_store_that_cannot_be_read_is_told_and_resolves_nothing(world: World) -> None:
    drop(world)
    world.store.close()
    for _ in range(4):
        world.tick()
    assert world.state("StoreDegraded", None) == "firing"
    assert world.state("QualityLow") == "firing"
    world.store = DuckDBStore(world.folder / "w.duckdb", now_ns=world.now)
    world.engine()
    for _ in range(8):
        world.tick()
    assert world.state("StoreDegraded", None) == "resolved"


def test_without_a_policy_only_the_house_is_watched(world: World) -> None:
    world.terms = None  # type: ignore[assignment]
    world.tick()
    assert world.told(but=()) == [("Watchdog", None, "firing")]


def test_a_restart_at_any_tick_changes_nothing(world: World, tmp_path: Any) -> None:
    drop(world)
    (tmp_path / "other").mkdir()
    other = World(folder=tmp_path / "other", terms=terms())
    for scores in [GOOD] * 5 + [BAD] * 3:
        other.put(scores)
        other.engine()
        other.tick()
    assert other.told() == world.told()
    left, right = (one(each.desk, "QualityLow", "worker") for each in (world, other))
    assert left == right
    other.close()


def test_a_tick_that_cannot_be_committed_is_repeated_whole(world: World) -> None:
    drop(world, bad=0)

    def broken(change: Any, event: Any) -> None:
        raise RuntimeError

    good = world.alerts._enqueue
    world.alerts._enqueue = broken
    world.put(BAD * 3)
    with pytest.raises(RuntimeError):
        world.tick()
    assert world.state("QualityLow") == "inactive"
    world.alerts._enqueue = good
    world.tick()
    assert [e for e in world.told() if e[:2] == ("QualityLow", "worker")] == [
        ("QualityLow", "worker", "firing")
    ]


def test_a_lost_desk_is_counted_again_from_the_store(world: World) -> None:
    drop(world)
    before = one(world.desk, "QualityLow", "worker")
    world.desk.close()
    for path in world.folder.glob("w.desk*"):
        path.unlink()
    world.desk = Desk(world.folder / "w.desk")
    world.engine()
    world.tick()
    after = one(world.desk, "QualityLow", "worker")
    assert before is not None
    assert after is not None
    assert after.evidence == pytest.approx(before.evidence)
    assert world.state("QualityLow") == "firing"


def test_nothing_fires_while_old_steps_are_still_being_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "PAGE", 20)
    monkeypatch.setattr(steps, "PAGES_MAX", 1)
    world.put(BAD * 3 + GOOD * 15)
    states = []
    for _ in range(20):
        world.tick()
        states.append(world.state("QualityLow"))
    assert states[0] == "no_data"
    assert "firing" not in states, "the drop was over before the count came up with now"


def test_an_incident_that_is_over_before_the_next_tick_is_told_all_the_same(world: World) -> None:
    world.put(GOOD * 3)
    world.tick()
    world.put([0.0] * 12 + [1.0] * 400)
    world.tick()
    event = next(e for e in world.events if (e.name, e.role) == ("QualityLow", "worker"))
    assert "bad on average 1.000" in event.annotations["evidence"]
    world.put(GOOD)
    world.tick()
    assert world.state("QualityLow") == "keep_firing"
    world.put(GOOD)
    world.tick()
    assert world.state("QualityLow") == "resolved"


def test_a_storm_of_labels_is_cut(world: World) -> None:
    for number in range(2):
        batch = Batch()
        for model in range(INSTANCES_MAX + 50):
            world.count += 1
            batch.calls.append(
                call(world.count, world.now, 0.01, model=f"m{model}", model_served=f"v{number}")
            )
        world.keep(batch)
        world.tick()
    told = [each for each in world.told() if each[0] == "ModelChanged"]
    assert len(told) <= INSTANCES_MAX


def test_a_quiet_tick_writes_nothing(world: World) -> None:
    drop(world)
    world.tick()
    before = world.desk.rows("SELECT fingerprint, seen_ns FROM alerts WHERE state != 'keep_firing'")
    world.tick()
    assert before == world.desk.rows(
        "SELECT fingerprint, seen_ns FROM alerts WHERE state != 'keep_firing'"
    )


def test_late_rows_of_a_spool_are_looked_at_too(world: World) -> None:
    """A gateway that was cut off sends steps that began before others that were seen already."""
    world.put(GOOD)
    world.tick()
    batch = Batch()
    for _ in range(40):
        world.count += 1
        batch.decisions.append(decision(world.count, world.now - 7_200 * SECOND, 0.0))
    world.keep(batch)
    world.tick()
    assert world.state("QualityLow") == "firing"


def test_a_clock_that_is_set_back_does_not_stop_the_count(world: World) -> None:
    world.change(alerts=terms(alerts={"quality": {"horizon_seconds": 60}}).alerts)
    world.put(GOOD)
    world.tick(100)
    seen = one(world.desk, "QualityLow", "worker")
    assert seen is not None
    assert seen.seen == 20
    world.put(GOOD)
    world.tick(-86_400)
    seen = one(world.desk, "QualityLow", "worker")
    assert seen is not None
    assert seen.seen == 40


def test_the_cost_of_a_tick_does_not_grow_with_history(world: World) -> None:
    """Rows read per tick, not time: cursors skip what was seen."""
    read: list[int] = []
    plain = world.store.read

    def counting(sql: str, parameters: Any = None) -> Any:
        rows = plain(sql, parameters)
        read.append(len(rows))
        return rows

    world.store.read = counting  # type: ignore[method-assign]
    sums = []
    for _ in range(10):
        world.put(GOOD, usd=0.01)
        read.clear()
        world.tick(120)
        sums.append(sum(read))
    assert max(sums[3:]) <= min(sums[3:]) + 10  # minutes of spend within three days


def test_a_run_time_pin_that_ends_by_itself_is_told_for_a_day(world: World) -> None:
    hold_pin(world, days=1)
    world.tick()
    assert world.state("PinExpired", pin="run-time") == "inactive"
    world.now += DAY_NS
    with world.desk.transaction() as change:
        holds.drop_expired(change, world.now)  # as the sweep does before each tick
    world.tick()
    world.tick()
    found = world.alert("PinExpired", pin="run-time")
    assert found is not None
    assert found.standing.state.value == "firing"
    assert found.annotations["summary"].startswith("the pin to mid/step ended at 2027-01-16T08:00")
    assert found.annotations["owner"] == "ada"
    world.engine()  # a restart remembers
    world.tick()
    assert world.state("PinExpired", pin="run-time") == "firing"
    world.now += DAY_NS
    world.tick()
    assert world.told() == [
        ("PinExpired", "worker", "firing"),
        ("PinExpired", "worker", "resolved"),
    ]


def test_a_run_time_pin_that_somebody_ends_or_renews_has_not_expired(world: World) -> None:
    hold_pin(world, days=1)
    world.tick()
    with world.desk.transaction() as change:
        holds.drop(change, "pin", Deed(actor="ada", at_ns=world.now), role="worker")
    world.tick()
    world.now += DAY_NS
    world.tick()
    hold_pin(world, days=1)
    world.tick()
    world.now += 2 * DAY_NS
    hold_pin(world, days=1)
    world.tick()
    assert world.told() == []


def hold_pin(world: World, *, days: int) -> None:
    hold = Hold(
        kind="pin", role="worker", arm="mid/step", owner="ada", reason="an incident",
        since_ns=world.now, until_ns=world.now + days * DAY_NS,
    )  # fmt: skip
    with world.desk.transaction() as change:
        holds.put(change, hold, Deed(actor="ada", at_ns=world.now))


def test_a_little_over_the_budget_for_days_is_a_ticket_and_wakes_nobody(world: World) -> None:
    world.change(alerts=terms(alerts={"cost": {"budget_usd_per_day": 1_000}}).alerts)
    for _ in range(25):  # 150 dollars in three hours are 1,200 a day
        world.put([None], usd=150.0)
        world.tick(3 * 3_600)
    world.put([None], usd=150.0)
    world.tick(60)
    assert world.state("SpendPace", None, severity="ticket") == "firing"
    assert world.state("SpendPace", None, severity="page") == "inactive"
    told = next(event for event in world.events if event.name == "SpendPace")
    assert told.labels["severity"] == "ticket"
    assert "over 72 h" in told.annotations["evidence"]
