"""Armed is computed: each condition alone disarms, and says so."""

from collections.abc import Mapping

import pytest

from collector.armed import Armory, Side
from collector.silences import Asked, checked, put
from telemetry.terms import Armed
from tests.collector.alerts.world import ALERTS, SECOND, World, role_terms, terms

HOUR = 3_600 * SECOND
GOOD = [1.0] * 19 + [0.0]


def armory(world: World, proofs: Mapping[str, int] | None = None) -> Armory:
    proven = {"webhook": world.now} if proofs is None else proofs
    return Armory(desk=world.desk, terms=lambda: world.terms, proofs=lambda: proven)


@pytest.fixture
def ready(world: World) -> World:
    """A world in which both sides of the one role are armed."""
    world.put(GOOD * 4, usd=0.01)
    world.tick()
    assert armory(world).armed("worker", world.now) == Armed(cost=True, quality=True)
    return world


def missing(side: Side) -> list[str]:
    return [condition.name for condition in side.missing]


def test_with_everything_in_place_both_are_armed(ready: World) -> None:
    assert [side.armed for side in armory(ready).every(ready.now)] == [True, True]


def test_an_unknown_role_has_nothing_armed(ready: World) -> None:
    assert armory(ready).armed("nobody", ready.now) == Armed(cost=False, quality=False)


def test_without_a_policy_nothing_is_armed(ready: World) -> None:
    made = Armory(desk=ready.desk, terms=lambda: None)
    assert made.armed("worker", ready.now) == Armed(cost=False, quality=False)
    assert made.every(ready.now) == []


def test_a_role_without_a_floor_has_no_quality_alert(ready: World) -> None:
    ready.change(roles=(role_terms(floor=None),))
    cost, quality = armory(ready).sides("worker", ready.now)
    assert cost.armed
    assert missing(quality) == ["configured"]


def test_too_few_grades_do_not_arm(world: World) -> None:
    world.put([1.0] * 19, usd=0.01)
    world.tick()
    cost, quality = armory(world).sides("worker", world.now)
    assert missing(quality) == ["denominator live"]
    assert "19 of 20 graded steps" in quality.missing[0].words
    assert "denominator live" in missing(cost)


def test_grades_that_stopped_disarm_quality_alone(ready: World) -> None:
    cost, quality = armory(ready, {"webhook": ready.now + 25 * HOUR}).sides(
        "worker", ready.now + 25 * HOUR
    )
    assert missing(quality) == ["signal fresh"]
    assert cost.armed


def test_a_week_without_traffic_disarms_both(ready: World) -> None:
    later = ready.now + 24 * 8 * HOUR
    cost, quality = armory(ready, {"webhook": later}).sides("worker", later)
    assert missing(quality) == ["denominator live", "signal fresh"]
    assert missing(cost) == ["denominator live", "signal fresh"]


def test_a_sink_s_proof_lasts_a_day(ready: World) -> None:
    for age_hours, armed in ((0, True), (23.9, True), (24.1, False), (None, False)):
        proofs = {} if age_hours is None else {"webhook": ready.now - int(age_hours * HOUR)}
        cost, quality = armory(ready, proofs).sides("worker", ready.now)
        assert (cost.armed, quality.armed) == (armed, armed)
        assert missing(cost) == ([] if armed else ["sink proven"])


def test_one_proven_sink_is_enough(ready: World) -> None:
    proofs = {"old": ready.now - 100 * HOUR, "never": 0, "new": ready.now}
    assert armory(ready, proofs).armed("worker", ready.now) == Armed(cost=True, quality=True)


def test_a_silenced_alert_is_not_armed(ready: World) -> None:
    asked = Asked(
        matchers={"alertname": "QualityLow"}, starts_ns=ready.now, ends_ns=ready.now + HOUR,
        author="ann", comment="c",
    )  # fmt: skip
    with ready.desk.transaction() as change:
        put(change, checked(asked, now_ns=ready.now, days_max=7))
    cost, quality = armory(ready).sides("worker", ready.now)
    assert cost.armed
    assert missing(quality) == ["not silenced"]
    after = ready.now + 2 * HOUR
    assert armory(ready).armed("worker", after) == Armed(cost=True, quality=True)


def test_a_threshold_out_of_reach_disarms(ready: World) -> None:
    alerts = ALERTS | {"quality": {"horizon_seconds": 0, "arl": 10_000_000, "delay_steps_max": 5}}
    ready.change(alerts=terms(alerts=alerts).alerts)
    _, quality = armory(ready).sides("worker", ready.now)
    assert missing(quality) == ["threshold reachable"]


def test_cost_is_armed_only_once_its_baseline_is_complete(world: World) -> None:
    world.put(GOOD * 2, usd=0.01)
    world.tick()
    cost, _ = armory(world).sides("worker", world.now)
    assert missing(cost) == ["threshold reachable"]
    assert "40 of 50 tasks" in cost.missing[0].words


def test_only_roles_that_learn_are_asked_for(ready: World) -> None:
    ready.change(roles=(role_terms(), role_terms("planner", learn="off")))
    assert {side.role for side in armory(ready).every(ready.now)} == {"worker"}


def test_an_alarm_over_all_roles_alone_concerns_every_role_with_a_floor(world: World) -> None:
    """Two roles that both slip a little: neither is sure by itself, together they are."""
    pair = (role_terms(), role_terms("critic"), role_terms("free", floor=None))
    world.change(roles=pair)
    for _ in range(30):
        for role in ("worker", "critic"):
            world.put([0.0, 1.0, 1.0, 1.0], role=role)
        world.tick()
        own = {world.state("QualityLow", role) for role in ("worker", "critic")}
        if world.state("QualityLow", None) == "firing" and "firing" not in own:
            break
    assert world.state("QualityLow", None) == "firing"
    assert armory(world).unsafe_roles() == {"worker", "critic"}
