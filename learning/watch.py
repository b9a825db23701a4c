"""One model's detectors: labelled quality and flags, each watched for losses and for gains.

Outcomes are compared with what their own role and prefix should give, so a change of the role mix
does not alarm. The reference is the estimate less one deviation of its doubt.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from learning.components import Estimate
from learning.drift import GAINS, Detector, Kind, Kinds
from learning.tally import Floats

SEEN_MIN = 100.0  # outcomes behind a reference before anything is compared with it
KIND_OF = {"P": Kind.FLAG, "U": Kind.UNFLAGGED, "B": Kind.WHOLE, "D": Kind.WHOLE}


class Change(StrEnum):
    """What a detector found."""

    WORSE = "worse"
    BETTER = "better"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A change of one model: which way, and the index of the outcome that showed it."""

    change: Change
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Outcomes in the order they came, each in 0..1 with good as 1, and what they should be.

    ``low`` and ``high`` are the reference means for losses and for gains, ``kinds`` what each is
    the outcome of, (n,) each.
    """

    values: Floats
    low: Floats
    high: Floats
    kinds: Kinds


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """The detectors of one model.

    Unflagged attempts and labelled answers are bet on in turn by the same wealth: given the past
    each is a fair bet while nothing has changed, so their evidence multiplies.
    """

    worse: Detector = field(default_factory=Detector)
    better: Detector = field(default_factory=lambda: Detector(stories=GAINS))

    def see(self, outcomes: Outcomes) -> tuple["Watch", Alarm | None]:
        """The watch after ``outcomes``, and the alarm they raised.

        After an alarm both detectors start again: the references no longer hold.
        """
        worse, fallen = self.worse.watch(outcomes.values, means=outcomes.low, kinds=outcomes.kinds)
        if fallen is not None:
            return Watch(), Alarm(change=Change.WORSE, index=fallen)
        better, risen = self.better.watch(
            1.0 - outcomes.values, means=1.0 - outcomes.high, kinds=outcomes.kinds
        )
        if risen is not None:
            return Watch(), Alarm(change=Change.BETTER, index=risen)
        return Watch(worse=worse, better=better), None


def references(estimate: Estimate, *, count: Floats) -> tuple[Floats, Floats]:
    """Low and high reference means per role, (roles,) each; NaN until enough has been seen.

    ``count`` (roles,) is what the estimate rests on. The doubt is the role's whole one: with less,
    two wrong answers of a role of which little is known have raised an alarm.
    """
    if float(count.sum()) < SEEN_MIN:
        unknown = np.full(len(count), np.nan)
        return unknown, unknown
    doubt = np.hypot(estimate.own, estimate.common)
    return estimate.mean - doubt, estimate.mean + doubt
