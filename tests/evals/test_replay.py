import numpy as np
import pytest

from evals.baselines.fixed import Fixed
from evals.replay import Brief, News, Plan, Player, Run, Step, play
from evals.scores import alarm_after, requests_to_recover, score
from evals.simulate import Check, Labels, Served, Setting, Stage
from evals.worlds import Floats, Ints, World
from learning.arms import ladder_arms


def hand_world() -> World:
    return World(
        name="hand",
        tiers=("small", "frontier"),
        role_names=("a", "b"),
        roles=np.array([0, 1]),
        quality=np.array([[0.5, 1.0], [1.0, 1.0]]),
        cost=np.array([[1.0, 10.0], [1.0, 30.0]]),
        features=np.zeros((2, 0)),
        digest="hand",
    )


SETTING = Setting(world=hand_world(), arms=ladder_arms(("small", "frontier")), check=Check())
DECLARED = np.array([2, 2])


def half_small(brief: Brief, rng: np.random.Generator) -> Player:
    return Fixed(np.tile([0.5, 0.0, 0.5], (2, 1)))


def test_a_revision_is_judged_by_what_is_true_of_it() -> None:
    run = play(SETTING, half_small, plan=Plan(floor=0.9, requests=400), declared=DECLARED)
    step = run.steps[0]
    assert step.quality == pytest.approx((0.75 + 1.0) / 2)
    assert step.cost == pytest.approx(0.5 * 1 + 0.5 * 20)
    assert step.top_cost == pytest.approx(20.0)
    assert step.worst_role == pytest.approx(0.75)
    assert run.floor == pytest.approx(0.9)
    found = score(run)
    assert found.cost == pytest.approx(10.5 / 20)
    assert found.bad == 1.0
    assert found.deepest == pytest.approx(0.025)
    assert found.area == pytest.approx(0.025)


def test_half_a_point_under_the_floor_is_tolerated() -> None:
    for floor, bad in ((0.8795, 0.0), (0.8805, 1.0)):
        run = play(SETTING, half_small, plan=Plan(floor=floor, requests=50), declared=DECLARED)
        assert score(run).bad == bad


def test_the_same_seed_gives_the_same_run() -> None:
    plan = Plan(requests=600, seed=4)
    runs = [play(SETTING, half_small, plan=plan, declared=DECLARED) for _ in range(2)]
    assert runs[0].cost_served == runs[1].cost_served
    assert runs[0].quality_served.tolist() == runs[1].quality_served.tolist()


class Listener(Fixed):
    """Notes what it is told."""

    def __init__(self, shares: Floats) -> None:
        super().__init__(shares)
        self.labels: list[Ints] = []
        self.news: list[News] = []

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        self.labels.append(labelled.number)
        self.news.append(news)


def test_labels_come_late_and_every_one_once() -> None:
    heard: list[Listener] = []

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        heard.append(Listener(np.tile([1.0, 0.0, 0.0], (2, 1))))
        return heard[0]

    stage = Stage(labels=Labels(rate=0.5, delay=70))
    play(SETTING, make, plan=Plan(requests=400, stages=(stage,)), declared=DECLARED)
    assert heard[0].labels[0].size == 0  # 50 served, none is 70 old
    numbers = np.concatenate(heard[0].labels)
    assert len(set(numbers.tolist())) == len(numbers)
    assert numbers.max() < 330


def test_prices_and_absences_are_announced_drops_are_not() -> None:
    heard: list[Listener] = []

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        heard.append(Listener(np.tile([1.0, 0.0, 0.0], (2, 1))))
        return heard[0]

    late = Stage(since=0.5, price=(3.0, 1.0), absent=(False, True), drop=(0.5, 0.0))
    play(SETTING, make, plan=Plan(requests=200, stages=(Stage(), late)), declared=DECLARED)
    assert heard[0].news[0].price.tolist() == [1.0, 1.0]
    assert heard[0].news[-1].price.tolist() == [3.0, 1.0]
    assert heard[0].news[-1].absent == (False, True)
    assert set(News.__dataclass_fields__) == {"price", "absent"}


def steps(*qualities: float, alarms: tuple[int, ...] = ()) -> Run:
    return Run(
        steps=tuple(
            Step(
                start=100 * number,
                end=100 * (number + 1),
                quality=quality,
                cost=1.0,
                top_cost=2.0,
                worst_role=1.0,
                shares=np.zeros(3),
            )
            for number, quality in enumerate(qualities)
        ),
        floor=0.9,
        top_quality=1.0,
        cost_served=1.0,
        top_cost_served=2.0,
        quality_served=np.full(100 * len(qualities), 0.9),
        alarms=alarms,
    )


def test_recovery_counts_from_the_change_to_the_first_lasting_return() -> None:
    run = steps(0.95, 0.7, 0.895, 0.8, 0.9, 0.91, 0.9, 0.9, 0.9, 0.9)
    assert requests_to_recover(run, since=100, window=300) == 300
    assert requests_to_recover(steps(0.95, 0.7, 0.7), since=100) is None


def test_an_alarm_before_the_change_is_not_its_alarm() -> None:
    run = steps(0.9, 0.9, alarms=(50, 180))
    assert alarm_after(run, since=100) == 80
    assert alarm_after(run, since=180) is None
