"""How a role's steps hang together, out of the store: what changing a conversation's model loses.

From sums of steps and of the cached tokens that they read, by start tier and by the start tier of
the conversation's step before (none for the first one):

    continues    share of the steps that have one before them
    left         mean number of steps before a step that goes on, in its conversation
    stands_t     share of the steps that go on whose step before started at t
    warm_t       cached tokens a step, of those that stayed at t less those that began at t

``warm`` leaves out what any step reads from the cache, such as instructions that all share: a step
from elsewhere finds these at the new tier too. A cell with few steps that go on takes its scope's
figures, a tier where nothing stayed those of all tiers.
In conversations of lengths L the steps that go on have sum of L (L - 1) / 2 steps left, themselves
included, and as many before them; so ``left`` needs no word on how conversations end. It is counted
in the last steps; where these are not in the store it is steps / first steps, which is right where
conversations end at random and up to twice what is left where they are all equally long.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from learning.switching import Conversations
from learning.tally import Floats

CONTINUING_MIN: Final = 50.0  # steps that went on with a conversation, before a figure counts
HALF_LIFE: Final = 2_000.0  # steps after which older ones weigh half

_STEPS, _CACHED = range(2)


def conversations(
    rows: Sequence[Mapping[str, Any]],
    *,
    cells: tuple[str, ...],
    fallback: str,
    ages: Sequence[Mapping[str, Any]] = (),
) -> Conversations | None:
    """Return the figures of ``cells``; None where too few steps go on to say anything.

    A row holds ``cell``, ``epoch``, ``start`` (tier), ``before`` (tier, or empty for a first step),
    ``steps`` and ``tokens_cached``; one of ``ages`` ``cell``, ``steps`` that went on and how many
    came before these, in all. Rows of other cells count for ``fallback``.
    """
    tiers = sorted({str(row[side]) for row in rows for side in ("start", "before")} - {""})
    sums = _sums(rows, cells=cells, fallback=fallback, tiers=tiers)
    whole = sums.sum(axis=0)
    if whole[:, 1:, _STEPS].sum() < CONTINUING_MIN:
        return None
    thin = sums[:, :, 1:, _STEPS].sum(axis=(1, 2)) < CONTINUING_MIN
    sums = np.where(thin[:, None, None, None], whole, sums)
    steps = sums[..., _STEPS]
    asked, first, going_on = steps.sum(axis=(1, 2)), steps[:, :, 0].sum(axis=1), steps[:, :, 1:]
    before = going_on.sum(axis=1)
    stayed = np.stack([sums[:, at, at + 1] for at in range(len(tiers))], axis=1)
    warm = np.maximum(_mean(stayed) - _mean(sums[:, :, 0]), 0.0)
    known = stayed[..., _STEPS]
    usual = _ratio((known * warm).sum(axis=1), known.sum(axis=1))
    warm = np.where(known > 0, warm, usual[:, None])
    stands = before / before.sum(axis=1, keepdims=True)
    return Conversations(
        continues=before.sum(axis=1) / asked,
        left=_left(ages, cells=cells, fallback=fallback, plain=asked / np.maximum(first, 1.0)),
        stands={tier: stands[:, at] for at, tier in enumerate(tiers)},
        warm={tier: warm[:, at] for at, tier in enumerate(tiers)},
    )


def _left(
    ages: Sequence[Mapping[str, Any]], *, cells: tuple[str, ...], fallback: str, plain: Floats
) -> Floats:
    """Steps that are left, (cells,); of all cells where one has few, ``plain`` where all have."""
    sums = np.zeros((len(cells), 2))
    for row in ages:
        cell = cells.index(row["cell"] if row["cell"] in cells else fallback)
        sums[cell] += (row["steps"], row["ages"])
    whole = sums.sum(axis=0)
    if whole[0] < CONTINUING_MIN:
        return plain
    sums = np.where(sums[:, :1] < CONTINUING_MIN, whole, sums)
    return np.asarray(sums[:, 1] / sums[:, 0])


def _sums(
    rows: Sequence[Mapping[str, Any]], *, cells: tuple[str, ...], fallback: str, tiers: list[str]
) -> Floats:
    """Steps and cached tokens, (cells, start tiers, tiers before with none first, 2), aged."""
    place = {tier: at for at, tier in enumerate(tiers)}
    sums = np.zeros((len(cells), len(tiers), len(tiers) + 1, 2))
    later, newer, epoch = 0.0, 0.0, None
    for row in sorted(rows, key=lambda row: -int(row["epoch"])):
        if row["epoch"] != epoch:
            later, newer, epoch = later + newer, 0.0, row["epoch"]
        newer += row["steps"]
        cell = cells.index(row["cell"] if row["cell"] in cells else fallback)
        before = place[row["before"]] + 1 if row["before"] else 0
        weight = 2.0 ** (-later / HALF_LIFE)
        sums[cell, place[row["start"]], before] += (
            weight * row["steps"],
            weight * row["tokens_cached"],
        )
    return sums


def _mean(sums: Floats) -> Floats:
    """Cached tokens a step; 0 where there were no steps."""
    return _ratio(sums[..., _CACHED], sums[..., _STEPS])


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0))
