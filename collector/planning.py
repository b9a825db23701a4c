"""One role's plan in a tick: its aim, what of it may be served, and the figures behind both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from collector.evidence import Evidence, Scope
from collector.learner_state import Carried
from learning.gate import Limits, Passed, moved_share, passed, rounded
from learning.revision import Revision, parse_arm
from learning.rolewise import SETTINGS, Aim, Case, aim, place_of
from learning.switching import Conversations
from learning.tally import Floats
from telemetry.records import Arm
from telemetry.terms import RoleTerms

SURE_Z: Final = 1.645  # one look, 95 % sure: the table "labels needed" of docs/learning.md


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A scope's aim and current mix (cells, arms), and what the gate let through."""

    scope: Scope
    declared: RoleTerms
    evidence: Evidence
    carried: Carried
    case: Case
    aim: Aim
    current: Floats
    passed: Passed

    @property
    def names(self) -> tuple[str, ...]:
        """The arms, in order, as tier/on_fail."""
        return tuple(str(arm) for arm in self.aim.arms.arms)

    @property
    def moved_cells(self) -> list[str]:
        """The cells that the gate lets move."""
        return [self.aim.cells[row] for row in self.passed.moved]

    def shares(self) -> dict[str, Mapping[str, float]]:
        """Return the shares to publish, by cell; none when every cell serves the declared arm."""
        mixes = self.passed.shares
        if moved_share(mixes, self.aim.declared) < 1e-6:
            return {}
        return {
            cell: rounded(mixes[row], names=self.names) for row, cell in enumerate(self.aim.cells)
        }

    def figures(self) -> dict[str, dict[str, float]]:
        """Return what each moved cell's new shares rest on."""
        found: dict[str, dict[str, float]] = {}
        quality, lower = self.aim.quality(self.passed.shares)
        for row in self.passed.moved:
            arms, after = self.aim.derived.arms, self.passed.shares[row]
            found[self.aim.cells[row]] = {
                "floor": self.aim.floor,
                "labels": round(float(self.evidence.labels), 3),
                "quality": round(quality, 6),
                "quality_lower": round(lower, 6),
                "cell_quality_before": round(float(self.current[row] @ arms.quality[row]), 6),
                "cell_quality_after": round(float(after @ arms.quality[row]), 6),
                "cost_usd_before": float(self.current[row] @ self.aim.running_usd[row]),
                "cost_usd_after": float(after @ self.aim.running_usd[row]),
                **{f"alarm.{tier}": 1.0 for tier in sorted(self.carried.demoted)},
            }
        return found


class Planner:
    """Solves what changed since the last tick; what did not is remembered."""

    def __init__(self) -> None:
        self._solved: dict[Scope, tuple[int, Aim]] = {}

    def aim(self, scope: Scope, evidence: Evidence, case: Case) -> Aim:
        """Return where a scope should go.

        Words without proof may only make it dearer: of the mix that they all support and the one
        that proven words support, the dearer one is aimed at.
        """
        key = _key(evidence, case)
        known = self._solved.get(scope)
        if known is not None and known[0] == key:
            return known[1]
        found = aim(evidence.trusted, case)
        if evidence.differs:
            other = aim(evidence.all, case)
            if found.cost(other.shares) > found.cost(found.shares):
                found = replace(found, shares=other.shares, standing=other.standing)
        self._solved[scope] = (key, found)
        return found

    def keep(self, scopes: set[Scope]) -> None:
        """Forget scopes that the policy has no more."""
        self._solved = {scope: kept for scope, kept in self._solved.items() if scope in scopes}


def gated(aimed: Aim, *, current: Floats, limits: Limits) -> Passed:
    """Return what may be served of an aim now."""
    return passed(
        current,
        aimed.shares,
        declared=aimed.declared,
        cost=aimed.running_usd,
        limits=limits,
    )


def current_of(revision: Revision | None, aimed: Aim, *, scope: Scope) -> Floats:
    """Return the mix (cells, arms) that gateways serve now, as far as the arms are allowed."""
    known = {} if revision is None else revision.shares
    rows = []
    for row, cell in enumerate(aimed.cells):
        role, mode, _ = cell.split("|", 2)
        names = [cell, f"{role}|{mode}|", f"{role}||"] if scope.mode is None else [cell, str(scope)]
        shares = next((known[name] for name in names if name in known), None)
        rows.append(aimed.declared[row] if shares is None else _placed(shares, aimed, row))
    return np.array(rows)


def _placed(shares: Mapping[str, float], aimed: Aim, row: int) -> Floats:
    """Shares by name as a row of arms; what is no longer allowed goes to the declared arm."""
    found = np.zeros(len(aimed.arms.arms))
    for name, share in shares.items():
        arm: Arm = parse_arm(name)
        if arm.tier in aimed.arms.tiers:
            found[place_of(arm, arms=aimed.arms)] += share
    placed: Floats = found + (1.0 - found.sum()) * aimed.declared[row]
    return placed


def describe(plan: Plan) -> dict[str, Any]:
    """Return a plan as `GET /api/learning` shows it."""
    aimed, evidence = plan.aim, plan.evidence
    quality, lower = aimed.quality(aimed.shares)
    mix = aimed.derived.weights @ plan.current
    to = aimed.derived.weights @ aimed.shares
    return {
        "standing": aimed.standing.value,
        "decisions": float(evidence.all.mix(half_life=1e12).sum()),
        "labels": evidence.labels,
        "labels_on_tasks": evidence.shared,
        "labels_from_checks_only": evidence.checks_only,
        "labels_without_proof": evidence.differs,
        "quality": quality,
        "quality_lower": lower,
        "cost_usd_now": aimed.cost(plan.current),
        "cost_usd_aim": aimed.cost(aimed.shares),
        "cost_usd_declared": aimed.cost(aimed.declared),
        "conversations": _talks(evidence.conversations, weights=aimed.derived.weights),
        "demoted": sorted(plan.carried.demoted),
        "canaries": _canaries(plan, to=to),
        "versions": dict(sorted(plan.carried.versions.items())),
        "blocked_by": sorted(plan.passed.blocks),
        "arms": [
            _arm(plan, at, share=float(mix[at]), to=float(to[at])) for at in range(len(plan.names))
        ],
        "cells": {
            cell: {
                "now": rounded(plan.current[row], names=plan.names),
                "aim": rounded(aimed.shares[row], names=plan.names),
            }
            for row, cell in enumerate(aimed.cells)
        },
    }


def _talks(found: Conversations | None, *, weights: Floats) -> dict[str, Any] | None:
    """How a role's steps hang together, over all of its cells; None when too few do."""
    if found is None:
        return None
    mean = weights / weights.sum()
    return {
        "continues": float(mean @ found.continues),
        "steps_left": float(mean @ found.left),
        "stands": {tier: float(mean @ share) for tier, share in found.stands.items()},
        "cached_tokens": {tier: float(mean @ tokens) for tier, tokens in found.warm.items()},
    }


def _canaries(plan: Plan, *, to: Floats) -> dict[str, dict[str, Any]]:
    """Where each tier with a new model stands; ``to`` (arms,) are the shares aimed at.

    `serves` where more of the steps ask it than exploration may, `stopped` where its labels are
    spent, `declared` where the declared arm walks it, else `trying`.
    """
    case, chains = plan.case, plan.case.arms.chains
    declared = chains[place_of(case.declared, arms=case.arms)]
    found = {}
    for tier, used in sorted(case.canaries.items()):
        share = float(to[[tier in path for path in chains]].sum())
        state = "serves" if share > SETTINGS.budget + SETTINGS.probe else "trying"
        if tier in declared:
            state = "declared"
        elif tier in plan.aim.stopped:
            state = "stopped"
        found[tier] = {
            "version": plan.carried.versions.get(tier),
            "labels": used,
            "budget": case.canary_labels,
            "share_aim": share,
            "state": state,
        }
    return found


def _arm(plan: Plan, at: int, *, share: float, to: float) -> dict[str, Any]:
    """One arm over all of the scope's steps: estimate, bounds, and what would certify it."""
    aimed = plan.aim
    mix = np.zeros_like(aimed.shares)
    mix[:, at] = 1.0
    quality, lower = aimed.quality(mix)
    labels = aimed.labels.get(aimed.arms.chains[at][:1], 0.0)
    return {
        "arm": plan.names[at],
        "share_now": share,
        "share_aim": to,
        "quality": quality,
        "quality_lower": lower,
        "quality_upper": 2 * quality - lower,
        "certified": lower >= aimed.floor * (1 - SETTINGS.tolerance),
        "cost_usd": aimed.cost(mix),
        "switching_usd": float(aimed.derived.weights @ aimed.derived.switching[:, at]),
        "labels": labels,
        "labels_needed": labels_needed(quality, floor=aimed.floor),
    }


def labels_needed(quality: float, *, floor: float) -> int | None:
    """Return how many pass-or-fail labels certify a true pass rate for a floor below it.

    None when the rate does not lie above the floor: no number of labels certifies it.

    >>> labels_needed(0.9, floor=0.87), labels_needed(0.8, floor=0.9)
    (271, None)
    """
    spare = quality - floor
    if spare <= 0.0:
        return None
    return int(np.ceil(SURE_Z**2 * max(quality * (1.0 - quality), 0.0) / spare**2))


def _key(evidence: Evidence, case: Case) -> int:
    """A number that changes whenever an aim may change."""
    parts: list[Any] = [case.floor, str(case.declared), case.arms, sorted(case.since.items())]
    parts += [sorted(case.demoted), sorted(case.canaries.items()), case.canary_labels]
    for vectors in (case.price, case.typical):
        parts += [(tier, value.tobytes()) for tier, value in sorted(vectors.items())]
    if case.conversations is not None:
        talks = case.conversations
        parts += [talks.continues.tobytes(), talks.left.tobytes()]
        for by_tier in (talks.stands, talks.warm):
            parts += [(tier, value.tobytes()) for tier, value in sorted(by_tier.items())]
    for tally in (evidence.trusted, evidence.all):
        parts.append(tally.cells)
        parts += [(epoch, sums.tobytes()) for epoch, sums in sorted(tally.epochs.items())]
    return hash(tuple(_hashable(part) for part in parts))


def _hashable(part: Any) -> Any:
    return tuple(part) if isinstance(part, list) else part
