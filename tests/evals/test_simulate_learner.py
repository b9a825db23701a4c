"""The learner in made-up worlds whose truth is known: the floor, the saving, drops and gains."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest

from evals.replay import Plan, play
from evals.scenarios import stages
from evals.scores import requests_to_recover, score
from evals.simulate import Check, Labels, Served, Setting
from evals.tables import everywhere, fitted
from evals.tierwise_player import Tierwise, attempts, labels
from evals.worlds import made_up
from learning.arms import ladder_arms
from learning.compose import Layout
from learning.derive import Settings
from learning.drift import GAINS, Detector, Kind
from telemetry.records import Arm, OnFail
from tests.learning.observations import Observation, Seen, tally_attempts, tally_labels

DRIFT = Path(os.environ.get("TIERWISE_DATA", "../shared/data")) / "drift.parquet"


def made(seed: int) -> Setting:
    rng = np.random.default_rng(seed)
    world = made_up(rng, items=600, roles=int(rng.integers(1, 9)), tiers=int(rng.integers(2, 4)))
    check = Check(
        sensitivity=float(rng.choice([0.0, 0.6, 0.8, 0.9])),
        false_alarm=float(rng.choice([0.05, 0.1, 0.2])),
    )
    return Setting(world=world, arms=ladder_arms(world.tiers), check=check)


def learner(brief: object, rng: np.random.Generator) -> Tierwise:
    return Tierwise(brief, settings=Settings())  # type: ignore[arg-type]


def test_the_floor_holds_over_made_up_worlds_and_money_is_saved() -> None:
    bad, costs = [], []
    for seed in range(900, 910):
        case = made(seed)
        declared = fitted(case, np.random.default_rng(seed), floor=0.97)
        run = play(case, learner, plan=Plan(requests=2_000, seed=seed), declared=declared)
        found = score(run)
        bad.append(found.bad)
        costs.append(found.cost_late)
    assert np.mean(bad) <= 0.05
    assert np.mean(costs) < 0.75


def test_a_dear_table_is_never_made_dearer() -> None:
    for seed in range(2):
        case = made(910 + seed)
        top = everywhere(case, arm=Arm(tier="frontier", on_fail=OnFail.ACCEPT))
        run = play(case, learner, plan=Plan(requests=1_000, seed=seed), declared=top)
        assert score(run).first_cost < 1.0


def strong() -> Setting:
    world = made_up(np.random.default_rng(21), items=800, roles=5, tiers=3)
    check = Check(sensitivity=0.8, false_alarm=0.1)
    return Setting(world=world, arms=ladder_arms(world.tiers), check=check)


def test_a_silent_drop_alarms_and_the_floor_is_regained_and_recovery_is_found() -> None:
    case = strong()
    players: list[Tierwise] = []

    def make(brief: object, rng: np.random.Generator) -> Tierwise:
        players.append(learner(brief, rng))
        return players[-1]

    parts = stages("recover", setting=case, floor=0.97, labels=Labels())
    plan = Plan(requests=15_000, stages=parts, tick=100, seed=1)
    declared = fitted(case, np.random.default_rng(1), floor=0.97)
    run = play(case, make, plan=plan, declared=declared)
    changes = [(number, alarm.change.value) for number, _, alarm in players[0].changes]
    worse = [number for number, change in changes if change == "worse"]
    better = [number for number, change in changes if change == "better"]
    assert len(worse) == 1
    assert 5_000 <= worse[0] <= 5_900
    assert len(better) == 1
    assert better[0] > 10_000
    back = requests_to_recover(run, since=5_000)
    assert back is not None
    assert back <= 1_000


def test_observations_and_batches_of_the_harness_give_the_same_sums() -> None:
    case = strong()
    layout = Layout(arms=case.arms)
    roles = len(case.world.role_names)
    heard: list[Served] = []

    class Ear(Tierwise):
        def learn(self, served: Served, labelled: Served, *, news: object) -> None:
            heard.append(labelled)

    def make(brief: object, rng: np.random.Generator) -> Tierwise:
        return Ear(brief, settings=Settings())  # type: ignore[arg-type]

    parts = stages("stationary", setting=case, floor=0.97, labels=Labels(rate=0.5))
    play(
        case,
        make,
        plan=Plan(requests=300, stages=parts),
        declared=everywhere(case, arm=Arm(tier="small", on_fail=OnFail.STEP)),
    )
    for batch in heard:
        rows = [
            Observation(
                cell=case.world.role_names[batch.role[row]],
                attempts=tuple(
                    Seen(
                        tier=case.arms.chains[batch.arm[row]][step],
                        flagged=bool(batch.flagged[row] or step < batch.depth[row] - 1),
                    )
                    for step in range(batch.depth[row])
                ),
                label=float(batch.label[row]),
                label_chance=0.5,
            )
            for row in range(len(batch.number))
        ]
        expected = (tally_attempts(rows, epoch=1) + tally_labels(rows, epoch=1)).over(
            cells=case.world.role_names, prefixes=case.arms.prefixes
        )
        found = attempts(batch, layout=layout, roles=roles)
        found += labels(batch, layout=layout, roles=roles)
        found[:, :, 10:] = 0.0  # usage is in other units there
        assert found == pytest.approx(expected.epochs[1])


def test_a_real_model_that_changed_behind_its_name_is_noticed() -> None:
    if not DRIFT.is_file():
        pytest.skip(f"{DRIFT} is absent; set TIERWISE_DATA to the folder with drift.parquet")
    with duckdb.connect() as database:
        rows = database.execute(
            f"select snapshot, correct from '{DRIFT}' where task = 'prime_or_composite'"
        ).fetchall()
    march = np.array([float(right) for when, right in rows if when == "0301"])
    june = np.array([float(right) for when, right in rows if when == "0613"])
    delays = []
    for seed in range(51):
        rng = np.random.default_rng(seed)
        before = 1 - rng.choice(march, 500)
        after = 1 - rng.choice(june, 3_000)
        low = 1 - march.mean() - 0.01
        whole = np.full(3_000, Kind.WHOLE, dtype=np.int64)
        detector, early = Detector(stories=GAINS).watch(
            before, means=np.full(500, low), kinds=whole[:500]
        )
        assert early is None
        _, found = detector.watch(after, means=np.full(3_000, low), kinds=whole)
        delays.append(3_001 if found is None else found + 1)
    assert np.median(delays) <= 160  # the model got better: .53 to .76
