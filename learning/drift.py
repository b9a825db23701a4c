"""Detectors that notice when a model is no longer what its evidence says, in either direction.

For outcomes x in 0..1 that should have mean m (or more), bet against the mean having fallen to
(1 - c) m:

    factor(x) = 1 + c (m - x) / (1 - m)         1 - c for x = 1,  1 + c m / (1 - m) for x = 0
    M <- (M + 1) factor(x);      alarm when the weighted mean of M reaches the threshold

One change moves different outcomes by different shares, so a bet is a *story*: a share d of the
answers becomes wrong, and the checks see none, half or nine tenths of that. Where they see k,

    unflagged attempts fall by k d,   the quality of unflagged answers by 1 - (1 - d) / (1 - k d),
    the quality of whatever else is delivered by d

so that a check that catches nearly everything leaves little to see in labels, and one that catches
nothing leaves no trace in flags; one number for both would have either speak against the change.
Stories of large falls weigh little: they win fast when they are true, and a few answers must not
win them by chance.

In words: M adds up the evidence against "still at least m" over every moment at which the change
may have come. Under "still at least m" each bet is fair or losing, so the average number of
outcomes to a false alarm is at least the threshold, whatever the outcomes' distribution. The
reference m is a *lower* bound of what was estimated, so that an error of estimation does not alarm.
Gains are found by bets on 1 - x.
Fails (slow) for changes of a point or less: forgetting and margins carry those.
Source: Shin, Ramdas and Rinaldo, e-detectors, 2022; the bets are likelihood ratios for pass or
fail and stay valid for graded scores.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from learning.tally import Floats

THRESHOLD = 1e6
REFERENCE_MAX = 0.99  # no reference is trusted nearer to 1: one bad answer would prove too much
CHUNK = 200  # outcomes at a time, so that products stay inside float64

Kinds = np.ndarray[tuple[int], np.dtype[np.int64]]


class Kind(IntEnum):
    """What an outcome is the outcome of."""

    FLAG = 0  # an attempt that the checks did not flag is 1
    UNFLAGGED = 1  # quality of an answer that they did not flag
    WHOLE = 2  # quality of any other delivered answer


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stories:
    """What may have happened: ``falls`` (stories, kinds) in 0..1, ``weights`` (stories,), sum 1."""

    falls: Floats
    weights: Floats


def _stories(sizes: dict[float, float], *, seen: tuple[float, ...], loss: bool) -> Stories:
    """Stories of every size (with its weight) and every share ``seen`` by the checks."""
    falls, weights = [], []
    for size, weight in sizes.items():
        for part in seen:
            unflagged = 1 - (1 - size) / (1 - part * size) if loss else size
            falls.append((part * size, unflagged, size))
            weights.append(weight)
    return Stories(falls=np.array(falls), weights=np.array(weights) / sum(weights))


# Of right answers, the share that became wrong; of wrong ones, the share that became right.
LOSSES = _stories(
    {0.05: 1.0, 0.12: 1.0, 0.25: 1.0, 0.45: 0.1, 0.75: 0.01}, seen=(0.0, 0.5, 0.9), loss=True
)
GAINS = _stories({0.1: 1.0, 0.25: 1.0, 0.45: 0.3, 0.75: 0.1}, seen=(0.0, 0.5, 1.0), loss=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detector:
    """Evidence that a mean has fallen, one number per story; starts at nothing."""

    stories: Stories = LOSSES
    wealth: tuple[float, ...] = ()
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not self.wealth:
            object.__setattr__(self, "wealth", (0.0,) * len(self.stories.weights))
        assert len(self.wealth) == len(self.stories.weights)

    @property
    def evidence(self) -> float:
        """What is compared with the threshold."""
        return float(self.stories.weights @ np.array(self.wealth))

    def watch(
        self, outcomes: Floats, *, means: Floats, kinds: Kinds
    ) -> tuple["Detector", int | None]:
        """The detector after (n,) outcomes with reference means in 0..1, and the first alarm.

        The alarm is the index of the outcome at which the threshold was reached; the detector then
        starts again from nothing and the outcomes after it are not looked at.
        """
        wealth = np.array(self.wealth)
        safe = np.clip(means, 0.0, REFERENCE_MAX)  # lower, never higher: each bet stays fair
        for start in range(0, len(outcomes), CHUNK):
            part, mean = outcomes[start : start + CHUNK], safe[start : start + CHUNK]
            falls = self.stories.falls[:, kinds[start : start + CHUNK]]
            growth = np.cumsum(
                np.log(np.maximum(1 + falls * (mean - part) / (1 - mean), 1e-12)), axis=1
            )
            before = np.concatenate([np.zeros((len(growth), 1)), growth[:, :-1]], axis=1)
            path = np.exp(growth) * (wealth[:, None] + np.cumsum(np.exp(-before), axis=1))
            over = np.flatnonzero(self.stories.weights @ path >= self.threshold)
            if over.size:
                return replace(self, wealth=()), start + int(over[0])
            wealth = path[:, -1]
        return replace(self, wealth=tuple(wealth.tolist())), None
