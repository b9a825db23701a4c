"""Evidence that a mean has left its limit: Shiryaev-Roberts e-detectors over a few bets.

For outcomes y in 0..1, *bad* as 1, whose mean given the past should be at most m, bet on more:

    M <- (M + 1) (1 + b w (y - m))      for each b of a grid with b m < 1 and each 0 < w <= 1;
    alarm when the mean of M over the grid reaches A

Every bet is fair or losing while the limit holds, whatever the distribution and whatever the
dependence, so M less the number of outcomes is a supermartingale. Hence, with nothing else
assumed: on average at least A outcomes pass before a false alarm, and N outcomes hold one with a
probability of at most N / A. For quality y = 1 - score and m = 1 - floor; for cost y is the share
of a clip and m the baseline's share, increased by what is put up with.

Outcomes seen with probability p are given w = p_min / p: the bet is then one on the mean of all
outcomes, and stays inside its bounds because p is never below p_min.
Fails (slow) for means just over the limit, and blind above the clip.
Source: Shin, Ramdas and Rinaldo, E-detectors, 2022.
"""

from dataclasses import dataclass, replace
from math import ceil, isfinite

GRID = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
WEALTH_MAX = 1e100  # evidence beyond it says nothing more, and must stay finite
SURE = 0.95  # of 1 / m: the largest bet that keeps something when y = 0
STEPS_MAX = 1_000_000


def bets(limit: float) -> tuple[float, ...]:
    """Return the bets that can never lose everything while the mean is ``limit`` (0..1).

    >>> bets(0.15), bets(0.6)
    ((0.25, 0.5, 1.0, 1.5, 2.0, 3.0), (0.25, 0.5, 1.0, 1.5))
    """
    kept = tuple(bet for bet in GRID if bet * limit <= SURE)
    return kept or GRID[:1]


@dataclass(frozen=True, kw_only=True, slots=True)
class EDetector:
    """Evidence per bet; starts at nothing."""

    bets: tuple[float, ...] = GRID
    wealth: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.wealth:
            object.__setattr__(self, "wealth", (0.0,) * len(self.bets))
        assert len(self.wealth) == len(self.bets)

    @property
    def evidence(self) -> float:
        """What is compared with A: at least 0; 0 before the first outcome."""
        return sum(self.wealth) / len(self.wealth)

    def see(self, bad: float, *, limit: float, weight: float = 1.0) -> "EDetector":
        """Return the detector after one outcome; all of ``bad``, ``limit``, ``weight`` in 0..1.

        Raises:
            ValueError: a value that is not in 0..1, which no bound would hold for.
        """
        if not (0.0 <= bad <= 1.0 and 0.0 <= limit <= 1.0 and 0.0 <= weight <= 1.0):
            raise ValueError(f"outcome {bad!r}, limit {limit!r} and weight {weight!r} in 0..1")
        edge = weight * (bad - limit)
        wealth = tuple(
            min((had + 1.0) * max(1.0 + bet * edge, 0.0), WEALTH_MAX)
            for had, bet in zip(self.wealth, self.bets, strict=True)
        )
        return replace(self, wealth=wealth)

    def capped(self, most: float) -> "EDetector":
        """Return the detector with no bet's wealth above ``most``, so that it can come down."""
        return replace(self, wealth=tuple(min(had, most) for had in self.wealth))


def false_alarm_bound(*, arl: float, steps: float) -> float:
    """Return the largest probability of an alarm in ``steps`` outcomes while the limit holds.

    >>> false_alarm_bound(arl=2_600, steps=260)
    0.1
    """
    return min(1.0, steps / arl)


def fastest(*, limit: float, arl: float) -> int | None:
    """Return after how many outcomes as bad as can be the alarm comes; None for never.

    >>> fastest(limit=0.15, arl=2_600)
    8
    >>> fastest(limit=1.0, arl=2_600) is None
    True
    """
    if limit >= 1.0 or not isfinite(arl):
        return None
    detector = EDetector(bets=bets(limit))
    for count in range(1, min(STEPS_MAX, ceil(arl) + 1) + 1):
        detector = detector.see(1.0, limit=limit)
        if detector.evidence >= arl:
            return count
    return None
