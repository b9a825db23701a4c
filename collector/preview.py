"""The impact preview: recent decisions replayed under a revision that was not in force.

Nothing is called again. What a revision would have cost and delivered is estimated from what the
log holds, weighted by how likely each logged choice was then and would be now (``evals.ope``).
A role *clears* its floor when the doubly robust estimate's 95 % lower bound is not more than
``SLACK`` below it, *misses* it when the upper bound is below it, and is *inconclusive* otherwise,
or when an arm that it moves to rests on too few decisions. A role that moves back to the declared
table needs no proof: people wrote that.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from collector.recent_steps import Recent, Step, given
from evals.bounds import normal
from evals.ope import EFFECTIVE_MIN, Estimate, Log, dr_rows, evaluate
from evals.worlds import Floats
from learning.revision import Revision
from telemetry.records import Arm
from telemetry.terms import Terms

SLACK: Final = 0.02  # of mean quality: a shortfall that nobody would act upon
FALLS_BACK: Final = "it goes back to the declared table"
MOVES: Final = 1e-9  # a change of shares beyond rounding

Word = Literal["unchanged", "falls back", "clears", "misses", "inconclusive", "no floor"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; None where the log cannot tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleImpact:
    """What a revision does to one role; dollars are per step, quality is in 0..1."""

    role: str
    steps: int
    moves: float  # share of its steps that go another way
    usd_now: float | None
    usd_change: Interval | None
    quality: Interval | None
    quality_snips: float | None
    floor: float | None
    margin: Interval | None  # quality minus floor
    graded: int
    effective_rows: float | None
    verdict: Word
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Impact:
    """What a revision would do, by the last ``steps`` decisions.

    ``usd_change`` is the sum over those steps, None when a role that moves has no estimate.
    ``blocked`` holds the reasons for which nobody may approve without saying why.
    """

    revision: str
    base: str
    steps: int
    from_ns: int | None
    to_ns: int | None
    moves: float
    usd_now: float
    usd_change: Interval | None
    roles: tuple[RoleImpact, ...]
    inconclusive: bool
    blocked: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def impact(
    candidate: Revision | None, base: Revision | None, recent: Recent, terms: Terms
) -> Impact:
    """Replay ``recent`` under ``candidate`` and under ``base``; None is the declared policy."""
    by_role: dict[str, list[Step]] = {}
    for step in recent.steps:
        by_role.setdefault(step.role, []).append(step)
    roles = [_role(role, steps, candidate, base, terms) for role, steps in sorted(by_role.items())]
    moved = _moved_roles(candidate, base)
    roles = [
        _unproven(role, candidate, terms)
        if role.moves == 0.0 and role.role in moved and _few(by_role[role.role])
        else role
        for role in roles
    ]
    roles += [
        _unproven(_absent(role, terms), candidate, terms) for role in sorted(moved - set(by_role))
    ]
    moving = [role for role in roles if role.moves > 0]
    times = [step.at_ns for step in recent.steps]
    bad = [role for role in roles if role.verdict in ("inconclusive", "misses")]
    return Impact(
        revision="declared" if candidate is None else candidate.revision_id,
        base="declared" if base is None else base.revision_id,
        steps=recent.count,
        from_ns=min(times, default=None),
        to_ns=max(times, default=None),
        moves=sum(role.moves * role.steps for role in moving) / max(recent.count, 1),
        usd_now=sum(step.cost_usd or 0.0 for step in recent.steps),
        usd_change=_sum(moving),
        roles=tuple(roles),
        inconclusive=any(role.verdict == "inconclusive" for role in roles),
        blocked=tuple(f"{role.role}: {role.why}" for role in bad),
    )


def _moved_roles(candidate: Revision | None, base: Revision | None) -> set[str]:
    old, new = ({} if one is None else one.shares for one in (base, candidate))
    return {cell.partition("|")[0] for cell in {*old, *new} if old.get(cell) != new.get(cell)}


def _few(steps: Sequence[Step]) -> bool:
    """Say whether so few steps could move that none moving says nothing."""
    return sum(step.free for step in steps) < EFFECTIVE_MIN


def _absent(role: str, terms: Terms) -> RoleImpact:
    """A role that nobody asked lately."""
    declared = terms.of(role)
    return RoleImpact(
        role=role, steps=0, moves=0.0, usd_now=None, usd_change=None, quality=None,
        quality_snips=None, floor=None if declared is None else declared.floor, margin=None,
        graded=0, effective_rows=None, verdict="unchanged", why="",
    )  # fmt: skip


def _unproven(found: RoleImpact, candidate: Revision | None, terms: Terms) -> RoleImpact:
    """A role that the revision moves, with no recent step in what it moves."""
    declared = terms.of(found.role)
    shares = [
        arms
        for cell, arms in ({} if candidate is None else candidate.shares).items()
        if cell.partition("|")[0] == found.role
    ]
    if all(declared is not None and arms.get(str(declared.declared)) == 1.0 for arms in shares):
        return replace(found, verdict="falls back", why=FALLS_BACK)
    return replace(found, verdict="inconclusive", why="no recent step that it moves is in the log")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Replay:
    """One role's steps with the chance of each arm, before and after; n steps, c cells, a arms."""

    steps: Sequence[Step]
    arms: Sequence[Arm]
    examples: Sequence[Step]  # one of each cell
    cell: NDArray[np.int64]  # (n,)
    arm: NDArray[np.int64]  # (n,)
    before: Floats  # (c, a)
    after: Floats  # (c, a)
    declared: Floats  # (c, a)

    @property
    def moves(self) -> float:
        """Share of the steps that go another way."""
        apart = np.abs(self.after - self.before).sum(axis=1) / 2
        return float(apart[self.cell].mean())

    def log(self, rewards: Sequence[float | None], *, scale: float) -> tuple[Log, Floats, Floats]:
        """The steps with a known reward, and the two targets over the cells that they visit."""
        keep = np.array([reward is not None for reward in rewards], dtype=bool)
        known = [float(reward) / scale for reward in rewards if reward is not None]
        visited, cell = np.unique(self.cell[keep], return_inverse=True)
        count = int(keep.sum())
        log = Log(
            cell=cell.astype(np.int64),
            arm=self.arm[keep],
            propensity=np.array([step.propensity for step in self.steps])[keep],
            reward=np.array(known, dtype=float),
            weight=np.ones(count),
            pinned=np.zeros(count, dtype=bool),
        )
        return log, self.before[visited], self.after[visited]


def _role(
    role: str,
    steps: Sequence[Step],
    candidate: Revision | None,
    base: Revision | None,
    terms: Terms,
) -> RoleImpact:
    free = [step for step in steps if step.free]
    replay = _replay(free, candidate, base, terms)
    moves = replay.moves * len(free) / len(steps) if free else 0.0
    costs = [step.cost_usd for step in steps if step.cost_usd is not None]
    declared = terms.of(role)
    floor = None if declared is None else declared.floor
    cost = _change(replay, [step.cost_usd for step in free]) if moves > MOVES else None
    graded = [step.quality for step in free]
    estimates = _estimates(replay, graded) if moves > MOVES else []
    doubly = estimates[2] if estimates else None
    quality = _interval(doubly)
    share = len(free) / len(steps)
    verdict, why = _verdict(moves, replay, doubly, floor=floor)
    return RoleImpact(
        role=role,
        steps=len(steps),
        moves=moves if moves > MOVES else 0.0,
        usd_now=sum(costs) / len(costs) if costs else None,
        usd_change=None if cost is None else _scaled(cost, share),
        quality=quality,
        quality_snips=_number(estimates[1].value) if estimates else None,
        floor=floor,
        margin=None if quality is None or floor is None else _shifted(quality, -floor),
        graded=sum(score is not None for score in graded),
        effective_rows=None if doubly is None else doubly.effective_rows,
        verdict=verdict,
        why=why,
    )


def _replay(
    steps: Sequence[Step], candidate: Revision | None, base: Revision | None, terms: Terms
) -> _Replay:
    arms: dict[Arm, int] = {}
    groups: dict[tuple[str, tuple[Arm, ...]], int] = {}
    examples: list[Step] = []
    for step in steps:
        for arm in step.offered:
            arms.setdefault(arm, len(arms))
        key = (step.cell, step.offered)
        if key not in groups:
            groups[key] = len(groups)
            examples.append(step)
    before, after, declared = (np.zeros((len(groups), len(arms))) for _ in range(3))
    for index, step in enumerate(examples):
        for target, revision in ((before, base), (after, candidate), (declared, None)):
            for arm, share in given(revision, step, terms).items():
                target[index, arms[arm]] = share
    return _Replay(
        steps=steps,
        arms=tuple(arms),
        examples=examples,
        cell=np.array([groups[step.cell, step.offered] for step in steps], dtype=np.int64),
        arm=np.array([arms[step.arm] for step in steps], dtype=np.int64),
        before=before,
        after=after,
        declared=declared,
    )


def _estimates(replay: _Replay, rewards: Sequence[float | None]) -> list[Estimate]:
    """IPS, SNIPS and DR of the mean reward afterwards."""
    log, before, after = replay.log(rewards, scale=1.0)
    if len(log.reward) == 0:
        return []
    return [
        replace(found, refused=_named(found.refused, replay, rewards))
        for found in evaluate(log, after, logging=before)
    ]


def _named(refused: str | None, replay: _Replay, rewards: Sequence[float | None]) -> str | None:
    """Give the arm and the cell of a refusal their names in place of their numbers."""
    found = None if refused is None else re.search(r"arm (\d+) in cell (\d+)", refused)
    if refused is None or found is None:
        return refused
    visited = sorted(
        {cell for cell, reward in zip(replay.cell.tolist(), rewards, strict=True)
         if reward is not None}
    )  # fmt: skip
    example = replay.examples[visited[int(found[2])]]
    return refused.replace(found[0], f"{replay.arms[int(found[1])]} in {example.cell}")


def _change(replay: _Replay, costs: Sequence[float | None]) -> Interval | None:
    """The change of the mean cost, paired step by step; None when the log cannot tell."""
    scale = max((cost for cost in costs if cost is not None), default=0.0)
    if scale <= 0.0:
        return None
    log, before, after = replay.log(costs, scale=scale)
    if len(log.reward) < 2 or evaluate(log, after, logging=before)[2].refused is not None:
        return None
    rows = (dr_rows(log, after) - dr_rows(log, before)) * scale
    low, high = normal(rows)
    return Interval(value=float(rows.mean()), low=low, high=high)


def _verdict(
    moves: float, replay: _Replay, quality: Estimate | None, *, floor: float | None
) -> tuple[Word, str]:
    if moves <= MOVES:
        return "unchanged", "no step moves"
    if _falls_back(replay):
        return "falls back", FALLS_BACK
    if floor is None:
        return "no floor", "it has no quality floor to keep"
    return _against(floor, quality)


def _against(floor: float, quality: Estimate | None) -> tuple[Word, str]:
    if quality is None:
        return "inconclusive", "no recent step of it was graded"
    if quality.refused is not None:
        return "inconclusive", quality.refused
    margin = f"predicted quality {quality.low:.3f} to {quality.high:.3f}, floor {floor:g}"
    if quality.low >= floor - SLACK:
        return "clears", margin
    if quality.high < floor:
        return "misses", f"{margin}: it would be missed"
    return "inconclusive", f"{margin}: it may be missed"


def _falls_back(replay: _Replay) -> bool:
    """Say whether every step that moves gets the declared arm for certain."""
    moved = np.abs(replay.after - replay.before).sum(axis=1) > MOVES
    return bool(np.allclose(replay.after[moved], replay.declared[moved]))


def _interval(estimate: Estimate | None) -> Interval | None:
    if estimate is None or not math.isfinite(estimate.value):
        return None
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _scaled(interval: Interval, factor: float) -> Interval:
    low, high = interval.low * factor, interval.high * factor
    return Interval(value=interval.value * factor, low=low, high=high)


def _shifted(interval: Interval, by: float) -> Interval:
    return Interval(value=interval.value + by, low=interval.low + by, high=interval.high + by)


def _sum(moving: Sequence[RoleImpact]) -> Interval | None:
    """The change over all steps; roles err independently of each other."""
    if any(role.usd_change is None for role in moving):
        return None
    value = half = 0.0
    for role in moving:
        assert role.usd_change is not None, "looked at above"
        value += role.usd_change.value * role.steps
        half += ((role.usd_change.high - role.usd_change.low) / 2 * role.steps) ** 2
    return Interval(value=value, low=value - math.sqrt(half), high=value + math.sqrt(half))
