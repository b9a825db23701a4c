"""One role at a time: what its evidence says of every arm, and which mix to aim at.

The cells of a role (its modes and kinds of step) are the rows of one programme whose floor is the
role's: cells lend each other strength, roles do not, so that one role's fault stays its own.

The aim is a function of the evidence alone. The programme needs the price of quality and the mix
of an earlier solution; it is solved ``ROUNDS`` times from the declared table on, so that two
collectors with the same evidence aim at the same mix, whatever they did before.

Until some mix is *proven* to clear the floor, the declared arm holds what safe exploration leaves:
people wrote the table, and a learner that knows nothing yet must be no dearer than it. Only when
the table is known to miss the floor does the cautious solution take its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from learning.arms import Arms, Chain, distinct_arms
from learning.canary import Bools, Canaries
from learning.compose import Layout
from learning.derive import Derived, Settings, Situation, derive, stopped
from learning.drift import Kind
from learning.explore import exploration
from learning.measure import estimates
from learning.programme import Bound, doubt, margin_of
from learning.switching import Conversations
from learning.tally import STATS, Floats, Stat, Tally
from learning.unproven import KNOWN
from learning.watch import KIND_OF, Outcomes, references
from telemetry.records import Arm, OnFail

CODE = "code"  # the tier of operators' functions
ROUNDS = 3
SELDOM = 0.01  # of a role's steps: a cell with fewer is served as the role is
SETTINGS = Settings()

References = Mapping[tuple[Chain, str], tuple[Floats, Floats]]


class Standing(StrEnum):
    """What the evidence says of the floor."""

    PROVEN = "proven"  # the aim's lower bound clears it
    UNPROVEN = "unproven"  # no mix's does, the declared arm may still
    SHORT = "short"  # no mix's does, and the declared arm is known to miss it


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is known of a role outside its evidence.

    ``price`` is USD per input, output and cached token of each tier, (3,); ``typical`` the tokens
    of an attempt before any was seen, (3,); ``since`` the first epoch that counts for a tier after
    its last alarm; ``demoted`` the tiers whose last alarm was a loss; ``conversations`` how the
    steps of each cell hang together, None when that is not known; ``canaries`` is how many labels
    the role has spent on each tier whose model is new, of at most ``canary_labels`` each.
    """

    arms: Arms
    declared: Arm
    floor: float
    price: Mapping[str, Floats]
    typical: Mapping[str, Floats]
    since: Mapping[str, int]
    demoted: frozenset[str]
    conversations: Conversations | None = None
    canaries: Mapping[str, float] = field(default_factory=dict)
    canary_labels: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """Where a role should go; c cells, a arms.

    ``shares`` (c, a) is the mix to aim at, ``declared`` (c, a) the table's; ``derived`` holds the
    estimates; ``labels`` is how many effective labels rest on each prefix; ``stopped`` are the new
    tiers whose labels are spent before they were proven.
    """

    cells: tuple[str, ...]
    arms: Arms
    shares: Floats
    declared: Floats
    floor: float
    standing: Standing
    derived: Derived
    labels: Mapping[Chain, float]
    stopped: frozenset[str] = frozenset()

    def quality(self, shares: Floats) -> tuple[float, float]:
        """The estimated quality of a mix (c, a) over the role's steps, and its lower bound."""
        weights = self.derived.weights
        mean = float((weights[:, None] * shares * self.derived.arms.quality).sum())
        size, _ = doubt(self.derived.arms, shares=shares, weights=weights)
        return mean, mean - margin_of(size, Bound(z=SETTINGS.z))

    @property
    def running_usd(self) -> Floats:
        """The expected USD a step of every arm (c, a), without what changing to it loses once."""
        return np.asarray(self.derived.arms.cost - self.derived.switching)

    def cost(self, shares: Floats) -> float:
        """The expected running USD a step of a mix (c, a)."""
        return float((self.derived.weights[:, None] * shares * self.running_usd).sum())


def role_arms(tiers: Sequence[str], *, declared: Arm, checked: bool) -> Arms:
    """The arms worth telling apart in a role's range.

    Without checks no answer is ever flagged, so arms differ in where they start only; all keep the
    declared way up, which they also go when a tier is down. A function on the tier `code` hands on
    what it cannot answer whatever its arm says: there is one arm from there.

    >>> [str(arm) for arm in role_arms(
    ...     ["small", "mid", "top"], declared=Arm(tier="mid"), checked=False).arms]
    ['small/step', 'mid/step', 'top/accept']
    """
    kinds = tuple(OnFail) if checked else (declared.on_fail,)
    arms = [
        Arm(tier=tier, on_fail=on_fail)
        for tier in tiers
        for on_fail in ((OnFail.STEP,) if tier == CODE and len(tiers) > 1 else kinds)
    ]
    if checked:
        return distinct_arms(arms, tiers=tiers)
    top = tiers[-1]
    arms = [Arm(tier=top, on_fail=OnFail.ACCEPT) if arm.tier == top else arm for arm in arms]
    arms = [
        Arm(tier=arm.tier) if arm.on_fail is OnFail.TOP and arm.tier == tiers[-2] else arm
        for arm in arms
    ]
    chains = tuple(
        tuple(tiers[:2]) if tier == CODE and len(tiers) > 1 else (tier,) for tier in tiers
    )
    return Arms(tiers=tuple(tiers), arms=tuple(arms), chains=chains)


def place_of(arm: Arm, *, arms: Arms) -> int:
    """Where the arm stands that does what ``arm`` does."""
    try:
        return arms.index_of(arm)
    except KeyError:
        return next(at for at, each in enumerate(arms.arms) if each.tier == arm.tier)


def aim(tally: Tally, case: Case, *, settings: Settings = SETTINGS) -> Aim:
    """The mix to aim at, from a tally whose cells are the role's and whose prefixes the arms'."""
    layout = Layout(arms=case.arms)
    rows, index = len(tally.cells), place_of(case.declared, arms=case.arms)
    situation = _situation(case, rows=rows)
    found: Derived | None = None
    for number in range(ROUNDS):
        found = derive(
            layout,
            tally=tally,
            situation=situation,
            previous=found,
            settings=settings,
            rng=np.random.default_rng(number),
        )
    assert found is not None
    declared = np.zeros(situation.allowed.shape)
    declared[:, index] = 1.0
    standing = _standing(found, declared, floor=case.floor)
    off = stopped(case.arms, situation, previous=found, settings=settings)
    shares = found.solution.shares
    if standing is Standing.UNPROVEN:
        shares = _explored(found, declared, off=off, case=case, settings=settings)
    elif standing is Standing.PROVEN and found.solution.price_of_quality <= 0.0:
        shares = _saved(found, settings=settings)
    total = tally.total(half_life=settings.half_life, since=case.since)
    return Aim(
        cells=tally.cells,
        arms=case.arms,
        shares=_as_the_role_does(shares, weights=found.weights),
        declared=declared,
        floor=case.floor,
        standing=standing,
        derived=found,
        labels={
            prefix: float(total[:, at, [Stat.PASSED_W, Stat.FAILED_W]].sum())
            for prefix, at in case.arms.prefix_index.items()
        },
        stopped=_stopped_tiers(case, off),
    )


def _stopped_tiers(case: Case, arms: Bools | None) -> frozenset[str]:
    """The new tiers that exploration buys no steps for somewhere; ``arms`` is (cells, arms)."""
    if arms is None:
        return frozenset()
    off = [case.arms.chains[arm] for arm in np.flatnonzero(arms.any(axis=0)).tolist()]
    spent = {tier for tier, used in case.canaries.items() if used >= case.canary_labels}
    return frozenset(tier for tier in spent if any(tier in path for path in off))


def _as_the_role_does(shares: Floats, *, weights: Floats) -> Floats:
    """The mix with cells that hardly any step asks for served as the role's other cells are.

    Such a cell weighs nothing in the role's mean, so the programme would send it anywhere.
    """
    seldom = weights < SELDOM * weights.sum()
    others = np.where(seldom, 0.0, weights)
    if not seldom.any() or others.sum() <= 0.0:
        return shares
    return np.where(seldom[:, None], others @ shares / others.sum(), shares)


def reference_means(tally: Tally, case: Case, *, settings: Settings = SETTINGS) -> References:
    """Low and high reference means (cells,) of every component, for the detectors."""
    layout = Layout(arms=case.arms)
    measured = estimates(
        layout,
        total=tally.total(half_life=settings.half_life, since=case.since),
        floor=case.floor,
        declared={case.declared.tier: 1.0},
    )
    return {
        (part.prefix, part.kind): references(found, count=count)
        for part, (found, count) in zip(layout.parts, measured, strict=True)
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What one step of a chain showed: ``flagged`` is None when that was seen before."""

    cell: str
    prefix: Chain
    flagged: bool
    fresh: bool  # the flag itself is news
    label: float | None  # quality of what was delivered; None when unknown or no news


def tallied(
    sightings: Sequence[Sighting],
    *,
    cells: tuple[str, ...],
    prefixes: tuple[Chain, ...],
    epoch: int,
) -> Tally:
    """The flags and labels of sightings as evidence of one epoch; usage is not among it.

    Sightings of other cells or prefixes are left out. A label counts once: its chance is not known
    here, and a reference needs a mean, not a proof.
    """
    sums = np.zeros((len(cells), len(prefixes), STATS))
    row_of = {cell: number for number, cell in enumerate(cells)}
    column_of = {prefix: number for number, prefix in enumerate(prefixes)}
    for seen in sightings:
        row, column = row_of.get(seen.cell), column_of.get(seen.prefix)
        if row is None or column is None:
            continue
        if seen.fresh:
            sums[row, column, Stat.ATTEMPTS] += 1
            sums[row, column, Stat.FLAGGED] += seen.flagged
        if seen.label is not None:
            first = Stat.FAILED_W if seen.flagged else Stat.PASSED_W
            sums[row, column, first : first + 4] += (1.0, 1.0, seen.label, seen.label**2)
    return Tally(cells=cells, prefixes=prefixes, epochs={epoch: sums})


def watched(
    sightings: Sequence[Sighting], *, tier: str, cells: Sequence[str], known: References
) -> tuple[Outcomes, list[int]]:
    """What a tier's detectors should see, in order, and which sighting each outcome is from.

    Outcomes without a reference are left out.
    """
    row_of = {cell: number for number, cell in enumerate(cells)}
    rows: list[tuple[float, float, float]] = []
    kinds: list[Kind] = []
    origins: list[int] = []
    for number, seen in enumerate(sightings):
        row = row_of.get(seen.cell)
        if row is None or seen.prefix[-1] != tier:
            continue
        for value, kind in _shown(seen, known):
            low, high = known[seen.prefix, kind]
            if kind == "P":  # unflagged is good
                low, high = 1.0 - high, 1.0 - low
            if np.isfinite(low[row]):
                rows.append((value, float(low[row]), float(high[row])))
                kinds.append(KIND_OF[kind])
                origins.append(number)
    table = np.array(rows).reshape(-1, 3)
    seen_as = np.array(kinds, dtype=np.int64)
    found = Outcomes(values=table[:, 0], low=table[:, 1], high=table[:, 2], kinds=seen_as)
    return found, origins


def _shown(seen: Sighting, known: References) -> list[tuple[float, str]]:
    """A sighting's outcomes, good as 1, with the component that each is an outcome of."""
    found: list[tuple[float, str]] = []
    if seen.fresh and (seen.prefix, "P") in known:
        found.append((1.0 - seen.flagged, "P"))
    if seen.label is not None:
        kind = "D" if (seen.prefix, "D") in known else ("B" if seen.flagged else "U")
        if (seen.prefix, kind) in known:
            found.append((seen.label, kind))
    return found


def _situation(case: Case, *, rows: int) -> Situation:
    return Situation(
        floor=case.floor,
        role_floors=None,
        declared=np.full(rows, place_of(case.declared, arms=case.arms)),
        allowed=np.ones((rows, len(case.arms.arms)), dtype=bool),
        price=case.price,
        typical=case.typical,
        since=case.since,
        demoted=case.demoted,
        conversations=case.conversations,
        canaries=Canaries(
            used={tier: np.full(rows, used) for tier, used in case.canaries.items()},
            budget=case.canary_labels,
        )
        if case.canaries
        else None,
    )


def _standing(found: Derived, declared: Floats, *, floor: float) -> Standing:
    if found.solution.proven:
        return Standing.PROVEN
    size, _ = doubt(found.arms, shares=declared, weights=found.weights)
    quality = float((found.weights[:, None] * declared * found.arms.quality).sum())
    return Standing.SHORT if quality + KNOWN * size < floor else Standing.UNPROVEN


def _saved(found: Derived, *, settings: Settings) -> Floats:
    """A proven mix whose floor does not bind, without what it would explore of dearer arms.

    More quality is worth nothing there, so nothing is to be learned from arms that cost more.
    """
    shares, cost = found.solution.shares.copy(), found.arms.cost
    rows = np.arange(len(shares))
    most = shares.argmax(axis=1)
    dear = (cost > cost[rows, most][:, None]) & (shares <= settings.budget)
    shares[rows, most] += np.where(dear, shares, 0.0).sum(axis=1)
    shares[dear] = 0.0
    weighted = found.weights[:, None] * shares
    size, _ = doubt(found.arms, shares=shares, weights=found.weights)
    bound = Bound(z=settings.z, tolerance=settings.tolerance * found.solution.floor)
    lower = float((weighted * found.arms.quality).sum()) - margin_of(size, bound)
    return shares if lower >= found.solution.floor else found.solution.shares


def _explored(
    found: Derived, declared: Floats, *, off: Bools | None, case: Case, settings: Settings
) -> Floats:
    """The declared table, less what may be explored without breaking the floor."""
    arms, worth = found.arms, found.solution.price_of_quality
    least = exploration(
        arms,
        shares=declared,
        allowed=np.ones(declared.shape, dtype=bool),
        price_of_quality=worth if worth > 0 else 5.0 * float(arms.cost.max()),
        budget=settings.budget,
        alive=[
            (path[0], settings.probe if path[0] in case.demoted else settings.trickle)
            for path in case.arms.chains
        ],
        held=off,
    )
    least = np.where(declared > 0, 0.0, least)
    own = (declared * arms.quality).sum(axis=1)
    risk = float(
        (found.weights[:, None] * least * np.maximum(own[:, None] - arms.quality, 0)).sum()
    )
    spare = max(float(found.weights @ own) - case.floor, 0.0) + settings.spare * case.floor
    least *= min(1.0, spare / max(float(np.sum(risk)), 1e-12))
    return np.asarray(least + declared * (1.0 - least.sum(axis=1, keepdims=True)))
