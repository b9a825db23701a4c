"""Additive evidence: sums per cell, prefix and epoch that merge by addition.

An epoch is a stretch of time with its own number (an hour, or what follows an alarm). Nothing is
ever subtracted: forgetting weighs epochs, a reset ignores those before an alarm. So replicas merge
in any order, and everything can be rebuilt from stored outcomes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Prefix = tuple[str, ...]

EPOCHS_MAX = 96


class Stat(IntEnum):
    """One additive sum of a bucket; ``PASSED`` and ``FAILED`` say what the checks said.

    Labelled sums are weighted by one over the label's chance, w: ``W`` sums w, ``WW`` w², ``WQ``
    w q and ``WQQ`` w q².
    """

    ATTEMPTS = 0
    FLAGGED = 1
    PASSED_W = 2
    PASSED_WW = 3
    PASSED_WQ = 4
    PASSED_WQQ = 5
    FAILED_W = 6
    FAILED_WW = 7
    FAILED_WQ = 8
    FAILED_WQQ = 9
    TOKENS_IN = 10
    TOKENS_OUT = 11
    TOKENS_CACHED = 12
    LATENCY_SECONDS = 13
    VERDICTS_USD = 14  # what models that judged the answers on the way cost, at today's prices


STATS = len(Stat)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums per epoch: ``epochs[e]`` is (cells, prefixes, STATS).

    Cells and prefixes are named; two tallies over different names merge into one over both. A
    prefix names the model versions that answered, so that a visible change of version starts anew.
    """

    cells: tuple[str, ...]
    prefixes: tuple[Prefix, ...]
    epochs: Mapping[int, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.cells), len(self.prefixes), STATS)
        for number, sums in self.epochs.items():
            assert sums.shape == shape, f"epoch {number} has shape {sums.shape}, not {shape}"

    def __add__(self, other: "Tally") -> "Tally":
        """Both tallies' evidence; commutative and associative up to rounding."""
        if self.cells == other.cells and self.prefixes == other.prefixes:
            mine, yours = self, other
        else:
            cells = tuple(sorted({*self.cells, *other.cells}))
            prefixes = tuple(sorted({*self.prefixes, *other.prefixes}))
            mine = self.over(cells=cells, prefixes=prefixes)
            yours = other.over(cells=cells, prefixes=prefixes)
        epochs = dict(mine.epochs)
        for number, sums in yours.epochs.items():
            epochs[number] = epochs[number] + sums if number in epochs else sums
        return Tally(cells=mine.cells, prefixes=mine.prefixes, epochs=epochs)

    def over(self, *, cells: tuple[str, ...], prefixes: tuple[Prefix, ...]) -> "Tally":
        """The same evidence laid out over other names; what is not named is left out."""
        rows = [self.cells.index(cell) if cell in self.cells else -1 for cell in cells]
        columns = [self.prefixes.index(p) if p in self.prefixes else -1 for p in prefixes]
        known = np.array(rows)[:, None] >= 0
        known = known & (np.array(columns)[None, :] >= 0)
        epochs = {}
        for number, sums in self.epochs.items():
            if sums.size:
                picked = sums[np.array(rows)[:, None], np.array(columns)[None, :]]
                epochs[number] = np.where(known[:, :, None], picked, 0.0)
            else:
                epochs[number] = np.zeros((len(cells), len(prefixes), STATS))
        return Tally(cells=cells, prefixes=prefixes, epochs=epochs)

    def bounded(self) -> "Tally":
        """The same evidence in at most EPOCHS_MAX epochs; the oldest ones are added together."""
        numbers = sorted(self.epochs)
        if len(numbers) <= EPOCHS_MAX:
            return self
        old, kept = numbers[: -EPOCHS_MAX + 1], numbers[-EPOCHS_MAX + 1 :]
        folded = np.sum([self.epochs[number] for number in old], axis=0)
        epochs = {old[-1]: folded, **{number: self.epochs[number] for number in kept}}
        return Tally(cells=self.cells, prefixes=self.prefixes, epochs=epochs)

    def total(self, *, half_life: float, since: Mapping[str, int]) -> Floats:
        """Weighted sums over epochs, (cells, prefixes, STATS).

        An epoch weighs 2^(-later attempts / ``half_life``), counted per prefix over all cells:
        evidence ages with use. Epochs of a prefix before ``since`` of one of its models (its last
        alarm) are ignored.
        """
        total = np.zeros((len(self.cells), len(self.prefixes), STATS))
        later = np.zeros(len(self.prefixes))
        start = np.array([max((since.get(m, 0) for m in p), default=0) for p in self.prefixes])
        for number in sorted(self.epochs, reverse=True):
            sums = self.epochs[number]
            weight = np.exp2(-later / half_life) * (number >= start)
            total += sums * weight[None, :, None]
            later += sums[:, :, Stat.ATTEMPTS].sum(axis=0)
        return total

    def mix(self, *, half_life: float) -> Floats:
        """How many requests each cell asked, (cells,), aged by all later requests alike."""
        first = [index for index, prefix in enumerate(self.prefixes) if len(prefix) == 1]
        asked, later = np.zeros(len(self.cells)), 0.0
        for number in sorted(self.epochs, reverse=True):
            counts = self.epochs[number][:, first, Stat.ATTEMPTS].sum(axis=1)
            asked += counts * 2.0 ** (-later / half_life)
            later += float(counts.sum())
        return asked


def merged(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies; an empty one when there are none."""
    result = Tally(cells=(), prefixes=())
    for tally in tallies:
        result = result + tally
    return result
