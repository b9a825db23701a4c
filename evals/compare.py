"""Many policies, worlds and seeds side by side: what `tierwise replay` shows.

Costs are true means of the judged revisions. A policy with more than 5 % of its requests served by
violating revisions is disqualified: its cost stands, but it did not do the task.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np

from evals.baselines.oracle import constrained
from evals.replay import Plan, Run
from evals.rivals.field import NAMES, Policy, floors, policies
from evals.scenarios import busiest_tier, stages
from evals.scores import (
    DISQUALIFIED_FROM,
    Score,
    alarm_after,
    labels_to,
    requests_to_recover,
    score,
)
from evals.simulate import Check, Labels, Setting, truth
from evals.tables import fitted
from evals.worlds import Ints, World
from learning.arms import ladder_arms
from learning.derive import Settings
from telemetry.errors import ConfigError

RESAMPLES = 1_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to compare: floors relative to each world's top tier, one check, one scenario.

    Policies learn every ``tick`` requests (50 in the first 1,000); those that learn after every one
    stand still for ``online_tick``.
    """

    floor: float = 0.97
    role_floor: float | None = None
    check: Check = field(default_factory=Check)
    labels: Labels = field(default_factory=Labels)
    scenario: str = "stationary"
    requests: int = 20_000
    tick: int = 200
    seeds: int = 6
    online_tick: int = 50
    policies: tuple[str, ...] = ("tierwise", "table", "frontier")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One policy in one world and seed."""

    policy: str
    world: str
    digest: str
    seed: int
    score: Score
    cost_of_table: float  # the policy's cost / the declared table's
    cost_of_oracle: float  # the policy's cost / the constrained oracle's
    late_of_oracle: float  # the same over the last quarter
    alarm_requests: int | None  # from the first change to the first alarm after it
    alarm_labels: int | None  # labels on the changed tier that arrived in between
    recover_requests: int | None  # from the change until the floor holds again
    false_alarms: int  # alarms before the first change


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One policy over all worlds and seeds: means over worlds, with 95 % bootstrap intervals."""

    policy: str
    figures: Mapping[str, float]
    cost_interval: tuple[float, float]
    bad_interval: tuple[float, float]
    disqualified: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything a reader needs to repeat and to judge the comparison."""

    request: Request
    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON; what cannot be told is None."""
        found = _plain(asdict(self))
        assert isinstance(found, dict)
        return found


def _plain(value: object) -> object:
    """The value with None for every NaN."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def compare(
    worlds: Sequence[World],
    *,
    request: Request,
    settings: Settings | None = None,
    declare: Callable[[Setting, np.random.Generator], Ints] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Play every policy on every world and seed.

    ``declare`` writes the declared table; by default one is fitted on 30 examples per role.
    ``progress`` is called with runs done and runs in all. Raises ConfigError on an unknown policy
    or scenario. A tier that a world lacks is skipped there.
    """
    unknown = [name for name in request.policies if name not in NAMES]
    if unknown:
        raise ConfigError(f"no policy {unknown[0]!r}", hint=f"known: {', '.join(NAMES)}")
    rows: list[Row] = []
    total, done = len(worlds) * request.seeds * len(request.policies), 0
    for world in worlds:
        setting = Setting(world=world, arms=ladder_arms(world.tiers), check=request.check)
        known = policies(
            setting,
            floor=request.floor,
            settings=settings or Settings(),
            online_tick=request.online_tick,
        )
        for seed in range(request.seeds):
            rng = np.random.default_rng([seed, 7])
            declared = (
                declare(setting, rng) if declare else fitted(setting, rng, floor=request.floor)
            )
            for name in request.policies:
                if name in known:
                    rows.append(_row(setting, request, (name, known[name]), (seed, declared)))
                done += 1
                if progress:
                    progress(done, total)
    names = [name for name in request.policies if any(row.policy == name for row in rows)]
    return Report(
        request=request,
        rows=tuple(rows),
        summaries=tuple(
            summarise(
                name,
                [row for row in rows if row.policy == name],
                changed=request.scenario != "stationary",
            )
            for name in names
        ),
    )


def _row(
    setting: Setting, request: Request, policy: tuple[str, Policy], start: tuple[int, Ints]
) -> Row:
    """Play one policy once."""
    seed, declared = start
    parts = stages(request.scenario, setting=setting, floor=request.floor, labels=request.labels)
    plan = Plan(
        floor=request.floor,
        role_floor=request.role_floor,
        stages=parts,
        requests=request.requests,
        tick=request.tick,
        seed=seed,
    )
    run = policy[1](setting, plan=plan, declared=declared)
    change = next((int(part.since * request.requests) for part in parts[1:]), None)
    alarm = None if change is None else alarm_after(run, since=change)
    oracle, late_oracle, declared_cost = _bounds(setting, run, plan=plan, declared=declared)
    mine = score(run)
    return Row(
        policy=policy[0],
        world=setting.world.name,
        digest=setting.world.digest,
        seed=seed,
        score=mine,
        cost_of_table=mine.cost / declared_cost,
        cost_of_oracle=mine.cost / oracle,
        late_of_oracle=mine.cost_late / late_oracle,
        alarm_requests=alarm,
        alarm_labels=None
        if change is None or alarm is None
        else labels_to(
            run,
            since=change,
            until=change + alarm,
            tier=busiest_tier(setting, floor=request.floor),
        ),
        recover_requests=None if change is None else requests_to_recover(run, since=change),
        false_alarms=len([at for at in run.alarms if change is None or at <= change]),
    )


def _bounds(
    setting: Setting, run: Run, *, plan: Plan, declared: Ints
) -> tuple[float, float, float]:
    """Cost of the oracle (all, last quarter) and of the table, as shares of always-top."""
    wanted = floors(setting, plan=plan)
    cost = {part.since: constrained(setting, stage=part, floors=wanted)[2] for part in plan.stages}
    spent, table_spent, top, sizes, late = [], [], [], [], []
    truths = {part.since: truth(setting, stage=part) for part in plan.stages}
    for step in run.steps:
        part = plan.stage_at(step.start)
        known = truths[part.since]
        own = known.role_cost[np.arange(len(declared)), declared]
        spent.append(cost[part.since])
        table_spent.append(float(known.weights @ own))
        top.append(step.top_cost)
        sizes.append(step.end - step.start)
        late.append(step.end > 0.75 * plan.requests)
    weight = np.array(sizes, dtype=float)
    last = weight * np.array(late)
    top_all = np.array(top)
    return (
        float(weight @ spent) / float(weight @ top_all),
        float(last @ spent) / float(last @ top_all),
        float(weight @ table_spent) / float(weight @ top_all),
    )


def summarise(policy: str, rows: Sequence[Row], *, changed: bool = True) -> Summary:
    """Means over worlds of the means over seeds, with a bootstrap over seeds within worlds.

    ``changed`` says whether the scenario changes anything, so that there is something to recover
    from.
    """
    worlds = list(dict.fromkeys(row.world for row in rows))
    mean = partial(_mean, rows, worlds)
    figures = {
        name: mean(lambda row, name=name: getattr(row.score, name))  # type: ignore[misc]
        for name in Score.__dataclass_fields__
    }
    figures |= {
        "cost_of_table": mean(lambda row: row.cost_of_table),
        "cost_of_oracle": mean(lambda row: row.cost_of_oracle),
        "late_of_oracle": mean(lambda row: row.late_of_oracle),
        "alarm_requests": mean(lambda row: row.alarm_requests),
        "alarm_labels": mean(lambda row: row.alarm_labels),
        "never_alarmed": mean(lambda row: float(row.alarm_requests is None) if changed else None),
        "recover_requests": mean(lambda row: row.recover_requests),
        "never_recovered": mean(
            lambda row: float(row.recover_requests is None) if changed else None
        ),
        "false_alarms": mean(lambda row: row.false_alarms),
    }
    return Summary(
        policy=policy,
        figures=figures,
        cost_interval=_interval(rows, worlds, pick=lambda row: row.score.cost),
        bad_interval=_interval(rows, worlds, pick=lambda row: row.score.bad),
        disqualified=figures["bad"] > DISQUALIFIED_FROM,
    )


def _mean(rows: Sequence[Row], worlds: Sequence[str], pick: Callable[[Row], float | None]) -> float:
    """Mean over worlds of the mean over seeds where it is known; NaN when it is nowhere known."""
    per_world = []
    for world in worlds:
        values = [pick(row) for row in rows if row.world == world]
        known = [value for value in values if value is not None and not math.isnan(value)]
        if known:
            per_world.append(float(np.mean(known)))
    return float(np.mean(per_world)) if per_world else float("nan")


def _interval(
    rows: Sequence[Row], worlds: Sequence[str], *, pick: Callable[[Row], float]
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over worlds, seeds resampled within each world."""
    rng = np.random.default_rng(0)
    means = np.zeros(RESAMPLES)
    for world in worlds:
        values = np.array([pick(row) for row in rows if row.world == world])
        means += values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means / len(worlds), [0.025, 0.975])
    return float(low), float(high)
