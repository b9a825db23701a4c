"""What shadow runs say: the same steps on another tier, compared pair by pair."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, Final

from evals.suite_stats import (
    Difference,
    cases_needed,
    mcnemar,
    paired_difference,
)

PAIRS_MIN: Final = 30  # judged pairs before the comparison says anything
MARGIN: Final = 0.05
PASSED_MIN: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One step: the answer that was delivered and the one that another tier gave in its shadow."""

    role: str
    tier: str
    shadow_tier: str
    quality: float | None
    shadow_quality: float | None
    cost_usd: float | None  # of the delivered attempt alone
    shadow_cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    shadow_input_tokens: int | None
    shadow_output_tokens: int | None
    seconds: float
    shadow_seconds: float
    failed: bool  # the shadow run gave no answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One role's steps of one tier against another; differences are shadow minus delivered."""

    role: str
    tier: str
    shadow_tier: str
    pairs: int
    failed: int
    judged: int
    passed: int  # of the judged, delivered answers
    shadow_passed: int
    difference: Difference | None  # of pass rates
    p_value: float | None
    cost_ratio: float | None  # shadow's of delivered's
    input_ratio: float | None
    output_ratio: float | None
    costed: int  # runs with a known cost
    shadow_mean_usd: float | None  # of those
    median_seconds: float
    shadow_median_seconds: float
    verdict: str

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def compared(pairs: Iterable[Pair]) -> list[Compared]:
    """Return one comparison for each (role, tier, shadow tier), by name."""
    groups: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.role, pair.tier, pair.shadow_tier].append(pair)
    return [_compare(key, groups[key]) for key in sorted(groups)]


def factors(
    found: Iterable[Compared],
) -> Mapping[tuple[str, str, str], tuple[float, float]]:
    """Return measured (input, output) token ratios, where enough pairs stand behind them."""
    return {
        (one.role, one.tier, one.shadow_tier): (one.input_ratio, one.output_ratio)
        for one in found
        if one.pairs - one.failed >= PAIRS_MIN
        and one.input_ratio is not None
        and one.output_ratio is not None
    }


def _compare(key: tuple[str, str, str], pairs: Sequence[Pair]) -> Compared:
    answered = [pair for pair in pairs if not pair.failed]
    judged = [
        (pair.quality >= PASSED_MIN, pair.shadow_quality >= PASSED_MIN)
        for pair in answered
        if pair.quality is not None and pair.shadow_quality is not None
    ]
    only_shadow = sum(shadow and not own for own, shadow in judged)
    only_own = sum(own and not shadow for own, shadow in judged)
    costs = [pair.shadow_cost_usd for pair in answered if pair.shadow_cost_usd is not None]
    difference = paired_difference(only_shadow, only_own, len(judged))
    return Compared(
        role=key[0],
        tier=key[1],
        shadow_tier=key[2],
        pairs=len(pairs),
        failed=len(pairs) - len(answered),
        judged=len(judged),
        passed=sum(own for own, _ in judged),
        shadow_passed=sum(shadow for _, shadow in judged),
        difference=difference,
        p_value=mcnemar(only_shadow, only_own) if judged else None,
        cost_ratio=_ratio([(pair.cost_usd, pair.shadow_cost_usd) for pair in answered]),
        input_ratio=_ratio([(pair.input_tokens, pair.shadow_input_tokens) for pair in answered]),
        output_ratio=_ratio([(pair.output_tokens, pair.shadow_output_tokens) for pair in answered]),
        costed=len(costs),
        shadow_mean_usd=fmean(costs) if costs else None,
        median_seconds=median([pair.seconds for pair in pairs]),
        shadow_median_seconds=median([pair.shadow_seconds for pair in pairs]),
        verdict=verdict(difference, discordant=only_shadow + only_own, margin=MARGIN),
    )


def _ratio(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Return the second's mean over the first's, of pairs where both are known."""
    known = [(one, two) for one, two in pairs if one is not None and two is not None]
    if not known:
        return None
    own = fmean(one for one, _ in known)
    return fmean(two for _, two in known) / own if own else None


def verdict(difference: Difference | None, *, discordant: int, margin: float) -> str:
    """Return in words whether the other side is no worse than ``margin``, with what is missing."""
    if difference is None:
        return "nothing was judged on both sides: give the role checks"
    points = f"within {margin * 100:g} points"
    if difference.n >= PAIRS_MIN and difference.low >= -margin:
        return f"no worse: {points}"
    if difference.high < 0:
        return f"worse: by {-difference.high * 100:.1f} points or more"
    needed = cases_needed(difference, discordant=discordant, margin=margin)
    if needed is None:
        return f"cannot tell: it seems worse by more than {margin * 100:g} points"
    return f"cannot tell yet: {difference.n} cases, about {max(needed, PAIRS_MIN)} are needed"
