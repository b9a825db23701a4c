"""Margins: how far estimates of a *chosen* mix err upwards, beyond the doubt of a fixed one.

The programme picks the arms whose estimates look best, and those err upwards on average: the
winner's curse. Its size is found by playing the choice again under the estimates' own doubt:

    curse = E_e[ sum_r w_r e_r,a*(e) ],     a*(e) = argmax_a  l (quality_ra + e_ra) - cost_ra

with e drawn from the doubt of the components (shared errors shared) and l the programme's price of
quality. In words: how much better than the truth would our choice look, were the truth what we now
estimate. It vanishes as doubts shrink below the differences between arms.
Fails (too small) when l is far off; l is taken from the solution before.
Source: parametric bootstrap of selection, Efron and Tibshirani 1993; Andrews, Kitagawa and
McCloskey 2024 on inference on winners.
"""

import numpy as np

from learning.compose import Composed
from learning.tally import Floats

DRAWS = 64


def selection(
    arms: Composed,
    *,
    weights: Floats,
    allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    price_of_quality: float,
    rng: np.random.Generator,
) -> float:
    """The winner's curse of the best mix, in quality points, at least 0."""
    roles, parts, _ = arms.own.shape
    half = rng.standard_normal((DRAWS // 2, roles, parts))
    shared = rng.standard_normal((DRAWS // 2, parts))
    own = np.concatenate([half, -half])
    common = np.concatenate([shared, -shared])
    error = np.einsum("rca,drc->dra", arms.own, own, optimize=True)
    error += np.einsum("rca,dc->dra", arms.common, common, optimize=True)
    worth = price_of_quality * (arms.quality + error) - arms.cost
    worth = np.where(allowed, worth, -np.inf)
    best = worth.argmax(axis=2)
    chosen = np.take_along_axis(error, best[:, :, None], axis=2)[:, :, 0]
    return max(0.0, float((chosen @ weights).mean()))
