"""What a run of a suite says: each tier by itself, and each against the last, case by case."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from evals.shadow import verdict
from evals.suite_run import Outcome, Run
from evals.suite_stats import (
    Difference,
    Share,
    bootstrap,
    mcnemar,
    paired_difference,
    wilson,
)

SEED: Final = 7  # of the bootstrap, so that a report can be made again
COSTS_MIN: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class TierReport:
    """One tier."""

    tier: str
    cases: int
    passed: Share  # of the judged
    abstained: int
    errors: int
    crashed_checks: int
    mean_score: float | None
    cost_usd: float | None
    cost_per_case_usd: float | None
    cost_per_passed_usd: float | None
    median_seconds: float
    p95_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairReport:
    """A tier against the last one; differences are the tier minus the last."""

    tier: str
    against: str
    n: int  # cases judged on both
    both_passed: int
    only_tier: int
    only_against: int
    difference: Difference | None
    score_difference: Difference | None  # by bootstrap; None where scores say no more than passes
    p_value: float | None
    cost_ratio: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A run, summed up."""

    suite: str
    margin: float
    planned: int
    made: int
    spent_usd: float
    stopped: str | None
    tiers: tuple[TierReport, ...]
    pairs: tuple[PairReport, ...]

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def report(run: Run, *, suite: str, tiers: Sequence[str], margin: float) -> Report:
    """Return the report of ``run``; the last of ``tiers`` is what the others are held against."""
    by_tier = {
        tier: [outcome for outcome in run.outcomes if outcome.tier == tier] for tier in tiers
    }
    return Report(
        suite=suite,
        margin=margin,
        planned=run.planned,
        made=len(run.outcomes),
        spent_usd=run.spent_usd,
        stopped=run.stopped,
        tiers=tuple(_tier(tier, by_tier[tier]) for tier in tiers if by_tier[tier]),
        pairs=tuple(
            _pair(tier, tiers[-1], by_tier, margin=margin) for tier in tiers[:-1] if by_tier[tier]
        ),
    )


def _tier(tier: str, outcomes: Sequence[Outcome]) -> TierReport:
    judged = [outcome.passed for outcome in outcomes if outcome.passed is not None]
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    costs = [outcome.cost_usd for outcome in outcomes]
    total = None if None in costs else sum(cost or 0.0 for cost in costs)
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return TierReport(
        tier=tier,
        cases=len(outcomes),
        passed=wilson(sum(judged), len(judged)),
        abstained=sum(o.passed is None and o.error is None for o in outcomes),
        errors=sum(outcome.error is not None for outcome in outcomes),
        crashed_checks=sum(len(outcome.crashed) for outcome in outcomes),
        mean_score=sum(scores) / len(scores) if scores else None,
        cost_usd=total,
        cost_per_case_usd=None if total is None else total / len(outcomes),
        cost_per_passed_usd=None if total is None or not sum(judged) else total / sum(judged),
        median_seconds=median(seconds),
        p95_seconds=seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))],
    )


def _pair(
    tier: str, against: str, by_tier: dict[str, list[Outcome]], *, margin: float
) -> PairReport:
    others = {outcome.case: outcome for outcome in by_tier[against]}
    pairs = [
        (own, others[own.case])
        for own in by_tier[tier]
        if own.case in others and own.passed is not None and others[own.case].passed is not None
    ]
    only_tier = sum(bool(own.passed and not other.passed) for own, other in pairs)
    only_against = sum(bool(other.passed and not own.passed) for own, other in pairs)
    difference = paired_difference(only_tier, only_against, len(pairs))
    return PairReport(
        tier=tier,
        against=against,
        n=len(pairs),
        both_passed=sum(bool(own.passed and other.passed) for own, other in pairs),
        only_tier=only_tier,
        only_against=only_against,
        difference=difference,
        score_difference=_scores(pairs),
        p_value=mcnemar(only_tier, only_against) if pairs else None,
        cost_ratio=_cost_ratio(pairs),
        verdict=verdict(difference, discordant=only_tier + only_against, margin=margin),
    )


def _scores(pairs: Sequence[tuple[Outcome, Outcome]]) -> Difference | None:
    known = [
        (own.score, other.score)
        for own, other in pairs
        if own.score is not None and other.score is not None
    ]
    if all(score in (0.0, 1.0) for pair in known for score in pair):
        return None
    return bootstrap([own - other for own, other in known], rng=random.Random(SEED))  # noqa: S311 - resampling


def _cost_ratio(pairs: Sequence[tuple[Outcome, Outcome]]) -> float | None:
    known = [
        (own.cost_usd, other.cost_usd)
        for own, other in pairs
        if own.cost_usd is not None and other.cost_usd is not None
    ]
    dear = sum(other for _, other in known)
    return sum(own for own, _ in known) / dear if dear > COSTS_MIN else None


def markdown(found: Report) -> str:
    """Return the report for people, as Markdown."""
    lines = [
        f"# {found.suite}",
        "",
        f"{found.made} of {found.planned} calls were made for {found.spent_usd:.6g} US dollars.",
        *([f"Stopped early: {found.stopped}."] if found.stopped else []),
        "",
        "| tier | cases | passed (95 %) | abstained | errors | USD a case | p50 s | p95 s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.tier} | {one.cases} | {share(one.passed)} | {one.abstained} | {one.errors} "
        f"| {'-' if one.cost_per_case_usd is None else f'{one.cost_per_case_usd:.3g}'} "
        f"| {one.median_seconds:.2f} | {one.p95_seconds:.2f} |"
        for one in found.tiers
    ]
    for pair in found.pairs:
        lines += ["", f"## {pair.tier} against {pair.against}", "", sentence(pair)]
    return "\n".join(lines) + "\n"


def share(found: Share) -> str:
    """Return a share in words.

    >>> share(wilson(8, 10))
    '8/10 = 80.0 % (49.0 to 94.3)'
    """
    if found.share is None or found.low is None or found.high is None:
        return "none judged"
    return (
        f"{found.hits}/{found.n} = {found.share * 100:.1f} % "
        f"({found.low * 100:.1f} to {found.high * 100:.1f})"
    )


def sentence(pair: PairReport) -> str:
    """Return one comparison in words, with its n."""
    words = f"{pair.tier} against {pair.against}: {pair.verdict}"
    if pair.difference is None:
        return words
    low, high = pair.difference.low * 100, pair.difference.high * 100
    words += (
        f"; difference {pair.difference.mean * 100:+.1f} points ({low:+.1f} to {high:+.1f}, "
        f"n = {pair.n}); {pair.only_tier} passed only on {pair.tier}, {pair.only_against} only on "
        f"{pair.against} (p = {pair.p_value:.3g})"
    )
    if pair.cost_ratio is not None:
        words += f"; cost x {pair.cost_ratio:.3g}"
    return words
