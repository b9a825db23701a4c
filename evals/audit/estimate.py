"""What a first policy would cost, from both sides.

The upper bound on savings takes for granted that every moved answer stays as good as it was: no
evidence is asked for, tokens stay the same and warm caches stay warm. The lower bound moves only
steps whose quality on the cheaper tier is known, takes the lower confidence bound of that quality,
runs every failed answer again where it runs today, and gives every cache hit up. Calls whose price
or usage is unknown stand on neither side.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from evals.audit.facts import Group, Step
from evals.audit.kinds import MECHANICAL, Kind
from evals.audit.ladder import CODE, TIERS, Ladder, group_cost, rank

MECHANICAL_SHARE: Final = 0.9  # of a step's measured calls, for the step to be called mechanical
ERROR: Final = 0.05  # of the confidence bound on quality
_WRITABLE: Final = re.compile(r"[A-Za-z0-9._:@+-]{1,200}")  # model names that a policy may hold


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Graded answers of a step on the tier it would move to, or on a cheaper one."""

    answers: int
    mean: float
    low: float  # with 95 % confidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """What the proposed policy does with a step, and what that costs.

    Money is of the calls that move; those of the step that stay cost what they cost.
    """

    step: Step
    today: str | None  # the tier that most of its spend is on; of a move, most of what moves
    proposed: str | None
    why: str
    mechanical: float | None  # share of its measured calls
    calls: int = 0  # that move
    today_usd: float = 0.0
    upper_usd: float = 0.0  # on the proposed tier, when all goes well
    retry_usd: float = 0.0  # on the proposed tier, without cache hits
    evidence: Evidence | None = None

    @property
    def moves(self) -> bool:
        return self.calls > 0

    @property
    def saving_upper_usd(self) -> float:
        return self.today_usd - self.upper_usd

    @property
    def saving_lower_usd(self) -> float:
        """Signed; 0 without evidence, since nothing moves then."""
        if self.evidence is None:
            return 0.0
        return self.today_usd - self.retry_usd - (1 - self.evidence.low) * self.today_usd

    @property
    def break_even(self) -> float | None:
        """The share of moved answers that may fail and run again before nothing is saved."""
        return 1 - self.retry_usd / self.today_usd if self.today_usd else None


def tier_of(group: Group, ladder: Ladder) -> str | None:
    """Return the group's tier: as our gateway reported it, else by price."""
    if group.tier in (*TIERS, CODE):
        return group.tier
    return ladder.tier(group.provider, group.model) or ladder.tier(group.provider, group.named)


def propose(
    step: Step, groups: Sequence[Group], *, ladder: Ladder, targets: "Targets", floor: float
) -> Move:
    """Return what the first policy does with one step: stay, unless it is mechanical or proven."""
    tiers = {group: tier_of(group, ladder) for group in groups}
    today, share = _dominant(groups, tiers), mechanical_share(groups)
    top = max((rank(tiers[group]) for group in groups), default=-1)
    proposed: str | None = None
    why, evidence = "nothing speaks for a cheaper tier yet", None
    for tier in TIERS[: max(top, 0)]:
        known = evidence_of([group for group in groups if 0 <= rank(tiers[group]) <= rank(tier)])
        if known is not None and known.low >= floor:
            proposed, evidence = tier, known
            why = f"{known.answers:,} graded answers there, quality at least {known.low:.2f}"
            break
    if evidence is None and share is not None and share >= MECHANICAL_SHARE and top > 0:
        proposed = TIERS[0]
        why = f"{share:.0%} of its calls are mechanical by their shape; quality there is unknown"
    move = Move(
        step=step, today=today, proposed=proposed or today, why=why, mechanical=share,
        evidence=evidence,
    )  # fmt: skip
    return move if proposed is None else _priced(move, groups, tiers, targets)


class Targets:
    """The model that stands on each rung for each family: one in use, else the catalogue's."""

    def __init__(self, groups: Iterable[Group], ladder: Ladder) -> None:
        self.ladder = ladder
        self._spend: dict[tuple[str, str], dict[str, float]] = {}
        for group in groups:
            family = ladder.family(group.provider, group.model or group.named)
            tier = tier_of(group, ladder)
            name = group.named or group.model
            if family is None or tier not in TIERS or name is None:
                continue
            bare = name.removeprefix(f"{family.name}/").rpartition("/")[2]
            if group.kind is Kind.EMBEDDING or not _WRITABLE.fullmatch(bare):
                continue
            if ladder.price(family, bare) is not None:
                spent = self._spend.setdefault((family.name, tier), {})
                spent[bare] = spent.get(bare, 0.0) + group.cost_usd

    def model(self, group: Group, tier: str) -> tuple[str, str] | None:
        """Return (family, model) for a group's calls on ``tier``; None for unknown families."""
        family = self.ladder.family(group.provider, group.model or group.named)
        if family is None:
            return None
        return family.name, self.listed(family.name, tier) or family.models[tier]

    def listed(self, family: str, tier: str) -> str | None:
        """Return the family's model in use on a tier that most is spent on; None if none is."""
        spent = self._spend.get((family, tier))
        return max(spent, key=lambda name: (spent[name], name)) if spent else None

    def ladder_models(self) -> dict[str, tuple[str, ...]]:
        """Return provider/model for each tier, the family that most is spent on first."""
        known = self.ladder.families
        return {
            tier: tuple(
                f"{name}/{self.listed(name, tier) or known[name].models[tier]}"
                for name in self.families()
            )
            for tier in TIERS
        }

    def families(self) -> list[str]:
        """Return the families in use, most spend first."""
        spent: dict[str, float] = {}
        for (family, _), models in self._spend.items():
            spent[family] = spent.get(family, 0.0) + sum(models.values())
        return sorted(spent, key=lambda name: (-spent[name], name))

    def cost(self, group: Group, tier: str, *, warm: bool) -> float | None:
        """Return what a group would cost on ``tier``; None when that cannot be told."""
        family = self.ladder.family(group.provider, group.model or group.named)
        found = self.model(group, tier)
        if family is None or found is None or not group.metered:
            return None
        price = self.ladder.price(family, found[1])
        if price is None:
            return None
        return group_cost(price, group.tokens, calls=group.calls, warm=warm)


def _priced(
    move: Move, groups: Sequence[Group], tiers: dict[Group, str | None], targets: Targets
) -> Move:
    """Return the move with its money; a group that would not get cheaper stays."""
    assert move.proposed is not None
    moving: list[Group] = []
    upper, retry = 0.0, 0.0
    for group in groups:
        above = rank(tiers[group]) > rank(move.proposed) and group.kind is not Kind.EMBEDDING
        warm = targets.cost(group, move.proposed, warm=True) if above and group.costed else None
        cold = targets.cost(group, move.proposed, warm=False) if warm is not None else None
        if warm is None or cold is None or warm >= group.cost_usd:
            continue
        moving.append(group)
        upper += warm
        retry += max(cold, warm)  # written caches cost more than plain input
    if not moving:
        return replace(
            move, proposed=move.today, evidence=None,
            why="no cheaper model of its provider has a known price",
        )  # fmt: skip
    return replace(
        move,
        today=_dominant(moving, tiers),
        calls=sum(group.calls for group in moving),
        today_usd=sum(group.cost_usd for group in moving),
        upper_usd=upper,
        retry_usd=retry,
    )


def ceiling_usd(groups: Iterable[Group], targets: Targets) -> float:
    """Return what would be saved if the lowest tier could do everything that has a price."""
    saved = 0.0
    for group in groups:
        if rank(tier_of(group, targets.ladder)) > 0 and group.kind is not Kind.EMBEDDING:
            cost = targets.cost(group, TIERS[0], warm=True) if group.costed else None
            saved += 0.0 if cost is None else max(group.cost_usd - cost, 0.0)
    return saved


def mechanical_share(groups: Iterable[Group]) -> float | None:
    """Return the share of measured calls that are mechanical by shape; None when none is."""
    measured = mechanical = 0
    for group in groups:
        if group.kind not in (Kind.UNKNOWN, Kind.EMBEDDING):
            measured += group.calls
            mechanical += group.calls if group.kind in MECHANICAL else 0
    return mechanical / measured if measured else None


def evidence_of(groups: Iterable[Group]) -> Evidence | None:
    """Return what graded answers say of a step's quality; None for fewer than two of them."""
    answers, total, squares = 0, 0.0, 0.0
    for group in groups:
        answers += group.graded
        total += group.quality_sum
        squares += group.quality_squares
    if answers < 2:
        return None
    mean = total / answers
    variance = max(squares - answers * mean * mean, 0.0) / (answers - 1)
    return Evidence(
        answers=answers, mean=mean, low=max(mean - half_width(answers, variance=variance), 0.0)
    )


def half_width(answers: int, *, variance: float) -> float:
    """Return the empirical Bernstein half width, one-sided at 95 %, for values in 0..1.

    sqrt(2 v ln(2/a) / n) + 7 ln(2/a) / (3 (n - 1)). Source: Maurer and Pontil 2009.
    """
    log = math.log(2 / ERROR)
    return math.sqrt(2 * variance * log / answers) + 7 * log / (3 * (answers - 1))


def answers_needed(floor: float) -> int:
    """Return how many graded answers prove ``floor`` when quality is halfway from it to 1.

    >>> answers_needed(0.9)
    414
    """
    margin = (1 - floor) / 2
    variance = (1 - margin) * margin
    low, high = 2, 10_000_000
    while low < high:
        middle = (low + high) // 2
        if half_width(middle, variance=variance) <= margin:
            high = middle
        else:
            low = middle + 1
    return low


def _dominant(groups: Sequence[Group], tiers: dict[Group, str | None]) -> str | None:
    """Return the tier with most of the spend, then of the calls, among those that are known."""
    weight: dict[str, tuple[float, int]] = {}
    for group in groups:
        tier = tiers[group]
        if tier is not None and group.kind is not Kind.EMBEDDING:
            spent, calls = weight.get(tier, (0.0, 0))
            weight[tier] = (spent + group.cost_usd, calls + group.calls)
    return max(weight, key=lambda tier: (*weight[tier], rank(tier))) if weight else None
