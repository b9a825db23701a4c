"""One model's detectors: labelled quality and flags, each watched for losses and for gains.

Outcomes are compared with what their own role and prefix should give, so a change of the role mix
does not alarm. The reference is the estimate less a pooled doubt and a slack.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from learning.components import Estimate
from learning.drift import SLACK, THRESHOLD, Detector
from learning.tally import Floats

SEEN_MIN = 100.0  # outcomes behind a reference before anything is compared with it


class Change(StrEnum):
    """What a detector found."""

    WORSE = "worse"
    BETTER = "better"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A change of one model: which way, and the index of the outcome that showed it."""

    change: Change
    signal: str
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Outcomes in the order they came, each in 0..1 with good as 1, and what they should be.

    ``low`` and ``high`` are the reference means for losses and for gains, (n,) each.
    """

    values: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """The detectors of one model."""

    detectors: dict[str, Detector] = field(default_factory=dict)
    threshold: float = THRESHOLD

    def see(self, signal: str, outcomes: Outcomes) -> tuple["Watch", Alarm | None]:
        """The watch after ``outcomes`` of one signal, and the alarm they raised.

        After an alarm all detectors of the model start again: its references no longer hold.
        """
        found = dict(self.detectors)
        for change, values, means in (
            (Change.WORSE, outcomes.values, outcomes.low),
            (Change.BETTER, 1.0 - outcomes.values, 1.0 - outcomes.high),
        ):
            key = f"{signal}/{change}"
            before = found.get(key, Detector(threshold=self.threshold))
            found[key], index = before.watch(values, means=means)
            if index is not None:
                return (
                    Watch(threshold=self.threshold),
                    Alarm(change=change, signal=signal, index=index),
                )
        return replace(self, detectors=found), None


def references(estimate: Estimate, *, count: Floats) -> tuple[Floats, Floats]:
    """Low and high reference means per role, (roles,) each; NaN until enough has been seen.

    ``count`` (roles,) is what the estimate rests on. The doubt is that of the mean over all roles:
    an error in one thin role must not blunt the comparison for all.
    """
    total = float(count.sum())
    if total < SEEN_MIN:
        unknown = np.full(len(count), np.nan)
        return unknown, unknown
    weights = count / total
    pooled = float(
        np.sqrt(((weights * estimate.own) ** 2).sum() + (weights @ estimate.common) ** 2)
    )
    return estimate.mean - pooled - SLACK, estimate.mean + pooled + SLACK
