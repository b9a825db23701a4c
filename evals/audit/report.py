"""The audit's report as one value: every renderer shows it, and none computes anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from evals.audit.estimate import (
    Move,
    Targets,
    ceiling_usd,
    mechanical_share,
    propose,
    tier_of,
)
from evals.audit.facts import Facts, Group, Growth, Needless, Repeats, Step, StepFacts
from evals.audit.kinds import MEANINGS, MECHANICAL, Kind
from evals.audit.ladder import TIERS, Ladder
from evals.audit.worth import Stretch, Worth, worth_of

SCHEMA: Final = 1
NEEDLESS_SHARE: Final = 0.95  # of a step's calls with text, for the whole step to need no model
NEEDLESS_CALLS: Final = 20
COPIED_ANSWERS_SHARE: Final = 0.5  # a few answers again and again are labels, not copies
NO_STEP_FACTS: Final = StepFacts(texts=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What the reader may set."""

    floor: float = 0.9  # mean quality that a step must keep
    worth_usd_per_month: float = 100.0  # saving below which routing is not worth having


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One step: what it used and what it cost. ``None`` is unknown."""

    step: str
    inferred: bool  # nobody named its role
    calls: int
    errors: int
    input_tokens: int | None  # of the calls where they are known
    output_tokens: int | None
    cache_read_tokens: int | None
    spend_usd: float  # of the calls whose cost is known
    share: float | None  # of all known spend
    priced: float  # share of its calls whose cost is known
    tier: str | None  # where most of its spend is
    models: tuple[str, ...]  # most spend first
    kinds: Mapping[str, int]  # calls by shape
    mechanical: float | None  # share of its measured calls
    quality: float | None  # mean over graded answers
    graded: int
    growth: Growth | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mechanical:
    """Mechanical calls of a step that run on the dearest rung."""

    step: str
    kind: str
    models: tuple[str, ...]
    calls: int
    spend_usd: float | None  # unknown when no call of them has a known cost


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeStep:
    """Answers of a step that code could have given."""

    step: str
    found: Needless
    texts: int  # its calls whose text is in the dump
    share: float
    whole: bool  # strong enough to write a function for it


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """Calls of a step that asked again."""

    step: str
    found: Repeats


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What the proposed policy would cost; all money is of calls with a known price."""

    today_usd: float
    policy_upper_usd: float  # when every moved answer is as good as it was
    policy_lower_usd: float  # when only proven steps move, with their retries
    saving_upper_usd: float
    saving_lower_usd: float
    ceiling_usd: float  # saved if the lowest tier could do everything that has a price
    risk_usd: float  # added by unproven moves if each of their answers failed and ran again
    priced_calls: float | None  # share of calls with a known price
    priced_tokens: float | None  # share of known tokens that those calls hold
    proven_share: float | None  # share of the moved spend with quality evidence
    moves: tuple[Move, ...]
    stays: tuple[Move, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole audit."""

    facts: Facts
    terms: Terms
    rows: tuple[Row, ...]
    mechanical: tuple[Mechanical, ...]
    code_steps: tuple[CodeStep, ...]
    repeated: tuple[Repeated, ...]
    estimate: Estimate
    worth: Worth
    unpriced: Mapping[str, int]  # calls by model without a known price
    texts: int  # calls whose text is in the dump
    ladder: Mapping[str, tuple[str, ...]]  # models by tier for the first policy, cheapest first

    @property
    def calls(self) -> int:
        return sum(row.calls for row in self.rows)

    @property
    def spend_usd(self) -> float:
        return sum(row.spend_usd for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers, for JSON."""
        estimate = {key: value for key, value in asdict(self.estimate).items()}
        for name in ("moves", "stays"):
            estimate[name] = [_plain_move(move) for move in getattr(self.estimate, name)]
        facts = self.facts
        return {
            "schema": SCHEMA,
            "calls": self.calls,
            "spend_usd": self.spend_usd,
            "tasks": facts.tasks,
            "days": facts.days,
            "first_ns": facts.first_ns,
            "last_ns": facts.last_ns,
            "weighted_calls": facts.weighted_calls,
            "terms": asdict(self.terms),
            "steps": [asdict(row) for row in self.rows],
            "mechanical_on_frontier": [asdict(found) for found in self.mechanical],
            "needs_no_model": None if not self.texts else [asdict(x) for x in self.code_steps],
            "repeated": None if not self.texts else [asdict(found) for found in self.repeated],
            "calls_with_text": self.texts,
            "ladder": {tier: list(models) for tier, models in self.ladder.items()},
            "estimate": estimate,
            "worth": asdict(self.worth),
            "unpriced_models": dict(self.unpriced),
            "reading": asdict(facts.reading),
            "kinds": {str(kind): meaning for kind, meaning in MEANINGS.items()},
        }


def report(facts: Facts, *, ladder: Ladder, terms: Terms) -> Report:
    """Return the report on ``facts``, dearest step first."""
    steps: dict[Step, list[Group]] = {}
    for group in facts.groups:
        steps.setdefault(group.step, []).append(group)
    spend = sum(group.cost_usd for group in facts.groups)
    targets = Targets(facts.groups, ladder)
    moves = [
        propose(step, groups, ladder=ladder, targets=targets, floor=terms.floor)
        for step, groups in steps.items()
    ]
    tiers = {move.step: move.today for move in moves}
    rows = [
        _row(step, found, facts, spend=spend, tier=tiers[step]) for step, found in steps.items()
    ]
    estimate = _estimate(facts.groups, moves, targets)
    unpriced: dict[str, int] = {}
    for group in facts.groups:
        if group.costed < group.calls:
            name = group.model or "unnamed"
            unpriced[name] = unpriced.get(name, 0) + group.calls - group.costed
    return Report(
        facts=facts,
        terms=terms,
        rows=tuple(sorted(rows, key=lambda row: (-row.spend_usd, -row.calls, row.step))),
        mechanical=_mechanical(steps, ladder),
        code_steps=_code_steps(facts),
        repeated=_repeated(facts),
        estimate=estimate,
        worth=worth_of(
            estimate.moves,
            Stretch(
                days=facts.days,
                calls=sum(group.calls for group in facts.groups),
                priced=any(group.costed for group in facts.groups),
                placed=any(move.today is not None for move in moves),
                ceiling_usd=estimate.ceiling_usd,
            ),
            floor=terms.floor,
            wanted_usd_per_month=terms.worth_usd_per_month,
        ),
        unpriced=dict(sorted(unpriced.items(), key=lambda pair: (-pair[1], pair[0]))),
        texts=sum(found.texts for found in facts.steps.values()),
        ladder=targets.ladder_models(),
    )


def _plain_move(move: Move) -> dict[str, Any]:
    return {
        **asdict(move),
        "step": str(move.step),
        "inferred": move.step.inferred,
        "saving_upper_usd": move.saving_upper_usd,
        "saving_lower_usd": move.saving_lower_usd,
        "break_even": move.break_even,
    }


def _row(
    step: Step, groups: Sequence[Group], facts: Facts, *, spend: float, tier: str | None
) -> Row:
    kinds: dict[str, int] = {}
    models: dict[str, float] = {}
    for group in groups:
        kinds[group.kind] = kinds.get(group.kind, 0) + group.calls
        name = group.model or "unnamed"
        models[name] = models.get(name, 0.0) + group.cost_usd
    calls = sum(group.calls for group in groups)
    cost = sum(group.cost_usd for group in groups)
    graded = sum(group.graded for group in groups)
    return Row(
        step=str(step),
        inferred=step.inferred,
        calls=calls,
        errors=sum(group.errors for group in groups),
        input_tokens=_known(group.tokens.input for group in groups),
        output_tokens=_known(group.tokens.output for group in groups),
        cache_read_tokens=_known(group.tokens.cache_read for group in groups),
        spend_usd=cost,
        share=cost / spend if spend else None,
        priced=sum(group.costed for group in groups) / calls,
        tier=tier,
        models=tuple(sorted(models, key=lambda name: (-models[name], name))),
        kinds=dict(sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))),
        mechanical=mechanical_share(groups),
        quality=sum(group.quality_sum for group in groups) / graded if graded else None,
        graded=graded,
        growth=facts.steps.get(step, NO_STEP_FACTS).growth,
    )


def _known(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None when nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _mechanical(steps: Mapping[Step, Sequence[Group]], ladder: Ladder) -> tuple[Mechanical, ...]:
    found: dict[tuple[Step, Kind], list[Group]] = {}
    for step, groups in steps.items():
        for group in groups:
            if group.kind in MECHANICAL and tier_of(group, ladder) == TIERS[-1]:
                found.setdefault((step, group.kind), []).append(group)
    rows = [
        Mechanical(
            step=str(step),
            kind=kind,
            models=tuple(sorted({group.model or "unnamed" for group in groups})),
            calls=sum(group.calls for group in groups),
            spend_usd=sum(group.cost_usd for group in groups)
            if any(group.costed for group in groups)
            else None,
        )
        for (step, kind), groups in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.spend_usd or 0.0), row.step)))


def _code_steps(facts: Facts) -> tuple[CodeStep, ...]:
    rows = []
    for step, of in facts.steps.items():
        for found in of.needless:
            share = found.calls / of.texts
            varied = found.way != "substring" or found.answers >= COPIED_ANSWERS_SHARE * found.calls
            enough = found.calls >= NEEDLESS_CALLS and share >= NEEDLESS_SHARE
            rows.append(
                CodeStep(
                    step=str(step), found=found, texts=of.texts, share=share,
                    whole=varied and enough,
                )
            )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.found.usd, row.step, row.found.way)))


def _repeated(facts: Facts) -> tuple[Repeated, ...]:
    rows = [
        Repeated(step=str(step), found=of.repeats)
        for step, of in facts.steps.items()
        if of.repeats is not None and (of.repeats.duplicates or of.repeats.rephrasings)
    ]
    return tuple(
        sorted(rows, key=lambda r: (-r.found.duplicates_usd - r.found.rephrasings_usd, r.step))
    )


def _estimate(groups: Sequence[Group], moves: Sequence[Move], targets: Targets) -> Estimate:
    today = sum(group.cost_usd for group in groups)
    calls = sum(group.calls for group in groups)
    costed = sum(group.costed for group in groups)
    held = [_held(group) for group in groups]
    known = sum(held)
    priced = sum(
        tokens for tokens, group in zip(held, groups, strict=True) if group.costed == group.calls
    )
    moving = sorted((move for move in moves if move.moves), key=lambda move: -move.saving_upper_usd)
    moved = sum(move.today_usd for move in moving)
    proven = sum(move.today_usd for move in moving if move.evidence is not None)
    upper = sum(move.saving_upper_usd for move in moving)
    lower = sum(move.saving_lower_usd for move in moving)
    return Estimate(
        today_usd=today,
        policy_upper_usd=today - upper,
        policy_lower_usd=today - lower,
        saving_upper_usd=upper,
        saving_lower_usd=lower,
        ceiling_usd=ceiling_usd(groups, targets),
        risk_usd=sum(move.retry_usd for move in moving if move.evidence is None),
        priced_calls=costed / calls if calls else None,
        priced_tokens=priced / known if known else None,
        proven_share=proven / moved if moved else None,
        moves=tuple(moving),
        stays=tuple(move for move in moves if not move.moves),
    )


def _held(group: Group) -> int:
    return (group.tokens.input or 0) + (group.tokens.output or 0)
