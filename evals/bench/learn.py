"""What learning costs: a decision, a solve, a tick with more and more history, a long replay.

Times are processor seconds of one thread unless said otherwise, so that a busy machine disturbs
them little; the wall time of the replay is given too.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from evals.bench.stage import load_average
from evals.replay import Brief, News, Plan, Player, play
from evals.simulate import Check, Served, Setting, Stage, truth
from evals.tables import fitted
from evals.tierwise_player import Tierwise
from evals.worlds import made_up
from learning.arms import ladder_arms
from learning.compose import Composed
from learning.derive import Settings
from learning.programme import Bound, Programme, solve

DECISIONS: Final = 20_000
SOLVES: Final = 30
DOUBT: Final = 0.02  # of every arm in the solve that is timed
PARTS: Final = 5  # of the replay, whose ticks are compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much to measure: roles and three tiers (six arms), rows to replay, rows a tick."""

    rows: int = 1_000_000
    rows_per_tick: int = 5_000
    roles: int = 50
    seed: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything one run measured.

    ``tick_ms`` is the median cost of a tick in each fifth of the replay, oldest first.
    """

    machine: str
    cores: int
    python: str
    numpy: str
    load_average: float
    size: Size
    decide_us: tuple[float, float]  # p50, p99, wall
    solve_ms: tuple[float, float]  # median, largest
    replay_seconds: float  # wall
    replay_cpu_seconds: float
    tick_ms: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class _Timed(Tierwise):
    """The learner, noting what each tick costs."""

    def __init__(self, brief: Brief, *, settings: Settings, costs: list[float]) -> None:
        super().__init__(brief, settings=settings)
        self._costs = costs

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        began = time.process_time()
        super().learn(served, labelled, news=news)
        self._costs.append(time.process_time() - began)


def measure(size: Size, *, decide: Callable[[], object], tell: Callable[[str], None]) -> Report:
    """Return what this machine needs; ``decide`` makes one learned decision."""
    load = load_average()
    tell(f"timing {DECISIONS:,} decisions")
    decided = _decisions(decide)
    setting = _setting(size)
    tell(f"solving for {size.roles} roles and {len(setting.arms.arms)} arms")
    solved = _solves(setting)
    tell(f"replaying {size.rows:,} rows")
    costs: list[float] = []

    def maker(brief: Brief, rng: np.random.Generator) -> Player:
        return _Timed(brief, settings=Settings(), costs=costs)

    declared = fitted(setting, np.random.default_rng(size.seed), floor=0.97)
    plan = Plan(requests=size.rows, tick=size.rows_per_tick, seed=size.seed)
    began, began_cpu = time.perf_counter(), time.process_time()
    play(setting, maker, plan=plan, declared=declared)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    parts = np.array_split(np.array(costs), min(PARTS, len(costs)))
    return Report(
        machine=f"{platform.machine()} {platform.system()}",
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        numpy=np.__version__,
        load_average=load,
        size=size,
        decide_us=decided,
        solve_ms=solved,
        replay_seconds=wall,
        replay_cpu_seconds=cpu,
        tick_ms=tuple(float(np.median(part)) * 1e3 for part in parts),
    )


def _decisions(decide: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile of one decision, in microseconds."""
    for _ in range(DECISIONS // 10):
        decide()
    spent = np.zeros(DECISIONS)
    for index in range(DECISIONS):
        began = time.perf_counter_ns()
        decide()
        spent[index] = time.perf_counter_ns() - began
    median, most = np.quantile(spent, [0.5, 0.99]) / 1e3
    return float(median), float(most)


def _setting(size: Size) -> Setting:
    rng = np.random.default_rng(size.seed)
    world = made_up(rng, items=40 * size.roles, roles=size.roles, tiers=3)
    check = Check(sensitivity=0.8, false_alarm=0.1)
    return Setting(world=world, arms=ladder_arms(world.tiers), check=check)


def _solves(setting: Setting) -> tuple[float, float]:
    """Median and largest cost of a solve with a margin, in milliseconds."""
    known = truth(setting, stage=Stage())
    roles, arms = known.role_quality.shape
    rng = np.random.default_rng(0)
    spent = []
    for _ in range(SOLVES):
        quality = known.role_quality + rng.normal(0, DOUBT, (roles, arms))
        programme = Programme(
            arms=Composed(
                quality=quality,
                cost=known.role_cost,
                own=np.full((roles, 1, arms), DOUBT),
                common=np.zeros((roles, 1, arms)),
            ),
            weights=known.weights,
            floor=0.97 * setting.world.top_quality,
            role_floors=None,
            least=np.zeros((roles, arms)),
            allowed=np.ones((roles, arms), dtype=bool),
            bound=Bound(z=Settings().z),
            role_bound=Bound(z=Settings().role_z),
        )
        began = time.process_time()
        solve(programme)
        spent.append((time.process_time() - began) * 1e3)
    return statistics.median(spent), max(spent)
