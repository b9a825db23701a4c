from typing import Any

import pytest

from evals.logged import Group, logged, worth


def row(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "role": "worker",
        "mode": None,
        "dialect": "chat",
        "cell": "worker||",
        "tier_start": "small",
        "on_fail": "accept",
        "offered": ["small/accept", "small/step", "large/accept"],
        "propensity": 0.5,
        "reason": "explored",
        "pinned": False,
        "quality": 1.0,
        "cost_usd": 0.01,
    }
    return found | changes


SMALL, LARGE = ("small",), ("large",)


def test_only_free_and_whole_decisions_are_read() -> None:
    rows = [
        row(),
        row(offered="small/accept,large/accept", tier_start="large"),
        row(on_fail="top"),
        row(pinned=True),
        row(reason="session"),
        row(propensity=None),
        row(propensity=0.0),
        row(tier_start="huge"),
        row(on_fail="explode"),
        row(quality=1.5),
    ]
    found, left = logged(rows)
    # on two tiers straight to the top is one step up
    assert [step.path for step in found] == [SMALL, LARGE, ("small", "large"), SMALL]
    assert dict(left) == {"not free": 2, "incomplete": 4}
    assert found[-1].quality == 1.0


def many(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [row(**changes) for _ in range(count)]


def test_quality_and_cost_of_a_target_by_hand() -> None:
    rows = [
        *many(300, quality=1.0), *many(100, quality=0.0),
        *many(380, tier_start="large", cost_usd=0.1), *many(20, tier_start="large", quality=0.0,
                                                            cost_usd=0.1),
    ]  # fmt: skip
    steps, _ = logged(rows)
    (quality, usd), fixed = worth(steps, lambda group: {SMALL: 0.5, LARGE: 0.5})
    assert fixed == 0
    assert quality.logged == pytest.approx((300 + 380) / 800)
    by_name = {one.estimator: one for one in quality.estimates}
    assert by_name["ips"].value == pytest.approx((300 + 380) / 800)
    (quality, usd), _ = worth(steps, lambda group: {SMALL: 1.0})
    by_name = {one.estimator: one for one in quality.estimates}
    assert by_name["snips"].value == pytest.approx(0.75)
    assert by_name["dr"].value == pytest.approx(0.75, abs=0.02)
    assert by_name["dr"].low < 0.75 < by_name["dr"].high
    assert by_name["dr"].refused is None
    assert usd.estimates[1].value == pytest.approx(0.01)


def test_a_decision_that_nobody_graded_is_stood_for_by_its_like() -> None:
    # of 400 on the small tier 100 are graded, all right; of 400 on the large one all, half right
    rows = [
        *many(100), *many(300, quality=None),
        *many(200, tier_start="large"), *many(200, tier_start="large", quality=0.0),
    ]  # fmt: skip
    steps, _ = logged(rows)
    (quality, usd), _ = worth(steps, lambda group: {SMALL: 0.5, LARGE: 0.5})
    assert (quality.known, quality.decisions, usd.known) == (500, 800, 800)
    assert quality.logged == pytest.approx(300 / 500)
    assert quality.estimates[1].value == pytest.approx(0.75)


def test_a_refusal_names_arm_and_role_not_their_numbers() -> None:
    steps, _ = logged([*many(200), *many(200, role="planner", cell="planner||")])
    worths, _ = worth(steps, lambda group: {SMALL if group.role == "worker" else LARGE: 1.0})
    refused = worths[0].estimates[2].refused or ""
    assert "arm large in role planner was never tried, and 50% of" in refused
    by_role = {one.role: one for one in worths if one.measure == "quality"}
    assert by_role["worker"].estimates[2].refused is None
    assert by_role["planner"].estimates[2].refused is not None


def test_steps_without_a_free_choice_under_the_target_are_counted() -> None:
    steps, _ = logged([*many(30), *many(20, role="auditor")])

    def target(group: Group) -> dict[tuple[str, ...], float] | None:
        return None if group.role == "auditor" else {SMALL: 1.0}

    worths, fixed = worth(steps, target)
    assert fixed == 20
    assert worths[0].decisions == 30


def test_an_empty_log_says_so() -> None:
    worths, fixed = worth([], lambda group: {SMALL: 1.0})
    assert (worths[0].known, worths[0].logged, worths[0].estimates, fixed) == (0, None, (), 0)
