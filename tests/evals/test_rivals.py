import importlib.util

import numpy as np
import pytest

from evals.baselines.fixed import everywhere
from evals.replay import Brief, Plan, Player, brief
from evals.rivals.classifier import classifier
from evals.rivals.field import Learns, Swept, policies
from evals.rivals.packages import need
from evals.rivals.pareto import Knobs, ParetoBandit
from evals.scores import score
from evals.simulate import Check, Setting
from evals.tables import fitted
from evals.worlds import made_up, text_features
from learning.arms import ladder_arms
from learning.derive import Settings
from telemetry.errors import ConfigError
from telemetry.records import Arm, OnFail
from tests.evals.test_replay import SETTING
from tests.needs import lacking

WORLD = made_up(np.random.default_rng(4), items=300, roles=3, tiers=3)
CASE = Setting(
    world=WORLD, arms=ladder_arms(WORLD.tiers), check=Check(sensitivity=0.8, false_alarm=0.1)
)
DECLARED = fitted(CASE, np.random.default_rng(0), floor=0.97)
MODULES = {
    "vw": "vowpalwabbit",
    "mabwiser": "mabwiser",
    "bayesianbandits": "bayesianbandits",
    "paretobandit": "pareto_bandit",
    "paretobandit-chains": "pareto_bandit",
}


def installed(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        lacking(f"the package {module} of the extra bench")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_package_plays_repeatably_or_says_which_extra_it_is_in(name: str) -> None:
    policy = policies(CASE, floor=0.97, settings=Settings())[name]
    plan = Plan(requests=300, seed=2)
    if importlib.util.find_spec(MODULES[name]) is None:
        with pytest.raises(ConfigError, match="is not installed") as caught:
            policy(CASE, plan=plan, declared=DECLARED)
        assert "bench" in caught.value.hint
        return
    first, again = (policy(CASE, plan=plan, declared=DECLARED) for _ in range(2))
    assert repr(score(first)) == repr(score(again))


def test_an_absent_package_is_named_with_its_extra() -> None:
    with pytest.raises(ConfigError, match="needs the package nowhere-to-be-found") as caught:
        need("nowhere_to_be_found", package="nowhere-to-be-found")
    assert "`bench`" in caught.value.hint


def test_many_choices_at_once_are_those_of_paretobandits_own_router() -> None:
    installed("pareto_bandit")
    told = brief(CASE, plan=Plan(), declared=DECLARED)
    player = ParetoBandit(
        told,
        arms=np.arange(len(told.arms)),
        arm_cost=np.linspace(1e-4, 1e-2, len(told.arms)),
        knobs=Knobs(ceiling_usd=1e-3, cost_penalty=0.1),
        seed=3,
    )
    rng = np.random.default_rng(0)
    router = player.router
    for arm in rng.integers(0, len(told.arms), 60).tolist():
        item = int(rng.integers(WORLD.items_count))
        context = player.inputs(WORLD.roles[[item]], WORLD.features[[item]])[0]
        router.bandit.mark_selected(str(told.arms[arm]))
        router.update(str(told.arms[arm]), context, float(rng.random()), advance_time=False)
        router.budget_pacer.observe(float(rng.uniform(0, 3e-3)))
    assert router.budget_pacer.lambda_t > 0  # the hard ceiling and the penalties are at work
    items = np.arange(40)
    chosen = player.probabilities(WORLD.roles[items], WORLD.features[items]).argmax(axis=1)
    rows = player.inputs(WORLD.roles[items], WORLD.features[items])
    for index, row in zip(chosen.tolist(), rows, strict=True):
        state = router.bandit.t, dict(router.bandit.last_played)
        name, _ = router.route(row)
        router.bandit.t, router.bandit.last_played = state[0], state[1]
        assert str(told.arms[index]) == name


def test_a_sweep_plays_the_cheapest_setting_that_holds_the_floor() -> None:
    plays = {
        tier: Learns(maker=everywhere(SETTING, arm=Arm(tier=tier, on_fail=OnFail.ACCEPT)))
        for tier in ("small", "frontier")
    }
    declared = np.array([2, 2])
    swept = Swept([plays["small"], plays["frontier"]])
    swept(SETTING, plan=Plan(floor=0.9, requests=50), declared=declared)
    assert swept.chosen is plays["frontier"]  # small is worth .75 of the top tier
    swept = Swept([plays["frontier"], plays["small"]])
    swept(SETTING, plan=Plan(floor=0.7, requests=50), declared=declared)
    assert swept.chosen is plays["small"]


def maker(told: Brief, rng: np.random.Generator) -> Player:
    return classifier(CASE)(told, rng)


def test_the_classifier_sends_up_what_the_small_model_gets_wrong() -> None:
    plan = Plan(floor=0.97, requests=50)
    found = score(Learns(maker=maker)(CASE, plan=plan, declared=DECLARED))
    everything = Plan(floor=0.0, requests=50)
    careless = score(Learns(maker=maker)(CASE, plan=everything, declared=DECLARED))
    assert careless.cost < found.cost <= 1.0
    assert found.quality > 0.95


def test_texts_become_numbers_that_tell_them_apart() -> None:
    texts = ["sort a list in python", "sort a tuple in python", "the capital of france"] * 3
    found = text_features(texts)
    assert found.shape[0] == 9
    assert found[0].tolist() == pytest.approx(found[3].tolist())
    near, far = (float(np.linalg.norm(found[0] - found[other])) for other in (1, 2))
    assert near < far
