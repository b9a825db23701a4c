"""Tokens of late: a model that becomes verbose is a silent price rise, and is followed soon.

Tokens have a memory of some thousand attempts, which is precise and slow. A change of the level of
a tier's answers is looked for in the tally itself: its attempts in their order, in blocks of 50 or
more, each set against what its cells and prefixes use on the whole, so that another mix of steps is
no change:

    level_b = tokens_b / sum over cells and prefixes of attempts_b * their mean tokens
    z_k = log(level after k / level before k) / (noise_k sqrt(1 / before + 1 / after))

``before`` and ``after`` are attempts; noise_k² is the mean of (level_b - level_b-1)² / (1 / n_b +
1 / n_b-1) without the step from k, and with 1 four times over. The largest |z_k| from 6 on is a
change if it is one of a fifth or more and the two blocks on either side all show half of it: a
single long answer makes none. Then the tokens from before are scaled to the level since, so that
what is known of how cells differ stays. Nothing is kept: the same evidence gives the same level,
and a false alarm ends with the blocks that raised it.
Fails (slow, as the memory is) where one cell's answers alone become longer, for changes of less
than a fifth, and for a tier that is hardly asked. Input tokens are the callers' doing and are not
looked at.
Source: Page 1955 (a change at an unknown time); von Neumann 1941 (noise from differences).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from learning.tally import Floats, Stat, Tally

BLOCK: Final = 50.0  # attempts of a block at least
BEFORE_MIN: Final = 200.0  # attempts before a change, at least
MEMORY: Final = 4.0  # half-lives that are looked back
SURE_Z: Final = 6.0
CHANGE_MIN: Final = 0.18  # of the logarithm: a fifth
CHANGES_MAX: Final = 3  # of a tier that are followed at once
NOISE_PRIOR: Final = 4.0  # differences that a deviation as large as the mean is worth


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """From ``epoch`` on a tier's answers have ``ratio`` times the tokens that they had before."""

    tier: str
    epoch: int
    ratio: float


def recent_usage(tally: Tally, *, half_life: float, since: Mapping[str, int]) -> Floats:
    """Weighted sums over epochs (cells, prefixes, STATS), output tokens at their latest level.

    ``half_life`` (attempts) and ``since`` (first epoch that counts for a model) are the tally's.
    """
    found = changes(tally, half_life=half_life, since=since)
    if not found:
        return tally.total(half_life=half_life, since=since)
    epochs = {number: sums.copy() for number, sums in tally.epochs.items()}
    for change in found:
        own = _columns(tally, change.tier)
        for number, sums in epochs.items():
            if number < change.epoch:
                sums[:, own, Stat.TOKENS_OUT] *= change.ratio
    scaled = Tally(cells=tally.cells, prefixes=tally.prefixes, epochs=epochs)
    return scaled.total(half_life=half_life, since=since)


def changes(tally: Tally, *, half_life: float, since: Mapping[str, int]) -> list[Change]:
    """Changes of the output tokens' level, by tier; of each tier the oldest first."""
    numbers = sorted(tally.epochs)
    if len(numbers) < 2:
        return []
    sums = np.stack([tally.epochs[number] for number in numbers])
    start = [max((since.get(tier, 0) for tier in prefix), default=0) for prefix in tally.prefixes]
    counts = (np.array(numbers)[:, None] >= np.array(start)[None, :])[:, None, :]
    attempts = np.where(counts, sums[..., Stat.ATTEMPTS], 0.0)
    tokens = np.where(counts, sums[..., Stat.TOKENS_OUT], 0.0)
    found = []
    for tier in sorted({prefix[-1] for prefix in tally.prefixes if prefix}):
        own = _columns(tally, tier)
        edges, level, size = _blocks(attempts[:, :, own], tokens[:, :, own], most=half_life)
        for at, ratio in _shifts(level, size):
            found.append(Change(tier=tier, epoch=numbers[edges[at]], ratio=ratio))
    return found


def _columns(tally: Tally, tier: str) -> list[int]:
    """The prefixes whose last attempt is the tier's."""
    return [at for at, prefix in enumerate(tally.prefixes) if prefix and prefix[-1] == tier]


def _blocks(attempts: Floats, tokens: Floats, *, most: float) -> tuple[list[int], Floats, Floats]:
    """Blocks of epochs: the first epoch of each, its level and its attempts; oldest first.

    ``attempts`` and ``tokens`` are (epochs, cells, prefixes). Blocks reach back over ``MEMORY``
    times ``most`` attempts; what is left of the newest epochs and fills no block is left out.
    """
    each = attempts.sum(axis=(1, 2))
    first = int(np.searchsorted(-(each[::-1].cumsum()[::-1]), -MEMORY * most))
    used, asked = tokens[first:].sum(axis=0), attempts[first:].sum(axis=0)
    usual = np.where(asked > 0, used / np.where(asked > 0, asked, 1.0), 0.0)
    expected = (attempts * usual).sum(axis=(1, 2))
    got = tokens.sum(axis=(1, 2))
    edges, parts, size = [], [], np.zeros(3)
    begin = first
    for epoch in range(first, len(each)):
        size += (each[epoch], expected[epoch], got[epoch])
        if size[0] >= BLOCK:
            edges.append(begin)
            parts.append(size)
            begin, size = epoch + 1, np.zeros(3)
    table = np.array(parts).reshape(-1, 3)
    level = table[:, 2] / np.maximum(table[:, 1], 1e-12)
    return edges, np.asarray(level), np.asarray(table[:, 0])


def _shifts(level: Floats, size: Floats) -> list[tuple[int, float]]:
    """Blocks at which the level changed, oldest first, and by which ratio."""
    if len(level) < 4 or not bool((level > 0).all()):
        return []
    edges: list[int] = []
    for _ in range(CHANGES_MAX):
        flat = level / np.repeat(*_held(level, size, edges))
        edge = _edge(flat, size)
        if edge is None or edge in edges:
            break
        edges = sorted([*edges, edge])
    held, _ = _held(level, size, edges)
    return list(zip(edges, (held[1:] / held[:-1]).tolist(), strict=True))


def _held(level: Floats, size: Floats, edges: list[int]) -> tuple[Floats, list[int]]:
    """The level between edges, each side, and how many blocks held it."""
    bounds = [0, *edges, len(level)]
    held = [
        float(np.average(level[low:high], weights=size[low:high])) for low, high in pairwise(bounds)
    ]
    return np.array(held), np.diff(bounds).tolist()


def _edge(level: Floats, size: Floats) -> int | None:
    """The block at which the surest change begins, if it is one."""
    differences = np.diff(level) ** 2 / (1 / size[1:] + 1 / size[:-1])
    other = differences.sum() - differences  # the step to a change is no noise
    noise = np.sqrt((other + NOISE_PRIOR) / (len(differences) - 1 + NOISE_PRIOR))
    before, after = np.cumsum(size)[:-1], np.cumsum(size[::-1])[::-1][1:]
    held = np.cumsum(level * size)[:-1] / before
    now = np.cumsum((level * size)[::-1])[::-1][1:] / after
    log = np.log(now / held)
    z = np.abs(log) / (noise * np.sqrt(1 / before + 1 / after))
    shown = np.zeros(len(log), dtype=bool)  # two blocks on either side show half of it each
    for at in range(1, len(log) - 1):
        sides = np.concatenate(
            [level[at + 1 : at + 3] / held[at], now[at] / level[at - 1 : at + 1]]
        )
        shown[at] = bool((np.log(sides) * np.sign(log[at]) >= abs(log[at]) / 2).all())
    fits = shown & (before >= BEFORE_MIN) & (np.abs(log) >= CHANGE_MIN) & (z >= SURE_Z)
    if not fits.any():
        return None
    return int(np.where(fits, z, 0.0).argmax()) + 1
