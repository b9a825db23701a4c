"""Means per role of the parts that arms are made of, shrunk towards what all roles share.

For one component, role r has n_r observations with sum s_r. Its mean is believed to be drawn around
a common mean g with variance t²; an observation has variance v_r around it. Then

    mean_r = (s_r + k_r g) / (n_r + k_r),      k_r = v_r / t²
    own_r = sqrt(v_r / (n_r + k_r)),           doubt of this role alone
    common_r = k_r / (n_r + k_r) * sd(g),      doubt that all roles share

In words: thin roles lean on the others, thick ones on themselves, and a doubt about the common mean
is not averaged away over roles. Variances are empirical: graded scores vary far less than pass or
fail. Fails when roles are so unlike that no common mean exists *and* a role is thin; the spread t²
is then large and the role's own doubt stays large, which is the safe side.
Source: Efron and Morris 1973 (shrinkage); DerSimonian and Laird 1986 (moments for t²).
"""

from dataclasses import dataclass

import numpy as np

from learning.tally import Floats

SPREAD_PRIOR = 0.02  # t² before roles have shown it: roles differ by 0.14
SPREAD_PRIOR_ROLES = 2.0  # and how many roles that belief is worth
SPREAD_MIN = 1e-3
VARIANCE_PRIOR_COUNT = 10.0  # observations that the pooled variance is worth inside a role
VARIANCE_MIN = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """What is believed of one component before anything is seen: mean, variance, weight."""

    mean: float
    variance: float
    count: float  # observations that the belief about the common mean is worth


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One component in every role, (roles,) each: mean and the two kinds of doubt (deviations)."""

    mean: Floats
    own: Floats
    common: Floats


def estimate(*, count: Floats, total: Floats, squares: Floats, belief: Belief) -> Estimate:
    """Estimate a component from (roles,) effective counts, sums and sums of squares."""
    safe = np.maximum(count, 1e-9)
    raw = total / safe
    within = np.maximum(squares - total * raw, 0.0)
    seen = count > 0
    freedom = max(float(count.sum() - seen.sum()), 0.0)
    pooled = (within.sum() + belief.count * belief.variance) / (freedom + belief.count)
    pooled = max(float(pooled), VARIANCE_MIN)
    variance = (within + VARIANCE_PRIOR_COUNT * pooled) / (
        np.maximum(count - 1.0, 0.0) + VARIANCE_PRIOR_COUNT
    )
    variance = np.maximum(variance, VARIANCE_MIN)
    spread = SPREAD_PRIOR
    common_mean, common_variance = belief.mean, belief.variance / belief.count
    for _ in range(3):
        precision = np.where(seen, 1.0 / (variance / safe + spread), 0.0)
        prior_precision = belief.count / max(belief.variance, VARIANCE_MIN)
        common_variance = 1.0 / (precision.sum() + prior_precision)
        common_mean = common_variance * (precision @ raw + prior_precision * belief.mean)
        trust = np.where(seen, spread / (variance / safe + spread), 0.0)
        excess = (raw - common_mean) ** 2 - np.where(seen, variance / safe, 0.0)
        moments = max(float(trust @ excess), 0.0)
        spread = (moments + SPREAD_PRIOR_ROLES * SPREAD_PRIOR) / (
            float(trust.sum()) + SPREAD_PRIOR_ROLES
        )
        spread = max(spread, SPREAD_MIN)
    lean = variance / spread
    return Estimate(
        mean=(total + lean * common_mean) / (count + lean),
        own=np.sqrt(variance / (count + lean)),
        common=lean / (count + lean) * np.sqrt(common_variance),
    )
