"""A linear tilt inside a role: which of its requests get which arm, once that is shown to pay.

Shares say how much of a role each arm gets; a tilt says who gets it. With s the role's shares, x
the request's features (centred in the role) and b_a ridge slopes of an arm's worth, which is
price of quality * quality - cost,

    chance_a(x) ~ s_a exp(k (b_a x - sum_c s_c b_c x)),      each factor within 1/4 ... 4

A role is tilted only where its own log proves a gain. Slopes are fitted on four fifths of the rows
and judged on the last fifth, in turn (cross-fitting), by the doubly robust difference of the
tilted and the plain chances:

    sum_a (chance_a - s_a) model_a(x) + (chance_A - s_A) / propensity (outcome - model_A(x))

Its mean less z deviations must be above 0 in worth, with z for one in a thousand shared by all
roles, and its quality must not be worse by more than what may be spared. Otherwise: no tilt.
Fails when outcomes are missing for a reason that neither propensity nor weight holds, and when
what features say changes faster than the log is forgotten. Who tilts must weigh evidence by plain
over tilted chances: otherwise the easy requests that an arm was given make it look good.
Source: Chernozhukov et al. 2018 (cross-fitting); Dudik, Langford and Li 2011 (doubly robust).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from learning.tally import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RATIO_MAX = 4.0  # how much more or less often than its share an arm is chosen
SHARPNESS = 1.5  # deviation of a tilt's exponent over the requests of the log
RIDGE = 50.0  # observations that "features say nothing" is worth
MEAN_ROWS = 8.0  # rows that an arm's overall mean is worth inside a role
FOLDS = 5
ROWS_MIN = 300  # of a role, before anything can be shown in it
CHANCE = 1e-3  # of one tilt without a gain among all roles
QUALITY_Z = 1.64


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Logged decisions with known outcomes; n rows, f features.

    ``role``, ``arm``, ``propensity`` (of the logged arm, in 0..1 and above 0), ``quality`` in 0..1,
    ``cost`` in USD and ``weight`` (one over the chance that the quality became known) are (n,);
    ``features`` is (n, f).
    """

    role: Ints
    arm: Ints
    propensity: Floats
    quality: Floats
    cost: Floats
    weight: Floats
    features: Floats

    def where(self, which: Bools) -> "Rows":
        """The rows for which ``which`` holds."""
        names = self.__dataclass_fields__
        return Rows(**{name: getattr(self, name)[which] for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class Tilt:
    """What features say: slopes (2, arms, f) of quality and cost around means (2, roles, arms).

    ``centre`` (roles, f) and ``scale`` (f,) standardise features; ``on`` (roles,) says which roles
    are tilted; ``price_of_quality`` weighs quality against cost; ``sharpness`` is 1 / USD.
    """

    slopes: Floats
    means: Floats
    centre: Floats
    scale: Floats
    price_of_quality: float
    sharpness: float
    on: Bools

    def chances(self, shares: Floats, *, role: Ints, features: Floats) -> Floats:
        """Chance of every arm for every request (n, arms), from shares (roles, arms)."""
        plain = shares[role]
        worth = self._worth(role=role, features=features)
        exponent = self.sharpness * (worth - (plain * worth).sum(axis=1, keepdims=True))
        most = math.log(RATIO_MAX)
        raw = plain * np.exp(np.clip(exponent, -most, most))
        tilted = raw / raw.sum(axis=1, keepdims=True)
        return np.asarray(np.where(self.on[role][:, None], tilted, plain))

    def outcomes(self, *, role: Ints, features: Floats) -> Floats:
        """Expected quality and cost of every arm for every request, (2, n, arms)."""
        around = np.einsum("nf,kaf->kna", self._standard(role, features), self.slopes)
        return np.asarray(self.means[:, role] + around)

    def _worth(self, *, role: Ints, features: Floats) -> Floats:
        """What features add to the worth of every arm, (n, arms), in USD."""
        slope = self.price_of_quality * self.slopes[0] - self.slopes[1]
        return np.asarray(self._standard(role, features) @ slope.T)

    def _standard(self, role: Ints, features: Floats) -> Floats:
        return np.asarray((features - self.centre[role]) / self.scale)


def proven(rows: Rows, *, shares: Floats, price_of_quality: float, spare: float) -> Tilt | None:
    """The tilt of the roles (of ``shares``, (roles, arms)) that the log proves; None for none.

    ``price_of_quality`` is USD per point of quality; ``spare`` is how much quality a role may lose
    by it, in points.
    """
    size = np.bincount(rows.role, minlength=len(shares))
    enough = size >= ROWS_MIN
    if not enough.any():
        return None
    worth, quality = np.zeros(len(rows.role)), np.zeros(len(rows.role))
    fold = np.arange(len(rows.role)) % FOLDS
    for number in range(FOLDS):
        test = fold == number
        fitted = _fitted(rows.where(~test), shares=shares, price_of_quality=price_of_quality)
        found = _differences(rows.where(test), fitted, shares=shares)
        quality[test], worth[test] = found[0], price_of_quality * found[0] - found[1]
    z = float(norm.isf(CHANCE / int(enough.sum())))
    on = enough.copy()
    for role in np.flatnonzero(enough):
        own = rows.role == role
        gain = _low(worth[own], weight=rows.weight[own], z=z)
        kept = _low(quality[own], weight=rows.weight[own], z=QUALITY_Z)
        on[role] = gain > 0.0 and kept >= -spare
    if not on.any():
        return None
    return replace(_fitted(rows, shares=shares, price_of_quality=price_of_quality), on=on)


def _fitted(rows: Rows, *, shares: Floats, price_of_quality: float) -> Tilt:
    """Means, slopes and scales of the rows, with every role tilted."""
    roles, arms = shares.shape
    size = np.maximum(np.bincount(rows.role, minlength=roles), 1)
    total = np.zeros((roles, rows.features.shape[1]))
    np.add.at(total, rows.role, rows.features)
    centre = total / size[:, None]
    inside = rows.features - centre[rows.role]
    scale = np.maximum(inside.std(axis=0), 1e-9)
    inside = inside / scale
    targets = np.stack([rows.quality, rows.cost])
    means = np.stack([_means(rows, target, shape=shares.shape) for target in targets])
    slopes = np.zeros((2, arms, inside.shape[1]))
    for arm in range(arms):
        own = rows.arm == arm
        left = inside[own] * rows.weight[own][:, None] / rows.weight.mean()
        gram = left.T @ inside[own] + RIDGE * np.eye(inside.shape[1])
        rest = targets[:, own] - means[:, rows.role[own], arm]
        slopes[:, arm] = np.linalg.solve(gram, left.T @ rest.T).T
    worth = inside @ (price_of_quality * slopes[0] - slopes[1]).T
    plain = shares[rows.role]
    spread = float(np.sqrt((plain * (worth - (plain * worth).sum(1, keepdims=True)) ** 2).mean()))
    return Tilt(
        slopes=slopes,
        means=means,
        centre=centre,
        scale=scale,
        price_of_quality=price_of_quality,
        sharpness=SHARPNESS / max(spread * math.sqrt(arms), 1e-12),
        on=np.ones(roles, dtype=bool),
    )


def _means(rows: Rows, target: Floats, *, shape: tuple[int, ...]) -> Floats:
    """Means per (role, arm), leaning on the arm's over all roles, (roles, arms)."""
    count, total = np.zeros(shape), np.zeros(shape)
    np.add.at(count, (rows.role, rows.arm), rows.weight)
    np.add.at(total, (rows.role, rows.arm), rows.weight * target)
    overall = float(np.average(target, weights=rows.weight))
    lean = MEAN_ROWS * float(rows.weight.mean())
    common = (total.sum(axis=0) + lean * overall) / (count.sum(axis=0) + lean)
    return np.asarray((total + lean * common) / (count + lean))


def _differences(rows: Rows, fitted: Tilt, *, shares: Floats) -> Floats:
    """Doubly robust differences that the tilt makes to quality and cost, row by row, (2, n)."""
    moved = fitted.chances(shares, role=rows.role, features=rows.features) - shares[rows.role]
    model = fitted.outcomes(role=rows.role, features=rows.features)
    at = np.arange(len(rows.role))
    rest = np.stack([rows.quality, rows.cost]) - model[:, at, rows.arm]
    return np.asarray((moved * model).sum(axis=2) + moved[at, rows.arm] / rows.propensity * rest)


def _low(scores: Floats, *, weight: Floats, z: float) -> float:
    """The weighted mean of scores less ``z`` of its deviations."""
    mean = float(np.average(scores, weights=weight))
    spread = math.sqrt(float((weight**2 * (scores - mean) ** 2).sum())) / float(weight.sum())
    return mean - z * spread
