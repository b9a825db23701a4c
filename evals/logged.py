"""Decisions of a real log as off-policy evaluation wants them, and what a policy would have earned.

Arms are told apart by the tiers they walk, so `step` and `top` of a ladder with two tiers are one.
Only decisions that a learner was free to make count: pins, sessions, budgets and fallbacks would
have been the same under any policy.

Not every answer is graded. A graded decision stands for all decisions of its group (role, mode,
dialect and cell) and arm: its weight is their number over the number of those graded. That is right
when whether an answer is graded depends on nothing else; where people grade what annoyed them it is
not, and nothing here can tell.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from evals.ope import Estimate, Log, evaluate
from evals.worlds import Floats
from learning.arms import Chain, chain
from learning.revision import parse_arm
from telemetry.records import Reason

FREE: Final = frozenset({Reason.DECLARED, Reason.LEARNED, Reason.EXPLORED})
COLUMNS: Final = (
    "role", "mode", "dialect", "cell", "tier_start", "on_fail", "offered", "propensity", "reason",
    "pinned", "quality", "cost_usd",
)  # fmt: skip
_NAMED = re.compile(r"arm (\d+) in cell (\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """What a target may look at: steps of one group get the same probabilities."""

    role: str
    mode: str | None
    dialect: str
    cell: str | None

    def __str__(self) -> str:
        return f"role {self.role}" + (f", mode {self.mode}" if self.mode else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """One decision that was free: the tiers its arm walks, its chance and what came of it."""

    group: Group
    path: Chain
    propensity: float
    quality: float | None
    cost_usd: float | None


Target = Callable[[Group], Mapping[Chain, float] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What the target would have earned per step, beside what was earned; IPS, SNIPS, DR.

    ``measure`` is quality (0..1) or usd; ``role`` None: all roles together. ``logged`` is the mean
    that the log holds, ``known`` the decisions for which the measure is known.
    """

    measure: str
    role: str | None
    decisions: int
    known: int
    logged: float | None
    estimates: tuple[Estimate, ...]


def logged(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Logged], Counter[str]]:
    """Read rows with ``COLUMNS``: the free decisions, and why others were left out."""
    found: list[Logged] = []
    left: Counter[str] = Counter()
    for row in rows:
        if row["pinned"] or row["reason"] not in FREE:
            left["not free"] += 1
            continue
        step = _step(row)
        if step is None:
            left["incomplete"] += 1
        else:
            found.append(step)
    return found, left


def _step(row: Mapping[str, Any]) -> Logged | None:
    """One row, or None when it lacks what is needed or contradicts itself."""
    offered, chance = row["offered"], row["propensity"]
    if not row["role"] or not offered or not chance or not 0 < chance <= 1 or not row["on_fail"]:
        return None
    try:
        arms = [
            parse_arm(arm) for arm in (offered.split(",") if isinstance(offered, str) else offered)
        ]
        arm = parse_arm(f"{row['tier_start']}/{row['on_fail']}")
    except ValueError:
        return None
    tiers = list(dict.fromkeys(one.tier for one in arms))
    if arm.tier not in tiers:
        return None
    quality = row["quality"]
    return Logged(
        group=Group(
            role=row["role"], mode=row["mode"], dialect=row["dialect"] or "", cell=row["cell"]
        ),
        path=chain(arm, tiers=tiers),
        propensity=float(chance),
        quality=None if quality is None else min(max(float(quality), 0.0), 1.0),
        cost_usd=row["cost_usd"],
    )


def worth(steps: Sequence[Logged], target: Target) -> tuple[list[Worth], int]:
    """Quality and cost of ``target``, over all roles and role by role.

    Also how many steps were left out because the target has no free choice for them.
    """
    shares = {group: target(group) for group in {step.group for step in steps}}
    free = [step for step in steps if shares[step.group] is not None]
    roles = sorted({step.group.role for step in free})
    found = []
    for role in (None, *(roles if len(roles) > 1 else ())):
        own = [step for step in free if role in (None, step.group.role)]
        for measure, pick in (("quality", _quality), ("usd", _cost)):
            found.append(_worth(own, shares, pick=pick, measure=measure, role=role))
    return found, len(steps) - len(free)


def _quality(step: Logged) -> float | None:
    return step.quality


def _cost(step: Logged) -> float | None:
    return step.cost_usd


def _worth(
    steps: Sequence[Logged],
    shares: Mapping[Group, Mapping[Chain, float] | None],
    *,
    pick: Callable[[Logged], float | None],
    measure: str,
    role: str | None,
) -> Worth:
    """One measure over some steps."""
    values = [(step, value) for step in steps if (value := pick(step)) is not None]
    scale = max((value for _, value in values), default=1.0) if measure == "usd" else 1.0
    groups = sorted({step.group for step, _ in values}, key=repr)
    paths = sorted(
        {step.path for step, _ in values}.union(*(shares[group] or {} for group in groups))
    )
    estimates: list[Estimate] = []
    if values:
        log, wanted = _log(steps, values, shares, groups=groups, paths=paths, scale=scale or 1.0)
        estimates = [
            _named(_scaled(one, scale or 1.0), groups=groups, paths=paths)
            for one in evaluate(log, wanted)
        ]
    return Worth(
        measure=measure,
        role=role,
        decisions=len(steps),
        known=len(values),
        logged=float(np.mean([value for _, value in values])) if values else None,
        estimates=tuple(estimates),
    )


def _log(
    steps: Sequence[Logged],
    values: Sequence[tuple[Logged, float]],
    shares: Mapping[Group, Mapping[Chain, float] | None],
    *,
    groups: Sequence[Group],
    paths: Sequence[Chain],
    scale: float,
) -> tuple[Log, Floats]:
    """The steps with a known value, weighted for those without, and the target over them."""
    group_at = {group: index for index, group in enumerate(groups)}
    path_at = {path: index for index, path in enumerate(paths)}
    wanted = np.zeros((len(groups), len(paths)))
    for group, index in group_at.items():
        for path, share in (shares[group] or {}).items():
            wanted[index, path_at[path]] = share
    everything = Counter((step.group, step.path) for step in steps)
    known = Counter((step.group, step.path) for step, _ in values)
    log = Log(
        cell=np.array([group_at[step.group] for step, _ in values], dtype=np.int64),
        arm=np.array([path_at[step.path] for step, _ in values], dtype=np.int64),
        propensity=np.array([step.propensity for step, _ in values]),
        reward=np.array([value / scale for _, value in values]),
        weight=np.array(
            [everything[step.group, step.path] / known[step.group, step.path] for step, _ in values]
        ),
        pinned=np.zeros(len(values), dtype=bool),
    )
    return log, wanted


def _scaled(found: Estimate, scale: float) -> Estimate:
    """The estimate in the measure's own unit."""

    def up(value: float | None) -> float | None:
        return None if value is None else value * scale

    return replace(
        found,
        value=found.value * scale,
        low=found.low * scale,
        high=found.high * scale,
        safe_low=up(found.safe_low),
        safe_high=up(found.safe_high),
        gate_low=up(found.gate_low),
    )


def _named(found: Estimate, *, groups: Sequence[Group], paths: Sequence[Chain]) -> Estimate:
    """The estimate with the arm and the cell of a refusal by their names."""
    if found.refused is None:
        return found

    def names(match: re.Match[str]) -> str:
        return f"arm {' > '.join(paths[int(match[1])])} in {groups[int(match[2])]}"

    return replace(found, refused=_NAMED.sub(names, found.refused))
