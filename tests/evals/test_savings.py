"""Savings against sums done by hand: 1 USD per thousand tokens makes them short."""

from typing import Any

import pytest

from evals.savings import (
    Baseline,
    Flow,
    Rates,
    Tasks,
    baseline_usd,
    by_role,
    lost_cache_usd,
    per,
    priced,
    spared,
    summary,
    told_apart,
)
from evals.shadow import Pair, compared

FRONTIER = Rates(input=0.01, output=0.05, cache_read=0.001)
TOP = Baseline(tier="frontier", on_fail=None, rates=FRONTIER)
TABLE = Baseline(tier="mid", on_fail="step", rates=Rates(input=0.002, output=0.01, cache_read=0.0))


def flow(**changed: Any) -> Flow:
    values: dict[str, Any] = {
        "role": "worker", "mode": None, "tier_start": "small", "on_fail": "step", "tier": "small",
        "steps": 2, "cost_usd": 0.5, "input_tokens": 1_000, "output_tokens": 100,
        "cache_read_tokens": 0, "warm_tokens": 0,
    }  # fmt: skip
    return Flow(**values | changed)


def test_the_answers_tokens_are_priced_at_the_top() -> None:
    # 1,000 x 0.01 + 100 x 0.05 = 15
    assert baseline_usd(flow(), TOP) == pytest.approx(15.0)
    found = priced([flow()], {("worker", None): TOP})
    assert (found.steps, found.actual_usd) == (2, 0.5)
    assert found.saved_usd == pytest.approx(14.5)


def test_a_saving_is_negative_when_retries_cost_more_than_the_top_tier_would_have() -> None:
    found = priced([flow(cost_usd=20.0)], {("worker", None): TOP})
    assert found.saved_usd == pytest.approx(-5.0)
    shown = summary(found, overhead_usd=1.0, tasks=Tasks(tasks=4, graded=3, passed=2))
    assert shown["saved_usd"] == pytest.approx(-6.0)
    assert shown["saved_share"] == pytest.approx(-6 / 15)
    assert shown["saved_per_task_usd"] == pytest.approx(-1.5)
    assert shown["spent_per_passed_task_usd"] == pytest.approx(10.5)


def test_cached_input_costs_the_baseline_what_cached_input_costs() -> None:
    # 600 fresh x 0.01 + 400 cached x 0.001 + 100 x 0.05 = 11.4
    cached = flow(cache_read_tokens=400, warm_tokens=400)
    assert baseline_usd(cached, TOP) == pytest.approx(11.4)
    assert lost_cache_usd(cached, FRONTIER) == 0.0


def test_cache_that_a_change_of_model_lost_makes_the_baseline_cheaper() -> None:
    lost = flow(cache_read_tokens=0, warm_tokens=400)
    assert baseline_usd(lost, TOP) == pytest.approx(11.4)
    assert lost_cache_usd(lost, FRONTIER) == pytest.approx(400 * 0.009)


def test_what_began_and_ended_at_the_top_saved_nothing() -> None:
    stayed = flow(tier_start="frontier", tier="frontier", cost_usd=3.0)
    assert priced([stayed], {("worker", None): TOP}).saved_usd == 0.0


def test_the_top_tier_that_lost_its_cache_to_routing_is_a_loss() -> None:
    returned = flow(tier_start="frontier", tier="frontier", cost_usd=3.0, warm_tokens=100)
    found = priced([returned], {("worker", None): TOP})
    assert found.saved_usd == pytest.approx(-0.9)
    assert found.lost_cache_usd == pytest.approx(0.9)


def test_a_chain_that_began_at_the_declared_arm_cost_what_the_table_costs() -> None:
    escalated = flow(tier_start="mid", tier="frontier", cost_usd=7.0)
    assert priced([escalated], {("worker", None): TABLE}).saved_usd == 0.0
    other_arm = flow(tier_start="mid", on_fail="accept", tier="mid", cost_usd=1.0)
    # 1,000 x 0.002 + 100 x 0.01 = 3
    assert priced([other_arm], {("worker", None): TABLE}).saved_usd == pytest.approx(2.0)


def test_a_baseline_without_a_price_leaves_both_sides() -> None:
    unknown = Baseline(tier="frontier", on_fail=None, rates=None)
    found = priced([flow(), flow(role="x")], {("worker", None): unknown, ("x", None): TOP})
    assert (found.steps, found.actual_usd) == (2, 0.5)
    assert priced([flow(role="gone")], {("x", None): TOP}).steps == 0


def test_a_mode_without_terms_of_its_own_has_its_roles() -> None:
    assert priced([flow(mode="debate")], {("worker", None): TOP}).steps == 2


def test_a_measured_ratio_corrects_a_second_figure_and_says_for_how_much() -> None:
    flows = [flow(), flow(role="other")]
    ratios = {("worker", "small", "frontier"): (1.0, 2.0)}
    found = priced(flows, {("worker", None): TOP, ("other", None): TOP}, factors=ratios)
    assert found.baseline_usd == pytest.approx(30.0)
    assert found.corrected_usd == pytest.approx(35.0)  # 100 more output tokens at 0.05
    assert found.corrected_share == pytest.approx(0.5)
    assert summary(found, overhead_usd=0.0)["corrected_saved_usd"] == pytest.approx(34.0)


def test_without_a_measured_ratio_there_is_no_corrected_figure() -> None:
    found = priced([flow()], {("worker", None): TOP})
    assert summary(found, overhead_usd=0.0)["corrected_saved_usd"] is None


def test_nothing_per_nobody_is_unknown() -> None:
    assert per(1.0, 0) is None


def pairs(role: str, count: int, *, tier: str = "code", usd: float | None = 2.0) -> list[Pair]:
    pair = Pair(
        role=role, tier=tier, shadow_tier="frontier", quality=None, shadow_quality=None,
        cost_usd=0.0, shadow_cost_usd=usd, input_tokens=0, output_tokens=0,
        shadow_input_tokens=10, shadow_output_tokens=1, seconds=0.0, shadow_seconds=1.0,
        failed=False,
    )  # fmt: skip
    return [pair] * count


def test_what_code_spared_is_priced_by_shadow_runs_of_its_role_and_only_by_enough() -> None:
    runs = [
        *pairs("enough", 30), *pairs("few", 29), *pairs("unpriced", 40, usd=None),
        *pairs("models", 40, tier="small"),
    ]  # fmt: skip
    steps = {"enough": 500, "few": 7, "unpriced": 3, "models": 2, "none": 1}
    rows = spared(steps, compared(runs), tier="frontier")
    assert {row.role: (row.runs, row.usd) for row in rows} == {
        "enough": (30, 1_000.0), "few": (29, None), "unpriced": (0, None), "models": (0, None),
        "none": (0, None),
    }  # fmt: skip
    shown = told_apart(rows, tier="frontier")
    assert (shown["steps"], shown["measured_steps"]) == (513, 500)
    assert shown["would_have_cost_usd"] == 1_000.0
    assert told_apart([], tier="frontier")["would_have_cost_usd"] is None  # unknown is no zero


def test_roles_stand_dearest_first() -> None:
    rows = by_role(
        [flow(), flow(role="big", cost_usd=9.0)],
        {"top": {("worker", None): TOP, ("big", None): TOP}},
    )
    assert [row["role"] for row in rows] == ["big", "worker"]
    assert rows[0]["top"]["saved_usd"] == pytest.approx(6.0)
