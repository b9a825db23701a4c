"""What routing saved: signed, against uniform frontier and against the declared table.

What was spent is the cost of all attempts, and of every call that is made only because of routing
(judges, classifiers, shadow runs). What would have been spent is the delivered answers' tokens at
another tier's prices, under three assumptions that every report repeats:

- The other tier takes and writes the same tokens. Where shadow runs measured the ratio, a second
  figure uses it.
- It needs one attempt: the baseline's own escalations and retries are not charged to it.
- It keeps its cache: input that was in another model's cache when routing changed the model counts
  as cached for the baseline, and so as lost by us.

All three lean against us. A step whose chain began and ended where the baseline's would have is not
priced anew: its baseline is what it cost, less the cache that routing lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from evals.shadow import PAIRS_MIN, Compared

CODE: Final = "code"
SAME: Final = (1.0, 1.0)
ASSUMPTIONS: Final = (
    "the other tier takes and writes the same tokens as the answer that was delivered",
    "the other tier needs one attempt; its own escalations and retries are not charged to it",
    "the other tier keeps its cache, which a change of model loses",
    "the other tier is priced at today's price of its first model, without surcharges for long "
    "inputs or cache writes",
    "steps with an unknown cost or usage, steps that code answered, embeddings and steps whose "
    "caller named the model stand on neither side",
)


class Rates(NamedTuple):
    """US dollars per input, output and cached input token."""

    input: float
    output: float
    cache_read: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """Steps of one role that began alike and were answered on one tier, summed."""

    role: str
    mode: str | None
    tier_start: str | None
    on_fail: str | None
    tier: str | None  # of the delivered answers
    steps: int  # with known cost and usage; all that follows is theirs
    cost_usd: float  # of all attempts
    input_tokens: int  # of the delivered answers, cached ones included
    output_tokens: int
    cache_read_tokens: int
    warm_tokens: int  # input that one model would have had cached; at least what was read


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What the steps of a role in a mode are held against."""

    tier: str
    on_fail: str | None  # None: whatever it is, the tier alone says that the chain is the same
    rates: Rates | None  # None: nobody knows


Factors = Mapping[tuple[str, str, str], tuple[float, float]]  # (role, from tier, to tier)


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """One comparison over some flows, in US dollars."""

    steps: int
    actual_usd: float  # all attempts
    baseline_usd: float
    corrected_usd: float | None  # the baseline with measured token ratios; None: none is known
    corrected_share: float | None  # of the baseline, that a measured ratio corrected
    lost_cache_usd: float  # contained in actual, not in the baseline

    @property
    def saved_usd(self) -> float:
        """Signed; before overhead."""
        return self.baseline_usd - self.actual_usd


NOTHING: Final = Priced(
    steps=0,
    actual_usd=0.0,
    baseline_usd=0.0,
    corrected_usd=None,
    corrected_share=None,
    lost_cache_usd=0.0,
)


def lost_cache_usd(flow: Flow, rates: Rates) -> float:
    """Return what the cache that routing lost would have spared at ``rates``; 0 or more."""
    return max(0, flow.warm_tokens - flow.cache_read_tokens) * max(
        0.0, rates.input - rates.cache_read
    )


def baseline_usd(
    flow: Flow, against: Baseline, *, factor: tuple[float, float] = SAME
) -> float | None:
    """Return what ``flow`` would have cost; None when the baseline has no price.

    ``factor`` is how many input and output tokens the baseline takes for one of the answer's.
    """
    rates = against.rates
    if rates is None:
        return None
    if unrouted(flow, against):
        return max(0.0, flow.cost_usd - lost_cache_usd(flow, rates))
    fresh = max(0, flow.input_tokens - flow.warm_tokens)
    read = fresh * rates.input + flow.warm_tokens * rates.cache_read
    return factor[0] * read + factor[1] * flow.output_tokens * rates.output


def unrouted(flow: Flow, against: Baseline) -> bool:
    """Say whether the chain is what the baseline's would have been: then it cost the same."""
    same_arm = against.on_fail is None or flow.on_fail == against.on_fail
    if flow.tier_start != against.tier or not same_arm:
        return False
    return against.on_fail is not None or flow.tier == against.tier


def priced(
    flows: Iterable[Flow],
    against: Mapping[tuple[str, str | None], Baseline],
    *,
    factors: Factors | None = None,
) -> Priced:
    """Return the comparison over the flows whose baseline is priced; the others stand aside."""
    steps, actual, base, corrected, measured, lost = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for flow in flows:
        target = against.get((flow.role, flow.mode)) or against.get((flow.role, None))
        if target is None or target.rates is None:
            continue
        same = baseline_usd(flow, target)
        assert same is not None, "the baseline has rates"
        factor = (factors or {}).get((flow.role, flow.tier or "", target.tier))
        better = same
        if factor is not None and not unrouted(flow, target):
            better = baseline_usd(flow, target, factor=factor) or 0.0
            measured += same
        steps += flow.steps
        actual += flow.cost_usd
        base += same
        corrected += better
        lost += lost_cache_usd(flow, target.rates)
    known = measured > 0
    return Priced(
        steps=steps,
        actual_usd=actual,
        baseline_usd=base,
        corrected_usd=corrected if known else None,
        corrected_share=measured / base if known and base else None,
        lost_cache_usd=lost,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How many steps there were, and why some stand on neither side."""

    steps: int
    counted: int
    unknown: int  # cost or usage is not known
    code: int  # answered without a model
    embeddings: int
    caller_pinned: int  # the caller chose the model: nothing was routed
    unpriced_baseline: int  # counted steps whose baseline has no price, or whose role is gone

    @property
    def share(self) -> float | None:
        """Of all steps, those that are counted; None without steps."""
        return self.counted / self.steps if self.steps else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """What was spent only because of routing, in US dollars."""

    judging_usd: float  # steps of roles that the policy marks as overhead
    shadow_usd: float

    @property
    def usd(self) -> float:
        """All of it."""
        return self.judging_usd + self.shadow_usd


@dataclass(frozen=True, kw_only=True, slots=True)
class Tasks:
    """Whole tasks in the window; ``passed`` of those that were ``graded``."""

    tasks: int
    graded: int
    passed: int


def per(amount: float, count: int) -> float | None:
    """Return ``amount`` per one of ``count``; None where there is none."""
    return amount / count if count else None


def summary(found: Priced, *, overhead_usd: float, tasks: Tasks | None = None) -> dict[str, Any]:
    """Return one comparison as JSON values, net of ``overhead_usd``; every saving is signed."""
    net = found.saved_usd - overhead_usd
    shown = asdict(found) | {
        "overhead_usd": overhead_usd,
        "saved_usd": net,
        "saved_share": net / found.baseline_usd if found.baseline_usd else None,
        "corrected_saved_usd": (
            None
            if found.corrected_usd is None
            else found.corrected_usd - found.actual_usd - overhead_usd
        ),
    }
    if tasks is not None:
        spent = found.actual_usd + overhead_usd
        shown |= {
            "spent_per_task_usd": per(spent, tasks.tasks),
            "saved_per_task_usd": per(net, tasks.tasks),
            "spent_per_passed_task_usd": per(spent, tasks.passed),
            "saved_per_passed_task_usd": per(net, tasks.passed),
        }
    return shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Spared:
    """Steps of one role that code answered, and what they would have cost on a tier.

    They used no tokens, so nothing of theirs can be priced; what shadow runs of the same role's
    steps did cost on that tier is the only measure of it.
    """

    role: str
    steps: int
    runs: int  # shadow runs with a known cost
    usd: float | None  # at the mean of those runs; None with fewer than ``PAIRS_MIN``


def spared(steps: Mapping[str, int], found: Iterable[Compared], *, tier: str) -> list[Spared]:
    """Return what the steps that code answered, by role, would have cost on ``tier``."""
    measured = {one.role: one for one in found if (one.tier, one.shadow_tier) == (CODE, tier)}
    rows = []
    for role, count in sorted(steps.items()):
        one = measured.get(role)
        runs = 0 if one is None else one.costed
        mean = None if one is None or runs < PAIRS_MIN else one.shadow_mean_usd
        rows.append(
            Spared(role=role, steps=count, runs=runs, usd=None if mean is None else mean * count)
        )
    return rows


def told_apart(rows: Sequence[Spared], *, tier: str) -> dict[str, Any]:
    """Return the steps that code answered as JSON values; they stand in no saving."""
    known = [row.usd for row in rows if row.usd is not None]
    return {
        "tier": tier,
        "steps": sum(row.steps for row in rows),
        "measured_steps": sum(row.steps for row in rows if row.usd is not None),
        "would_have_cost_usd": sum(known) if known else None,
        "roles": [asdict(row) for row in rows],
    }


def by_role(
    flows: Sequence[Flow],
    against: Mapping[str, Mapping[tuple[str, str | None], Baseline]],
    *,
    factors: Factors | None = None,
) -> list[dict[str, Any]]:
    """Return each role's comparisons, dearest first, before overhead."""
    roles = sorted({flow.role for flow in flows})
    rows = []
    for role in roles:
        own = [flow for flow in flows if flow.role == role]
        rows.append(
            {"role": role, "steps": sum(flow.steps for flow in own)}
            | {"actual_usd": sum(flow.cost_usd for flow in own)}
            | {
                name: summary(priced(own, baselines, factors=factors), overhead_usd=0.0)
                for name, baselines in against.items()
            }
        )
    return sorted(rows, key=lambda row: (-row["actual_usd"], row["role"]))
