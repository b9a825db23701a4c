"""The gate: how much of what was solved may be served now.

| | cheaper | dearer |
|---|---|---|
| off, observe | never | never |
| propose | whole, when a person agrees | whole, when a person agrees |
| bounded | ``step_max`` of a cell's steps, once a dwell | at once |
| quality alert disarmed | no | as above |
| cost alert disarmed | as above | only back to the declared table |
| frozen | no | no |
| unsafe: its quality alert fires, or its state is being rebuilt | no | to the declared table |

A move is *cheaper* when the cell's expected cost falls. Between a mix and the aim every step of the
way clears what both clear, because the programme's lower bound is concave. Moves of less than
``MOVE_MIN`` of a cell's steps are noise and are not made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from learning.tally import Floats

MOVE_MIN = 0.02
DIGITS = 4  # shares are rounded so that equal mixes have equal texts


class Block(StrEnum):
    """Why a move that was solved is not (wholly) made."""

    MODE = "mode"
    FROZEN = "frozen"
    UNSAFE = "unsafe"
    QUALITY_DISARMED = "quality_disarmed"
    COST_DISARMED = "cost_disarmed"
    DWELL = "dwell"
    STEP = "step"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What holds for a role now.

    ``acts`` says that some mode of it lets the learner move at all; ``paced`` that steps and dwell
    apply (`bounded`); ``rested`` that the dwell since the last cheaper move is over.
    """

    acts: bool
    paced: bool
    quality_armed: bool
    cost_armed: bool
    frozen: bool
    unsafe: bool
    rested: bool
    step_max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """The mix that may be served now (c, a), which cells moved, and what held others back."""

    shares: Floats
    cheaper: tuple[int, ...]
    dearer: tuple[int, ...]
    blocks: frozenset[Block]

    @property
    def moved(self) -> tuple[int, ...]:
        """The cells whose mix changes."""
        return tuple(sorted({*self.cheaper, *self.dearer}))


def passed(
    current: Floats, aim: Floats, *, declared: Floats, cost: Floats, limits: Limits
) -> Passed:
    """Let through what ``limits`` allow of the way from ``current`` to ``aim``.

    All are (cells, arms); ``cost`` is the expected USD of each arm.
    """
    if not limits.acts:
        return Passed(shares=current, cheaper=(), dearer=(), blocks=frozenset({Block.MODE}))
    shares, blocks = current.copy(), set()
    cheaper: list[int] = []
    dearer: list[int] = []
    for row in range(len(current)):
        wanted, why = _wanted(current[row], aim[row], declared[row], cost[row], limits)
        blocks |= why
        distance = moved_share(current[row], wanted)
        if distance < MOVE_MIN:
            continue
        falls = bool((wanted - current[row]) @ cost[row] < 0.0)
        if falls and limits.paced and distance > limits.step_max:
            wanted = current[row] + (wanted - current[row]) * (limits.step_max / distance)
            blocks.add(Block.STEP)
        shares[row] = wanted
        (cheaper if falls else dearer).append(row)
    return Passed(
        shares=shares, cheaper=tuple(cheaper), dearer=tuple(dearer), blocks=frozenset(blocks)
    )


def moved_share(before: Floats, after: Floats) -> float:
    """The share of a cell's steps that change their arm: total variation."""
    return 0.5 * float(np.abs(after - before).sum())


def rounded(shares: Floats, *, names: tuple[str, ...]) -> Mapping[str, float]:
    """One cell's shares by arm name, few digits, summing to 1; zeros are left out."""
    found = {name: round(float(share), DIGITS) for name, share in zip(names, shares, strict=True)}
    largest = max(found, key=lambda name: found[name])
    found[largest] = round(1.0 - sum(found.values()) + found[largest], DIGITS)
    return {name: share for name, share in found.items() if share > 0.0}


def _wanted(
    current: Floats, aim: Floats, declared: Floats, cost: Floats, limits: Limits
) -> tuple[Floats, set[Block]]:
    """Where a cell may go at all, steps aside, and what forbids the aim."""
    now = float(current @ cost)
    fallback = declared if float(declared @ cost) > now else current
    if limits.unsafe:
        return fallback, {Block.UNSAFE}
    block = _block(limits, falls=float(aim @ cost) < now)
    if block is None or moved_share(current, aim) < MOVE_MIN:
        return aim, set()
    return fallback if block is Block.COST_DISARMED else current, {block}


def _block(limits: Limits, *, falls: bool) -> Block | None:
    """What forbids a move to a cheaper mix (``falls``) or to a dearer one."""
    if limits.frozen:
        return Block.FROZEN
    if not falls:
        return None if limits.cost_armed else Block.COST_DISARMED
    if not limits.quality_armed:
        return Block.QUALITY_DISARMED
    return Block.DWELL if limits.paced and not limits.rested else None
