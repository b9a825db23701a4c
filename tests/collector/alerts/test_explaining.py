"""What `tierwise alerts explain` works out, from the role's own outcomes where there are enough."""

from typing import Any

import numpy as np
import pytest

from collector.alerts.catalogue import RULES
from collector.alerts.explaining import NoRule, explain
from tests.collector.alerts.world import World

WAITING = ("StoreDegraded", "ProviderOutage")


def ask(world: World, name: str, role: str | None = "worker") -> dict[str, Any]:
    return explain(world.store, world.desk, world.terms, name=name, role=role)


@pytest.mark.parametrize("name", RULES)
def test_every_alert_states_its_errors(world: World, name: str) -> None:
    found = ask(world, name)
    assert found["errors"]
    if RULES[name].kind == "exact":
        # At most one tick, and the time that it must hold.
        assert found["late_seconds"] == 10.0 + (20.0 if name in WAITING else 0.0)
        assert found["false_alarm_bound"] == 0.0
    if RULES[name].kind == "sequential":
        assert found["arl"] >= 200
        assert 0 < found["false_alarm_bound"] <= 1
        assert 0 <= found["false_alarm_simulated"]["share"] <= 1
        medians = [one["median"] for one in found["delays"]]
        assert len(medians) == 3
        assert medians == sorted(medians, reverse=True), "larger effects are found sooner"


def test_the_role_s_own_scores_are_used_where_there_are_enough(world: World) -> None:
    rng = np.random.default_rng(1)
    scores = list((rng.random(400) < 0.97).astype(float))
    for start in range(0, 400, 50):
        world.put(scores[start : start + 50])
        world.tick(3_600)
    found = ask(world, "QualityLow")
    assert found["traffic"] == "the last 400 outcomes"
    # 399 steps in seven hours less the moments within a burst
    assert found["outcomes_per_quarter"] == pytest.approx(91 * 24 * 399 / 7, rel=0.01)
    assert found["delays"][1]["effect"] == "mean 0.75"
    assert found["delays"][1]["median"] == pytest.approx(115, abs=30)


def test_over_all_roles_the_highest_floor_counts(world: World) -> None:
    assert ask(world, "QualityLow", None)["all_bad_in_a_row"] == 8


def test_the_same_question_has_the_same_answer(world: World) -> None:
    assert ask(world, "CostHigh") == ask(world, "CostHigh")


def test_an_unknown_alert_names_those_that_there_are(world: World) -> None:
    with pytest.raises(NoRule, match="QualityLow"):
        ask(world, "QualityLo")


def test_without_a_policy_there_is_nothing_to_state(world: World) -> None:
    found = explain(world.store, world.desk, None, name="QualityLow", role="worker")
    assert "nothing is configured" in found["errors"]


def test_spend_pace_says_when_three_paces_would_be_told(world: World) -> None:
    reached = ask(world, "SpendPace", None)["reached"]
    # From half the budget: 1 x over 3 d at 2 x, 3 x over 1 d at 5 x, 14.4 x over 1 h at 20 x.
    assert [one["minutes"] for one in reached] == pytest.approx(
        [4_320 * 0.5 / 1.5, min(4_320 * 0.5 / 4.5, 1_440 * 2.5 / 4.5), 60 * 13.9 / 19.5]
    )
