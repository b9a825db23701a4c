"""Evidence for tests: the outcomes of single decisions, and the sums that they make."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from learning.arms import Chain
from learning.tally import STATS, Floats, Stat, Tally

LABEL_WEIGHT_MAX = 100.0  # a label with a smaller chance than 1 % counts as one of 1 %


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One attempt: was it flagged by the checks, what did it use."""

    tier: str
    flagged: bool
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    latency_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A decision's chain of attempts and, when it is known, the quality of what was delivered.

    ``attempts`` is every tier tried in order (one entry a tier: retries and failovers of a tier
    are summed). ``label`` is in 0..1, None while unknown: never 0 for unknown. ``label_chance`` is
    the probability with which this decision got a label. A pinned decision informs the outcome
    estimates; whoever evaluates policies leaves it out.
    """

    cell: str
    attempts: tuple[Seen, ...]
    label: float | None = None
    label_chance: float = 1.0

    def __post_init__(self) -> None:
        assert self.attempts, "an observation without an attempt"
        assert self.label is None or 0.0 <= self.label <= 1.0, f"label {self.label} not in 0..1"
        assert 0.0 < self.label_chance <= 1.0, f"label chance {self.label_chance} not in (0, 1]"

    @property
    def path(self) -> Chain:
        """The tiers tried."""
        return tuple(attempt.tier for attempt in self.attempts)


def tally_attempts(observations: Iterable[Observation], *, epoch: int) -> Tally:
    """Attempts, flags and usage of the observations; labels are not looked at."""
    rows: dict[tuple[str, Chain], Floats] = {}
    for seen in observations:
        for end, attempt in enumerate(seen.attempts, start=1):
            sums = rows.setdefault((seen.cell, seen.path[:end]), np.zeros(STATS))
            sums[Stat.ATTEMPTS] += 1
            sums[Stat.FLAGGED] += attempt.flagged
            sums[Stat.TOKENS_IN] += attempt.tokens_in
            sums[Stat.TOKENS_OUT] += attempt.tokens_out
            sums[Stat.TOKENS_CACHED] += attempt.tokens_cached
            sums[Stat.LATENCY_SECONDS] += attempt.latency_seconds
    return _tally(rows, epoch=epoch)


def tally_labels(observations: Iterable[Observation], *, epoch: int) -> Tally:
    """Labels, weighted by one over their chance; an unlabelled observation adds nothing."""
    rows: dict[tuple[str, Chain], Floats] = {}
    for seen in observations:
        if seen.label is None:
            continue
        weight = min(1.0 / seen.label_chance, LABEL_WEIGHT_MAX)
        sums = rows.setdefault((seen.cell, seen.path), np.zeros(STATS))
        first = Stat.FAILED_W if seen.attempts[-1].flagged else Stat.PASSED_W
        sums[first : first + 4] += (
            weight,
            weight**2,
            weight * seen.label,
            weight * seen.label**2,
        )
    return _tally(rows, epoch=epoch)


def _tally(rows: Mapping[tuple[str, Chain], Floats], *, epoch: int) -> Tally:
    cells = tuple(sorted({cell for cell, _ in rows}))
    prefixes = tuple(sorted({prefix for _, prefix in rows}))
    sums = np.zeros((len(cells), len(prefixes), STATS))
    for (cell, prefix), values in rows.items():
        sums[cells.index(cell), prefixes.index(prefix)] = values
    return Tally(cells=cells, prefixes=prefixes, epochs={epoch: sums})
