import numpy as np
import pytest

from evals.baselines.oracle import constrained, per_item
from evals.compare import Request, compare
from evals.replay import Floors, Plan
from evals.rivals.field import NAMES as POLICY_NAMES
from evals.rivals.field import policies
from evals.scenarios import NAMES, busiest_tier, stages
from evals.scores import score
from evals.simulate import Check, Labels, Setting, Stage
from evals.tables import everywhere, fitted
from evals.worlds import made_up
from learning.arms import ladder_arms
from learning.derive import Settings
from telemetry.errors import ConfigError
from telemetry.records import Arm, OnFail
from tests.evals.test_replay import SETTING

WORLD = made_up(np.random.default_rng(4), items=400, roles=4, tiers=3)
CASE = Setting(
    world=WORLD, arms=ladder_arms(WORLD.tiers), check=Check(sensitivity=0.8, false_alarm=0.1)
)
PACKAGED = {"vw", "mabwiser", "bayesianbandits", "paretobandit", "paretobandit-chains"}
POLICIES = {
    name: policy
    for name, policy in policies(CASE, floor=0.97, settings=Settings()).items()
    if name not in PACKAGED
}


def test_the_constrained_oracle_by_hand() -> None:
    # role a: small .5 for 1, top 1 for 10; role b: small 1 for 1, top 1 for 30; floor .9
    shares, quality, cost = constrained(SETTING, stage=Stage(), floors=Floors(overall=0.9))
    # role b stays small; role a needs .8 on average: 40 % small
    assert shares[0, :2].sum() == pytest.approx(0.4)
    assert quality == pytest.approx(0.9)
    assert cost == pytest.approx(0.5 * (0.4 * 1 + 0.6 * 10) + 0.5 * 1)


def test_the_per_item_oracle_by_hand() -> None:
    # one item a role: small everywhere gives .75; a floor of .9 takes the top tier for role a,
    # whose item gains .5 for 9 more
    assert per_item(SETTING, stage=Stage(), floor=0.75).tolist() == [0, 0]
    assert per_item(SETTING, stage=Stage(), floor=0.9).tolist() == [2, 0]
    gone = Stage(absent=(True, False))
    assert per_item(SETTING, stage=gone, floor=0.75).tolist() == [2, 2]


def test_no_policy_that_holds_the_floor_is_cheaper_than_the_oracle() -> None:
    _, _, bound = constrained(CASE, stage=Stage(), floors=Floors(overall=0.97 * WORLD.top_quality))
    declared = fitted(CASE, np.random.default_rng(0), floor=0.97)
    assert {*POLICIES, *PACKAGED} == set(POLICY_NAMES)
    for name, policy in POLICIES.items():
        if name == "item-oracle":
            continue  # it sees items, not roles
        run = policy(CASE, plan=Plan(requests=2_000), declared=declared)
        for step in run.steps:
            if step.quality >= run.floor:
                assert step.cost >= bound * (1 - 1e-6), name


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_plays_repeatably_through_every_stress(name: str) -> None:
    declared = fitted(CASE, np.random.default_rng(0), floor=0.97)
    parts = stages("drop", setting=CASE, floor=0.97, labels=Labels(rate=0.5, delay=30))
    plan = Plan(requests=1_200, stages=parts, seed=2)
    first, again = (POLICIES[name](CASE, plan=plan, declared=declared) for _ in range(2))
    assert repr(score(first)) == repr(score(again))  # NaN, for unknown, equals nothing


def test_a_random_mix_meets_the_floor_exactly() -> None:
    run = POLICIES["random-mix"](CASE, plan=Plan(requests=50), declared=np.zeros(4, int))
    assert run.steps[0].quality == pytest.approx(run.floor, abs=1e-9)


def test_tables_by_people() -> None:
    sure = fitted(CASE, np.random.default_rng(0), floor=0.0)
    cheapest = int(WORLD.cost.mean(axis=0).argmin())
    starts = [CASE.arms.arms[arm].tier for arm in sure.tolist()]
    assert set(starts) == {WORLD.tiers[cheapest]}
    top = everywhere(CASE, arm=Arm(tier="frontier", on_fail=OnFail.ACCEPT))
    assert set(top.tolist()) == {len(CASE.arms.arms) - 1}


def test_every_scenario_has_stages_and_an_unknown_one_is_refused() -> None:
    for name in NAMES:
        parts = stages(name, setting=CASE, floor=0.97, labels=Labels())
        assert parts[0].since == 0.0
        assert len(parts) >= 1
    with pytest.raises(ConfigError, match="no scenario 'flood'"):
        stages("flood", setting=CASE, floor=0.97, labels=Labels())
    assert busiest_tier(CASE, floor=0.97) in (0, 1)


def test_what_scenarios_do_to_the_busiest_tier_and_to_its_judges() -> None:
    tier = busiest_tier(CASE, floor=0.97)
    last = {
        name: stages(name, setting=CASE, floor=0.97, labels=Labels(rate=0.4, delay=9))[-1]
        for name in ("removed", "bias", "spam", "broken")
    }
    assert last["removed"].absent == tuple(index == tier for index in range(3))
    assert last["bias"].labels.bias[tier] == 0.08
    assert last["spam"].labels.bias == tuple(float(index == tier) for index in range(3))
    assert (last["spam"].labels.rate, last["spam"].labels.delay) == (0.4, 9)
    assert last["broken"].check == Check()
    assert {stage.since for stage in last.values()} == {0.5}


def test_a_comparison_reports_every_policy_world_and_seed() -> None:
    seen: list[tuple[int, int]] = []
    report = compare(
        [WORLD],
        request=Request(requests=600, seeds=2, policies=("tierwise", "table", "cascade")),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [(row.policy, row.seed) for row in report.rows] == [
        (policy, seed) for seed in (0, 1) for policy in ("tierwise", "table", "cascade")
    ]
    assert seen[-1] == (6, 6)
    table = next(found for found in report.summaries if found.policy == "table")
    assert table.figures["cost_of_table"] == pytest.approx(1.0)
    low, high = table.cost_interval
    assert low <= table.figures["cost"] <= high
    with pytest.raises(ConfigError, match="no policy 'best'"):
        compare([WORLD], request=Request(policies=("best",)))
