"""The guarantee of the floor as a property: judged by true quality over many made-up worlds.

What is promised is a share, not a certainty: of the requests after the start (the first 350, in
which next to nothing is labelled) at most 5 % are served by revisions whose population quality is
more than half a point of the top tier's mean under the floor. Floors, checks (useless and
correlated ones too), labels (late and sparse ones too) and declared tables (plainly wrong ones too)
are drawn with the world. Over 2,500 worlds the promise holds (4.1 %); with useless checks alone it
does not (8.5 %), and 1.2 % of all revisions are two points under. Those figures are bounded here,
loosely for the few worlds of a short run, so that they cannot grow unnoticed.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evals.replay import TOLERANCE, Brief, Plan, play
from evals.simulate import Check, Labels, Setting, Stage
from evals.tables import everywhere, fitted
from evals.tierwise_player import Tierwise
from evals.worlds import Floats, Ints, made_up
from learning.arms import ladder_arms
from learning.derive import Settings
from telemetry.records import Arm, OnFail

LONG = os.environ.get("TIERWISE_LONG") == "1"
WORLDS, REQUESTS = (2_500, 1_200) if LONG else (100, 450)
START = 350
DEEP = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """One world: its revisions' gaps to the floor and requests served, start apart."""

    gaps: Floats
    sizes: Floats
    after: np.ndarray[tuple[int], np.dtype[np.bool_]]
    sensitivity: float

    def bad(self) -> float:
        """Share of the requests after the start that violating revisions served."""
        return float(np.average(self.gaps[self.after] < -TOLERANCE, weights=self.sizes[self.after]))


def table(case: Setting, rng: np.random.Generator, *, floor: float) -> Ints:
    """Fitted on 30 examples a role, all on top, or all accepted at the bottom."""
    tiers = case.world.tiers
    kind = rng.integers(3)
    if kind == 0:
        return fitted(case, rng, floor=floor)
    tier = tiers[-1] if kind == 1 else tiers[0]
    return everywhere(case, arm=Arm(tier=tier, on_fail=OnFail.ACCEPT))


def learner(brief: Brief, _: np.random.Generator) -> Tierwise:
    return Tierwise(brief, settings=Settings())


def played(seed: int) -> Played:
    """Draw a world with all that belongs to it, and play the learner on it."""
    rng = np.random.default_rng([seed, 77])
    world = made_up(rng, items=300, roles=int(rng.integers(1, 5)), tiers=int(rng.integers(2, 4)))
    check = Check(
        sensitivity=float(rng.choice([0.0, 0.6, 0.8, 0.9])),
        false_alarm=float(rng.choice([0.05, 0.1, 0.2])),
        correlation=float(rng.choice([0.0, 0.0, 0.5])),
    )
    case = Setting(world=world, arms=ladder_arms(world.tiers), check=check)
    floor = float(rng.choice([0.9, 0.95, 0.97, 0.99]))
    labels = Labels(rate=float(rng.choice([1.0, 1.0, 0.3])), delay=int(rng.choice([0, 50])))
    run = play(
        case,
        learner,
        plan=Plan(floor=floor, stages=(Stage(labels=labels),), requests=REQUESTS, seed=seed),
        declared=table(case, rng, floor=floor),
    )
    return Played(
        gaps=np.array([(step.quality - run.floor) / run.top_quality for step in run.steps]),
        sizes=np.array([float(step.end - step.start) for step in run.steps]),
        after=np.array([step.start >= START for step in run.steps]),
        sensitivity=check.sensitivity,
    )


@pytest.mark.timeout(3_600 if LONG else 120)
def test_the_floor_is_kept_in_all_but_a_twentieth_of_requests_where_checks_catch_anything() -> None:
    found = [played(seed) for seed in range(WORLDS)]
    bad = np.array([one.bad() for one in found])
    gaps = np.concatenate([one.gaps[one.after] for one in found])
    first = np.mean([(one.gaps[~one.after] < -TOLERANCE).mean() for one in found])
    told = (
        f"{WORLDS} worlds of {REQUESTS} requests: after the start {bad.mean():.2%} bad, "
        f"{(gaps < -DEEP).mean():.2%} of revisions {DEEP:.0%} under, deepest {-gaps.min():.2%}, "
        f"mean shortfall {np.maximum(-gaps, 0).mean():.3%}, {(bad > 0).mean():.1%} of worlds "
        f"with any; in the start {first:.1%}; by sensitivity "
        + ", ".join(
            f"{level}: {bad[[one.sensitivity == level for one in found]].mean():.2%}"
            for level in (0.0, 0.6, 0.8, 0.9)
        )
    )
    report = os.environ.get("TIERWISE_LONG_REPORT")
    if report:
        Path(report).write_text(told + "\n", encoding="utf-8")
    catches = np.array([one.sensitivity > 0 for one in found])
    assert bad[catches].mean() <= 0.05, told
    assert bad[~catches].mean() <= 0.15, told
    assert (gaps < -DEEP).mean() <= 0.02, told


def test_a_learner_without_margins_breaks_the_same_promise() -> None:
    """The property can fail: the judge sees a programme that trusts its estimates."""
    bold = Settings(z=0.0, unproven_z=0.0, selection=0.0)
    bad = []
    for seed in range(8):
        rng = np.random.default_rng([seed, 77])
        world = made_up(rng, items=300, roles=4, tiers=3)
        case = Setting(world=world, arms=ladder_arms(world.tiers), check=Check())
        run = play(
            case,
            lambda brief, _: Tierwise(brief, settings=bold),
            plan=Plan(requests=400, seed=seed),
            declared=fitted(case, rng, floor=0.97),
        )
        gaps = np.array([(step.quality - run.floor) / run.top_quality for step in run.steps])
        bad.append((gaps[[step.start >= START for step in run.steps]] < -TOLERANCE).mean())
    assert np.mean(bad) > 0.2
