"""What differs between two revisions, cell by cell and arm by arm, with what is known of the arms.

Costs and qualities of arms are means over recent decisions that chose them freely. A change is
*inconclusive* while an arm whose share changes rests on fewer than ``GRADED_MIN`` graded steps.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from collector.recent_steps import Step
from learning.revision import Revision
from telemetry.terms import Terms

GRADED_MIN: Final = 50
Z95: Final = 1.959963984540054
CLOSE: Final = 1e-9
DECLARED: Final = "declared"


@dataclass(slots=True)
class _Sums:
    steps: int = 0
    costed: int = 0
    cost: float = 0.0
    graded: int = 0
    quality: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmChange:
    """One arm of one cell; shares are in 0..1, means over ``steps`` recent decisions."""

    arm: str
    before: float
    after: float
    steps: int
    usd_per_step: float | None
    quality: float | None
    graded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CellChange:
    """One cell: what it would cost more or less per step, and deliver better or worse.

    ``quality_low`` and ``quality_high`` bound the change with 95 %; None is unknown. ``graded`` is
    the least evidence behind an arm that changes.
    """

    cell: str
    role: str
    arms: tuple[ArmChange, ...]
    usd_change: float | None
    quality_change: float | None
    quality_low: float | None
    quality_high: float | None
    graded: int
    inconclusive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Everything that differs between two revisions."""

    before: str
    after: str
    cells: tuple[CellChange, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def difference(
    before: Revision | None,
    after: Revision | None,
    *,
    terms: Terms | None,
    steps: Iterable[Step] = (),
) -> Difference:
    """Return what differs; None is the declared policy, whose arms ``terms`` know."""
    evidence = _evidence(steps)
    cells = sorted({cell for one in (before, after) if one is not None for cell in one.shares})
    found = []
    for cell in cells:
        old, new = (shares_in(one, cell, terms) for one in (before, after))
        arms = sorted({*old, *new})
        if all(abs(new.get(arm, 0.0) - old.get(arm, 0.0)) <= CLOSE for arm in arms):
            continue
        found.append(_cell(cell, old, new, evidence))
    return Difference(
        before=DECLARED if before is None else before.revision_id,
        after=DECLARED if after is None else after.revision_id,
        cells=tuple(found),
    )


def shares_in(revision: Revision | None, cell: str, terms: Terms | None) -> Mapping[str, float]:
    """Return the shares of a cell by arm: its own, its mode's, its role's, else the declared."""
    role, _, rest = cell.partition("|")
    mode = rest.partition("|")[0] or None
    declared = None if terms is None else terms.of(role, mode)
    own = declared is not None and declared.mode is not None
    for name in (cell, f"{role}|{mode or ''}|", *(() if own else (f"{role}||",))):
        if revision is not None and name in revision.shares:
            return revision.shares[name]
    return {DECLARED: 1.0} if declared is None else {str(declared.declared): 1.0}


def _evidence(steps: Iterable[Step]) -> dict[str, dict[str, _Sums]]:
    """Sums by cell and arm; an outcome also speaks for its mode's and its role's cell."""
    found: dict[str, dict[str, _Sums]] = {}
    for step in steps:
        if not step.free:
            continue
        for name in {step.cell, f"{step.role}|{step.mode or ''}|", f"{step.role}||"}:
            sums = found.setdefault(name, {}).setdefault(str(step.arm), _Sums())
            sums.steps += 1
            if step.cost_usd is not None:
                sums.costed += 1
                sums.cost += step.cost_usd
            if step.quality is not None:
                sums.graded += 1
                sums.quality += step.quality
                sums.squares += step.quality**2
    return found


def _cell(
    cell: str,
    old: Mapping[str, float],
    new: Mapping[str, float],
    evidence: Mapping[str, Mapping[str, _Sums]],
) -> CellChange:
    known = evidence.get(cell, {})
    arms = [
        _arm(arm, old.get(arm, 0.0), new.get(arm, 0.0), known.get(arm, _Sums()))
        for arm in sorted({*old, *new})
    ]
    moved = [arm for arm in arms if abs(arm.after - arm.before) > CLOSE]
    least = min(arm.graded for arm in moved)
    quality = _total(moved, [arm.quality for arm in moved])
    low, high = (None, None) if quality is None else _bounds(quality, _half(moved, known))
    return CellChange(
        cell=cell,
        role=cell.partition("|")[0],
        arms=tuple(arms),
        usd_change=_total(moved, [arm.usd_per_step for arm in moved]),
        quality_change=quality,
        quality_low=low,
        quality_high=high,
        graded=least,
        inconclusive=least < GRADED_MIN,
    )


def _arm(arm: str, before: float, after: float, sums: _Sums) -> ArmChange:
    return ArmChange(
        arm=arm,
        before=before,
        after=after,
        steps=sums.steps,
        usd_per_step=sums.cost / sums.costed if sums.costed else None,
        quality=sums.quality / sums.graded if sums.graded else None,
        graded=sums.graded,
    )


def _total(moved: list[ArmChange], means: list[float | None]) -> float | None:
    """The sum of share changes times means; None as soon as one mean is unknown."""
    total = 0.0
    for arm, mean in zip(moved, means, strict=True):
        if mean is None:
            return None
        total += (arm.after - arm.before) * mean
    return total


def _bounds(value: float, half: float | None) -> tuple[float | None, float | None]:
    return (None, None) if half is None else (value - half, value + half)


def _half(moved: list[ArmChange], known: Mapping[str, _Sums]) -> float | None:
    """Half the width of the 95 % interval of the change; None with fewer than two grades."""
    variance = 0.0
    for arm in moved:
        sums = known[arm.arm]
        if sums.graded < 2:
            return None
        mean = sums.quality / sums.graded
        spread = max(sums.squares / sums.graded - mean**2, 0.0) * sums.graded / (sums.graded - 1)
        variance += (arm.after - arm.before) ** 2 * spread / sums.graded
    return Z95 * math.sqrt(variance)
