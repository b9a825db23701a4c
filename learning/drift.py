"""Detectors that notice when a model is no longer what its evidence says, in either direction.

For outcomes x in 0..1 that should have mean m (or more), bet against the mean having fallen to
(1 - c) m, for several c at once:

    factor(x) = 1 + c (m - x) / (1 - m)         1 - c for x = 1,  1 + c m / (1 - m) for x = 0
    M <- (M + 1) factor(x);      alarm when the mean of M over c reaches the threshold

In words: M adds up the evidence against "still at least m" over every moment at which the change
may have come. Under "still at least m" each bet is fair or losing, so the average number of
outcomes to a false alarm is at least the threshold, whatever the outcomes' distribution. The
reference m is a *lower* bound of what was estimated, less a slack, so that an error of estimation
does not alarm. Gains are found by the same bets on 1 - x.
Fails (slow) for changes of about the slack and less: forgetting and margins carry those.
Source: Shin, Ramdas and Rinaldo, e-detectors, 2022; the bets are likelihood ratios for pass or
fail and stay valid for graded scores.
"""

from dataclasses import dataclass

import numpy as np

from learning.tally import Floats

FALLS = np.array([0.05, 0.1, 0.2, 0.35, 0.55, 0.8])
THRESHOLD = 1e6
SLACK = 0.01
CHUNK = 200  # outcomes at a time, so that products stay inside float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Detector:
    """Evidence that a mean has fallen, one number per size of fall; starts at nothing."""

    wealth: tuple[float, ...] = (0.0,) * len(FALLS)
    threshold: float = THRESHOLD

    @property
    def evidence(self) -> float:
        """What is compared with the threshold."""
        return sum(self.wealth) / len(self.wealth)

    def watch(self, outcomes: Floats, *, means: Floats) -> tuple["Detector", int | None]:
        """The detector after (n,) outcomes with reference means in 0..1, and the first alarm.

        The alarm is the index of the outcome at which the threshold was reached; the detector then
        starts again from nothing and the outcomes after it are not looked at.
        """
        wealth = np.array(self.wealth)
        safe = np.clip(means, 1e-3, 1 - 1e-3)
        for start in range(0, len(outcomes), CHUNK):
            part, mean = outcomes[start : start + CHUNK], safe[start : start + CHUNK]
            factors = 1 + FALLS[:, None] * (mean - part) / (1 - mean)
            growth = np.cumsum(np.log(np.maximum(factors, 1e-12)), axis=1)
            before = np.concatenate([np.zeros((len(FALLS), 1)), growth[:, :-1]], axis=1)
            path = np.exp(growth) * (wealth[:, None] + np.cumsum(np.exp(-before), axis=1))
            over = np.flatnonzero(path.mean(axis=0) >= self.threshold)
            if over.size:
                return Detector(threshold=self.threshold), start + int(over[0])
            wealth = path[:, -1]
        return Detector(wealth=tuple(wealth.tolist()), threshold=self.threshold), None
