"""The floor-constrained programme: the cheapest mix of arms whose proven quality clears the floor.

    minimise    sum_r w_r sum_a x_ra cost_ra
    subject to  sum_r w_r sum_a x_ra quality_ra - max(0, z |doubt(x)| - tolerance) >= floor
                the same within every role that has its own floor
                sum_a x_ra = 1,  x_ra >= least_ra

|doubt(x)| is the standard deviation of the mix's estimated quality, errors that arms or roles share
included: a norm of a linear map of x, hence convex. It is handled by tangents: solve, add the
tangent at the solution, solve again; the minimum is approached from below and the last step is
checked against the true norm. When no mix clears the floor, the floor is lowered to the best that
can be proven, which chooses the mix with the highest lower bound.
Fails when estimates are wrong by more than their doubts say (drift): the detectors watch that.
Source: Kelley 1960 (cutting planes); the linear programmes are solved by HiGHS through SciPy.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, vstack

from learning.compose import Composed
from learning.tally import Floats

CUTS_MAX = 32  # two or three are usual; after 8, one proof in a hundred had not closed yet
CAUTIOUS_CUTS = 8  # with no floor to prove, a rough best is as safe, spreads more and learns sooner
CLOSE = 2e-4  # a margin this near its tangent counts as met, in quality points


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """How sure to be: z deviations, minus a tolerated shortfall in quality points."""

    z: float
    tolerance: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Programme:
    """What is to be solved; r roles, a arms.

    ``weights`` is (r,), sums to 1; ``floor`` is the overall floor; ``role_floors`` (r,) or None;
    ``least`` (r, a) is what exploration asks for; ``allowed`` (r, a) says which arms may be used.
    """

    arms: Composed
    weights: Floats
    floor: float
    role_floors: Floats | None
    least: Floats
    allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    bound: Bound
    role_bound: Bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """A mix: ``shares`` (r, a), its cost, its estimated quality and the margin it carries.

    ``proven`` is False when the floor had to be lowered to ``floor``; ``price_of_quality`` is the
    cost of one more point of quality, USD per point.
    """

    shares: Floats
    cost: float
    quality: float
    margin: float
    floor: float
    proven: bool
    price_of_quality: float


def doubt(arms: Composed, *, shares: Floats, weights: Floats) -> tuple[float, Floats]:
    """Standard deviation of the mix's quality, and its gradient (r, a)."""
    own = np.einsum("rca,ra->rc", arms.own, shares) * weights[:, None]
    common = np.einsum("rca,ra->rc", arms.common, shares) * weights[:, None]
    shared = common.sum(axis=0)
    size = float(np.sqrt((own**2).sum() + (shared**2).sum()))
    slope = np.einsum("rca,rc->ra", arms.own, own) + np.einsum("rca,c->ra", arms.common, shared)
    return size, slope * weights[:, None] / max(size, 1e-12)


def role_doubt(arms: Composed, *, shares: Floats) -> tuple[Floats, Floats]:
    """Standard deviation of every role's quality (r,), and its gradient (r, a)."""
    own = np.einsum("rca,ra->rc", arms.own, shares)
    common = np.einsum("rca,ra->rc", arms.common, shares)
    size = np.sqrt((own**2).sum(axis=1) + (common**2).sum(axis=1))
    slope = np.einsum("rca,rc->ra", arms.own, own) + np.einsum("rca,rc->ra", arms.common, common)
    return size, slope / np.maximum(size, 1e-12)[:, None]


def margin_of(size: float, bound: Bound) -> float:
    """The margin that a doubt of ``size`` asks for."""
    return max(0.0, bound.z * size - bound.tolerance)


def solve(programme: Programme, *, near: Floats | None = None) -> Solution:
    """Solve the programme; ``near`` (r, a), when given, is a mix to start the tangents from."""
    roles, count = programme.arms.quality.shape
    start = near if near is not None else np.full((roles, count), 1.0 / count)
    goals = _reachable_role_floors(programme)
    found = _cut(programme, floor=programme.floor, role_floors=goals, start=start)
    if found is not None:
        return _solution(programme, found, floor=programme.floor, proven=True)
    best = _cut(programme, floor=None, role_floors=goals, start=start)
    assert best is not None, "the programme without an overall floor has a solution"
    reached = _lower_bound(programme, best[0])
    if reached >= programme.floor:  # the tangents had not closed in yet: the floor can be met
        return _solution(programme, best, floor=programme.floor, proven=True)
    return _solution(programme, best, floor=reached, proven=False)


def _solution(
    programme: Programme, found: tuple[Floats, float], *, floor: float, proven: bool
) -> Solution:
    shares, price = found
    size, _ = doubt(programme.arms, shares=shares, weights=programme.weights)
    weighted = programme.weights[:, None] * shares
    return Solution(
        shares=shares,
        cost=float((weighted * programme.arms.cost).sum()),
        quality=float((weighted * programme.arms.quality).sum()),
        margin=margin_of(size, programme.bound),
        floor=floor,
        proven=proven,
        price_of_quality=price,
    )


def _lower_bound(programme: Programme, shares: Floats) -> float:
    size, _ = doubt(programme.arms, shares=shares, weights=programme.weights)
    quality = float((programme.weights[:, None] * shares * programme.arms.quality).sum())
    return quality - margin_of(size, programme.bound)


def _reachable_role_floors(programme: Programme) -> Floats | None:
    """Role floors, each lowered to what one arm can prove in that role today."""
    if programme.role_floors is None:
        return None
    roles, count = programme.arms.quality.shape
    rest = 1.0 - programme.least.sum(axis=1)
    best = np.full(roles, -np.inf)
    for arm in range(count):
        shares = programme.least.copy()
        shares[:, arm] += rest
        size, _ = role_doubt(programme.arms, shares=shares)
        margin = np.maximum(programme.role_bound.z * size - programme.role_bound.tolerance, 0.0)
        proven = (shares * programme.arms.quality).sum(axis=1) - margin
        best = np.maximum(best, np.where(programme.allowed[:, arm], proven, -np.inf))
    return np.minimum(programme.role_floors, best - CLOSE)


def _cut(
    programme: Programme, *, floor: float | None, role_floors: Floats | None, start: Floats
) -> tuple[Floats, float] | None:
    """Shares and the price of quality; None when the floor is out of reach.

    Without a floor, the mix with the highest lower bound.
    """
    roles, count = programme.arms.quality.shape
    arms, weights = programme.arms, programme.weights
    weighted = (weights[:, None] * arms.quality).ravel()
    scale = max(float(arms.cost.max()), 1e-300)
    margins = 1 + (roles if role_floors is not None else 0)
    objective = _objective(programme, margins=margins, cheapest=floor is not None)
    fixed, limits = [], []
    if floor is not None:
        fixed.append(csr_array(_row(-weighted, margins=margins, at=0)[None, :]))
        limits.append(-floor)
    if role_floors is not None:
        fixed.append(_role_rows(-arms.quality, margins=margins, sign=1.0))
        limits.extend((-role_floors).tolist())
    choose = np.kron(np.eye(roles), np.ones(count))
    equal = csr_array(np.hstack([choose, np.zeros((roles, margins))]))
    bounds = _box(programme, margins=margins)
    point, result = start, None
    for _ in range(CAUTIOUS_CUTS if floor is None else CUTS_MAX):
        size, slope = doubt(arms, shares=point, weights=weights)
        cut = _row(programme.bound.z * slope.ravel(), margins=margins, at=0, sign=-1.0)
        fixed.append(csr_array(cut[None, :]))
        limits.append(programme.bound.tolerance)
        if role_floors is not None:
            _, role_slope = role_doubt(arms, shares=point)
            fixed.append(
                _role_rows(programme.role_bound.z * role_slope, margins=margins, sign=-1.0)
            )
            limits.extend([programme.role_bound.tolerance] * roles)
        found = linprog(
            objective,
            A_ub=vstack(fixed, format="csr"),
            b_ub=np.array(limits),
            A_eq=equal,
            b_eq=np.ones(roles),
            bounds=bounds,
            method="highs",
        )
        if not found.success:
            return None
        result = found
        point = found.x[: roles * count].reshape(roles, count)
        size, _ = doubt(arms, shares=point, weights=weights)
        near = margin_of(size, programme.bound) - found.x[roles * count] < CLOSE
        if near and (role_floors is None or _roles_close(programme, point, found.x[-roles:])):
            break
    assert result is not None
    duals = result.ineqlin.marginals
    shares = np.clip(point, 0.0, None)
    return shares / shares.sum(axis=1, keepdims=True), float(-duals[0] * scale) if floor else 0.0


def _objective(programme: Programme, *, margins: int, cheapest: bool) -> Floats:
    """What is minimised: scaled cost, or the lower bound's negative with cost as a tie-break."""
    cost = (programme.weights[:, None] * programme.arms.cost).ravel()
    price = cost / max(float(programme.arms.cost.max()), 1e-300)
    if cheapest:
        return np.concatenate([price, np.zeros(margins)])
    quality = (programme.weights[:, None] * programme.arms.quality).ravel()
    return _row(1e-4 * price - quality, margins=margins, at=0)


def _box(programme: Programme, *, margins: int) -> Floats:
    """Least and greatest value of every share and margin, (variables, 2)."""
    least = programme.least.ravel()
    top = np.maximum(np.where(programme.allowed.ravel(), 1.0, least), least)
    return np.vstack([np.column_stack([least, top]), np.tile([0.0, np.inf], (margins, 1))])


def _roles_close(programme: Programme, point: Floats, margins: Floats) -> bool:
    size, _ = role_doubt(programme.arms, shares=point)
    bound = programme.role_bound
    return bool((np.maximum(bound.z * size - bound.tolerance, 0.0) - margins < 5 * CLOSE).all())


def _row(values: Floats, *, margins: int, at: int, sign: float = 1.0) -> Floats:
    """One constraint over all shares, with ``sign`` on margin ``at``."""
    tail = np.zeros(margins)
    tail[at] = sign
    return np.concatenate([values, tail])


def _role_rows(values: Floats, *, margins: int, sign: float) -> csr_array:
    """One constraint per role over its own shares (r, a), with ``sign`` on its own margin."""
    roles, count = values.shape
    index = np.arange(roles * count)
    left = csr_array((values.ravel(), (index // count, index)), shape=(roles, roles * count))
    right = np.zeros((roles, margins))
    right[np.arange(roles), 1 + np.arange(roles)] = sign
    return hstack([left, csr_array(right)], format="csr")
