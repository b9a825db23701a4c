"""From evidence to probabilities: estimate, compose, explore, allow for selection, solve, damp."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from learning.arms import Arms, Chain
from learning.canary import Canaries, held
from learning.compose import Composed, Layout, compose
from learning.explore import exploration
from learning.margins import selection
from learning.measure import attempt_costs, estimates
from learning.programme import Bound, Programme, Solution, solve
from learning.switching import Conversations, switching
from learning.tally import Floats, Tally
from learning.unproven import Caution, cautious
from learning.usage import recent_usage
from learning.watch import references

MOVED = 1e-6  # chance of taking a steady role mix for one that moved

Bools = np.ndarray[tuple[int, int], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The learner's constants: one setting for every deployment."""

    z: float = 1.64  # deviations between an estimate and its lower bound
    unproven_z: float = 0.8  # the same while nothing is proven: nearer to the likeliest
    role_z: float = 2.3  # the same inside a role: the worst of many roles must hold
    tolerance: float = 0.0025  # shortfall that counts as none, as a share of the floor
    selection: float = 0.35  # share of the winner's curse that shrinkage leaves
    budget: float = 0.12  # exploration share of a role at most
    trickle: float = 0.005  # share per start tier that keeps a cheaper arm alive
    probe: float = 0.04  # the same for a tier whose model an alarm has demoted
    spare: float = 0.0025  # quality that exploration may cost while nothing is proven, of the floor
    damping: float = 0.7  # share of the mix in force that a cheaper one keeps
    half_life: float = 20_000.0  # attempts after which quality evidence weighs half
    cost_half_life: float = 2_000.0  # the same for tokens
    mix_half_life: float = 5_000.0  # requests after which the role mix weighs half
    mix_recent: float = 500.0  # the same for the mix that a shift is told from


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known outside the evidence; r roles, a arms.

    ``floor`` and ``role_floors`` (r,) or None are declared; ``declared`` (r,) is the table's arm;
    ``allowed`` (r, a) what the policy permits; ``price`` USD per input, output and cached token of
    each tier, (3,); ``typical`` the tokens of an attempt before any was seen, (3,); ``since`` the
    first epoch that counts for a model, after its last alarm; ``demoted`` the tiers whose last
    alarm was a loss; ``conversations`` is what a change of model inside one loses, None when that
    is not known; ``canaries`` are the tiers whose model is new, None when none is.
    """

    floor: float
    role_floors: Floats | None
    declared: np.ndarray[tuple[int], np.dtype[np.int64]]
    allowed: Bools
    price: Mapping[str, Floats]
    typical: Mapping[str, Floats]
    since: Mapping[str, int]
    demoted: frozenset[str] = frozenset()
    conversations: Conversations | None = None
    canaries: Canaries | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """Probabilities (r, a), the solution they lean towards and the estimates behind them.

    ``references`` holds low and high reference means (r,) of every component for the detectors;
    ``switching`` is the part of the arms' cost (r, a) that changes of model inside conversations
    lose, once.
    """

    shares: Floats
    solution: Solution
    arms: Composed
    weights: Floats
    references: Mapping[tuple[Chain, str], tuple[Floats, Floats]]
    switching: Floats


def derive(
    layout: Layout,
    *,
    tally: Tally,
    situation: Situation,
    previous: Derived | None,
    settings: Settings,
    rng: np.random.Generator,
) -> Derived:
    """The next probabilities, from a tally over the layout's prefixes and the roles as cells.

    A cheaper mix is approached step by step (``damping``); a dearer or safer one at once.
    """
    total = tally.total(half_life=settings.half_life, since=situation.since)
    recent = recent_usage(tally, half_life=settings.cost_half_life, since=situation.since)
    measured = estimates(
        layout, total=total, floor=situation.floor, declared=_starts(layout, situation)
    )
    base = _declared(situation) if previous is None else previous.solution.shares
    lost = _switching(layout, situation)
    arms = compose(
        layout,
        estimates=[found for found, _ in measured],
        attempt_cost=attempt_costs(
            layout.arms, recent=recent, price=situation.price, typical=situation.typical
        ),
        switching=lost,
    )
    weights = role_mix(tally, settings=settings)
    solution = _solve(
        arms,
        starts=[chain[0] for chain in layout.arms.chains],
        weights=weights,
        situation=situation,
        base=base,
        worth=0.0 if previous is None else previous.solution.price_of_quality,
        stopped=stopped(layout.arms, situation, previous=previous, settings=settings),
        caution=_caution(tally, situation=situation, settings=settings),
        settings=settings,
        rng=rng,
    )
    shares = solution.shares
    if previous is not None and solution.proven:
        shares = _damped(shares, previous=previous, arms=arms, weights=weights, settings=settings)
        shares = np.where(situation.allowed, shares, 0.0)
        shares = shares / shares.sum(axis=1, keepdims=True)
    return Derived(
        shares=shares,
        solution=solution,
        arms=arms,
        weights=weights,
        references={
            (part.prefix, part.kind): references(found, count=count)
            for part, (found, count) in zip(layout.parts, measured, strict=True)
        },
        switching=lost,
    )


def role_mix(tally: Tally, *, settings: Settings) -> Floats:
    """Expected share of the requests that each role will ask, (roles,).

    A long memory is precise; when a short one differs from it by more than chance allows
    (chi-square, one in a million), the mix has moved and the short one holds.
    """
    long = tally.mix(half_life=settings.mix_half_life) + 1.0
    weights = long / long.sum()
    recent = tally.mix(half_life=settings.mix_recent)
    spread = settings.mix_recent / (2 * np.log(2))  # sum of the squared weights of the short memory
    excess = (recent - recent.sum() * weights) ** 2 / (spread * weights)
    if float(excess.sum()) > chdtri(max(len(weights) - 1, 1), MOVED):
        weights = (recent + 1.0) / (recent + 1.0).sum()
    return np.asarray(weights)


def _starts(layout: Layout, situation: Situation) -> dict[str, float]:
    """The share of the roles that the declared table starts on each tier."""
    table = [layout.arms.chains[arm][0] for arm in situation.declared.tolist()]
    return {tier: table.count(tier) / len(table) for tier in layout.arms.tiers}


def _switching(layout: Layout, situation: Situation) -> Floats:
    """What changes of model lose, (roles, arms); 0 when nothing is known of conversations."""
    if situation.conversations is None:
        return np.zeros(situation.allowed.shape)
    return switching(situation.conversations, chains=layout.arms.chains, price=situation.price)


def stopped(
    arms: Arms, situation: Situation, *, previous: Derived | None, settings: Settings
) -> Bools | None:
    """Arms (roles, arms) of new models that exploration buys no more steps for; None: none is new.

    ``previous`` holds the last mix, None before the first.
    """
    return held(
        arms,
        canaries=situation.canaries,
        declared=situation.declared,
        before=None if previous is None else previous.solution,
        explored_max=settings.budget + settings.probe,
    )


def _declared(situation: Situation) -> Floats:
    """The declared table as shares (roles, arms)."""
    shares = np.zeros(situation.allowed.shape)
    shares[np.arange(len(shares)), situation.declared] = 1.0
    return shares


def _solve(  # noqa: PLR0913 - the parts of one programme
    arms: Composed,
    *,
    starts: list[str],
    weights: Floats,
    situation: Situation,
    base: Floats,
    worth: float,
    stopped: Bools | None,
    caution: Caution,
    settings: Settings,
    rng: np.random.Generator,
) -> Solution:
    """Solve with exploration inside the programme and the winner's curse on top of the floor."""
    dear = float((weights @ arms.cost).max())
    price_of_quality = worth if worth > 0 else 5.0 * dear
    least = exploration(
        arms,
        shares=base,
        allowed=situation.allowed,
        price_of_quality=price_of_quality,
        budget=settings.budget,
        alive=[
            (start, settings.probe if start in situation.demoted else settings.trickle)
            for start in starts
        ],
        held=stopped,
    )
    curse = (
        0.0
        if worth <= 0
        else selection(
            arms,
            weights=weights,
            allowed=situation.allowed,
            price_of_quality=price_of_quality,
            rng=rng,
        )
    )
    tolerance = settings.tolerance * situation.floor
    programme = Programme(
        arms=arms,
        weights=weights,
        floor=situation.floor + settings.selection * curse,
        role_floors=situation.role_floors,
        least=least,
        allowed=situation.allowed,
        bound=Bound(z=settings.z, tolerance=tolerance),
        role_bound=Bound(z=settings.role_z, tolerance=tolerance),
    )
    solution = solve(programme, near=base)
    if solution.proven:
        return solution
    return cautious(programme, caution=caution, near=base)


def _caution(tally: Tally, *, situation: Situation, settings: Settings) -> Caution:
    """How far to go while nothing is proven, by how many requests were ever asked."""
    return Caution(
        z=settings.unproven_z,
        spare=settings.spare * situation.floor,
        floor=situation.floor,
        asked=float(tally.mix(half_life=np.inf).sum()),
    )


def _damped(
    shares: Floats, *, previous: Derived, arms: Composed, weights: Floats, settings: Settings
) -> Floats:
    """A step towards a cheaper mix; a dearer one at once."""
    before = float((weights[:, None] * previous.shares * arms.cost).sum())
    after = float((weights[:, None] * shares * arms.cost).sum())
    if after >= before:
        return shares
    return settings.damping * previous.shares + (1 - settings.damping) * shares
