"""What a run amounts to: cost shares, floor violations, alarms and recovery.

Quality shortfalls are shares of the top tier's mean quality; costs are true means of the judged
revisions, weighted by the requests they served.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from evals.replay import FIRST, TOLERANCE, Run, Step
from evals.worlds import Floats

DISQUALIFIED_FROM = 0.05
WINDOW = 500  # served requests


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One run in figures; NaN where a figure cannot be told."""

    quality: float  # mean true quality, of the top tier's
    cost: float  # of always-top
    cost_late: float  # the last quarter, of always-top
    bad: float  # share of requests served by a violating revision
    deepest: float  # deepest shortfall under the floor, in points
    area: float  # mean shortfall under the floor, in points
    worst_role: float  # quality of the worst role, median over the last three quarters
    first_cost: float  # of always-top, over the first 2,000 requests
    first_quality: float  # mean over the first 2,000 requests, minus the floor, in points
    first_bad: float
    explored: float  # true cost of the requests that explore, of always-top
    windows_bad: float  # share of windows of 500 served requests under the floor: a noisy figure
    alarms: int

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def score(run: Run) -> Score:
    """Sum up one run."""
    gaps = np.array([step.quality - run.floor for step in run.steps]) / run.top_quality
    sizes = np.array([step.end - step.start for step in run.steps], dtype=float)
    early = np.array([step.start < FIRST for step in run.steps])
    end = run.steps[-1].end
    late = np.array([step.end > 0.75 * end for step in run.steps])
    settled = [step.worst_role for step in run.steps if step.end > 0.25 * end]
    bad = (gaps < -TOLERANCE).astype(float)
    whole = np.ones(len(sizes), dtype=bool)
    return Score(
        quality=float(np.average([step.quality for step in run.steps], weights=sizes))
        / run.top_quality,
        cost=cost_share(run.steps, whole),
        cost_late=cost_share(run.steps, late),
        bad=float(np.average(bad, weights=sizes)),
        deepest=float(max(0.0, -gaps.min())),
        area=float(np.average(np.maximum(-gaps, 0.0), weights=sizes)),
        worst_role=float(np.median(settled)),
        first_cost=cost_share(run.steps, early),
        first_quality=float(np.average(gaps[early], weights=sizes[early])),
        first_bad=float(np.average(bad[early], weights=sizes[early])),
        explored=_explored(run.steps),
        windows_bad=_windows_bad(run),
        alarms=len(run.alarms),
    )


def _explored(steps: Sequence[Step]) -> float:
    """True cost of exploring requests as a share of always-top; NaN when a step cannot tell."""
    sizes = np.array([step.end - step.start for step in steps], dtype=float)
    spent = np.array([np.nan if step.explored is None else step.explored for step in steps])
    return float(sizes @ spent) / float(sizes @ np.array([step.top_cost for step in steps]))


def _windows_bad(run: Run) -> float:
    """Share of windows of served requests more than the tolerance under the floor.

    NaN when the run is shorter than a window.
    """
    whole = len(run.quality_served) // WINDOW
    if whole == 0:
        return float("nan")
    means = run.quality_served[: whole * WINDOW].reshape(whole, WINDOW).mean(axis=1)
    return float(((means - run.floor) / run.top_quality < -TOLERANCE).mean())


def cost_share(steps: Sequence[Step], which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """True cost of the chosen revisions as a share of always-top."""
    chosen = [step for step, wanted in zip(steps, which, strict=True) if wanted]
    sizes: Floats = np.array([step.end - step.start for step in chosen], dtype=float)
    spent = float(sizes @ np.array([step.cost for step in chosen]))
    return spent / float(sizes @ np.array([step.top_cost for step in chosen]))


def requests_to_recover(
    run: Run, *, since: int, window: int = 500, slack: float = 0.01
) -> int | None:
    """Requests from ``since`` until the true quality stays within ``slack`` of the floor.

    It must hold for every revision of the next ``window`` requests; None when that never happens.
    """
    steps = [step for step in run.steps if step.start >= since]
    fine = [(step.quality - run.floor) / run.top_quality >= -slack for step in steps]
    for index, step in enumerate(steps):
        ahead = [
            ok
            for other, ok in zip(steps, fine, strict=True)
            if step.start <= other.start < step.start + window
        ]
        if fine[index] and all(ahead):
            return step.start - since
    return None


def alarm_after(run: Run, *, since: int) -> int | None:
    """Requests from ``since`` to the first alarm; None when there was none."""
    later = [number for number in run.alarms if number > since]
    return later[0] - since if later else None


def labels_to(run: Run, *, since: int, until: int, tier: int) -> int:
    """Labels on answers of ``tier`` that arrived between request ``since`` and ``until``."""
    return sum(
        step.labelled[tier] for step in run.steps if step.start >= since and step.end <= until
    )
