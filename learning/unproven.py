"""What is served while no mix is proven to hold the floor.

Served is the mix with the best cautious estimate (z = 0.8 deviations lower). In the first requests
no estimate says much and something has to be learned: there that mix stands unless it is known to
miss the floor. Later it has to look like holding the floor. By its own estimate it may then fall
short of it within

    allowance(n) = START / (n + START_AT)         n requests have been asked

which sums to 3 ln(1 + n / 100) wrong answers, and past that the top tier is served unless it is
itself known to miss the floor: for want of traffic it may be unknown, and its doubt must not keep
it away from a mix that looks short. What exploration asks for is cut to what there is to spare.
Fails when the top tier does not hold the floor and too little is known of it to say so.
Source: Wu et al. 2016 (conservative bandits: a bounded loss to a baseline), here to the floor.
"""

from dataclasses import dataclass, replace

import numpy as np

from learning.programme import Bound, Programme, Solution, doubt, solve
from learning.tally import Floats

FIRST = 350.0  # requests: as many as are needed for a first proof where checks are good
START = 3.0  # wrong answers: with twice as many nearly twice as much is bad in made-up worlds
START_AT = 100.0  # requests
KNOWN = 2.5  # deviations by which a mix must miss the floor to be known to miss it
UNREACHABLE = 2.0  # a floor above every quality: solve for the best lower bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Caution:
    """How far to go unproven: ``z`` deviations; ``spare`` quality points that exploration may cost.

    ``floor`` is the floor without what is added for selection; ``asked`` how many requests there
    were.
    """

    z: float
    spare: float
    floor: float
    asked: float

    @property
    def allowance(self) -> float:
        """Quality points by which the mix may look short of the floor."""
        return START / (self.asked + START_AT)


def cautious(programme: Programme, *, caution: Caution, near: Floats) -> Solution:
    """The mix to serve while ``programme`` has none that is proven; ``near`` (r, a) is a start."""
    bold = replace(
        programme,
        floor=UNREACHABLE,
        bound=Bound(z=caution.z, tolerance=programme.bound.tolerance),
    )
    if caution.asked < FIRST:
        return _first(bold, z=programme.bound.z, caution=caution, near=near)
    return _later(bold, z=programme.bound.z, caution=caution, near=near)


def _first(bold: Programme, *, z: float, caution: Caution, near: Floats) -> Solution:
    """The best cautious mix; where it is known to miss the floor, the top tier."""
    arms, best = bold.arms, _safest(bold, z=z)
    quality, _ = _worth(bold, best)
    spare = max(quality - caution.floor, 0.0) + caution.spare
    bold = replace(bold, least=_affordable(bold, mix=best, spare=spare))
    found = solve(bold, near=near)
    size, _ = doubt(arms, shares=found.shares, weights=bold.weights)
    if found.quality + KNOWN * size >= caution.floor:
        return found
    up = bold.allowed[:, -1] & (arms.quality[:, -1] + z * arms.deviation[:, -1] >= caution.floor)
    allowed = bold.allowed.copy()
    allowed[up, :-1] = False
    return solve(replace(bold, allowed=allowed), near=near)


def _later(bold: Programme, *, z: float, caution: Caution, near: Floats) -> Solution:
    """The best cautious mix; where it looks short by more than its allowance, the top tier."""
    best, top = _safest(bold, z=z), _all_on(bold, arm=-1)
    found = solve(replace(bold, least=_held(bold, mix=best, caution=caution)), near=near)
    if found.quality >= caution.floor - caution.allowance or not bold.allowed[:, -1].all():
        return found
    quality, size = _worth(bold, top)
    if quality + z * size < caution.floor:
        return found
    least = _held(bold, mix=top, caution=caution)
    return solve(replace(bold, allowed=top > 0, least=least), near=near)


def _safest(programme: Programme, *, z: float) -> Floats:
    """Everything on the arm of each role that has the highest lower bound, (r, a)."""
    arms = programme.arms
    lower = np.where(programme.allowed, arms.quality - z * arms.deviation, -np.inf)
    return _all_on(programme, arm=lower.argmax(axis=1))


def _all_on(
    programme: Programme, *, arm: int | np.ndarray[tuple[int], np.dtype[np.intp]]
) -> Floats:
    """Shares (r, a) with everything on one arm a role."""
    shares = np.zeros_like(programme.least)
    shares[np.arange(len(shares)), arm] = 1.0
    return shares


def _worth(programme: Programme, mix: Floats) -> tuple[float, float]:
    """Estimated quality of a mix, and its standard deviation."""
    size, _ = doubt(programme.arms, shares=mix, weights=programme.weights)
    quality = programme.weights[:, None] * mix * programme.arms.quality
    return float(quality.sum()), size


def _held(programme: Programme, *, mix: Floats, caution: Caution) -> Floats:
    """What exploration asks for (r, a), held to what ``mix`` surely spares and to the allowance."""
    quality, size = _worth(programme, mix)
    sure = max(quality - caution.z * size - caution.floor, 0.0)
    return _affordable(programme, mix=mix, spare=sure + caution.spare + caution.allowance)


def _affordable(programme: Programme, *, mix: Floats, spare: float) -> Floats:
    """What exploration asks for (r, a), cut to ``spare`` quality points lost beside ``mix``."""
    arms, least = programme.arms, programme.least
    own = (mix * arms.quality).sum(axis=1, keepdims=True)
    lost = np.where(mix > 0, 0.0, least) * np.maximum(own - arms.quality, 0.0)
    risk = float((programme.weights[:, None] * lost).sum())
    return np.asarray(least * min(1.0, spare / max(risk, 1e-12)))
