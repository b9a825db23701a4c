"""One decision's outcome as evidence: which prefixes it informs and what it says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arms import Chain
from learning.tally import STATS, Floats, Stat, Tally
from learning.watch import Outcomes

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


References = Mapping[tuple[Chain, str], tuple[Floats, Floats]]


def outcomes(
    observations: Sequence[Observation], *, tier: str, cells: Sequence[str], known: References
) -> Outcomes:
    """What a tier's detectors should see, in the observations' order.

    ``known`` holds low and high reference means per cell (as ``cells`` orders them) of every
    component; an observation without a reference is left out.
    """
    index = {cell: number for number, cell in enumerate(cells)}
    rows: list[tuple[float, float, float]] = []
    for seen in observations:
        row = index.get(seen.cell)
        if row is None:
            continue
        for end, attempt in enumerate(seen.attempts, start=1):
            if attempt.tier != tier:
                continue
            prefix = seen.path[:end]
            if (prefix, "P") in known:
                low, high = known[prefix, "P"]
                rows.append((1.0 - attempt.flagged, 1 - float(high[row]), 1 - float(low[row])))
            if end == len(seen.attempts) and seen.label is not None:
                kind = "D" if (prefix, "D") in known else ("B" if attempt.flagged else "U")
                if (prefix, kind) in known:
                    low, high = known[prefix, kind]
                    rows.append((seen.label, float(low[row]), float(high[row])))
    table = np.array(rows).reshape(-1, 3)
    table = table[np.isfinite(table).all(axis=1)]
    return Outcomes(values=table[:, 0], low=table[:, 1], high=table[:, 2])
