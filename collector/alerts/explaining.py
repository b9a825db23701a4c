"""What is known of an alert's errors, worked out for a role's own traffic.

The bounds hold whatever the traffic does. The delays, and the false alarms one should really
expect, are simulated from the role's last outcomes; from made-up ones, which the answer says, while
there are too few.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from collector.alerts import queries
from collector.alerts.catalogue import RULES, TICK_SECONDS_MAX, Rule
from collector.alerts.steps import PROPENSITY_ARL
from collector.alerts.watched import Watched, one
from collector.desk import Desk
from collector.store import Store
from learning.burn import reached_after
from learning.edetector import false_alarm_bound, fastest
from learning.propensity import Draws
from learning.runlength import Plan, delay, false_alarms, worsened
from learning.tally import Floats
from telemetry.errors import ApiError
from telemetry.terms import Terms

POOL_MAX: Final = 4_000
POOL_MIN: Final = 100
BLOCK: Final = 20
STREAMS: Final = 1_000
STEPS_MAX: Final = 5_200
WITHIN: Final = 1_000
SEED: Final = 20_260_601
QUARTER_NS: Final = 91 * 86_400_000_000_000
DROPS: Final = (0.05, 0.10, 0.25)  # of mean quality, under the floor
RISES: Final = (1.5, 2.0, 3.0)  # times the cost per task
DRAWN: Final = (0.2, 0.3, 0.5)  # of an arm logged at 0.1
DRAW_STREAMS: Final = 41
MADE_UP_GOOD: Final = 0.07  # above the floor
PACES: Final = (2.0, 5.0, 20.0)  # budgets; before, half of one


class NoRule(ApiError):
    """There is no alert of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """One sequential alert of one role, ready to be simulated."""

    limit: float
    arl: float
    good: Floats
    effects: tuple[tuple[str, Floats], ...]
    made_up: bool
    times_ns: Sequence[int] = ()  # of the outcomes, in order


def explain(
    store: Store, desk: Desk, terms: Terms | None, *, name: str, role: str | None
) -> dict[str, Any]:
    """Return what an alert means and how often and how late it comes, as plain values.

    Raises:
        NoRule: unknown name.
        StoreUnavailable: the store or the desk cannot be read.
    """
    rule = RULES.get(name)
    if rule is None:
        raise NoRule(f"no alert is called {name[:64]!r}", hint=f"known: {', '.join(RULES)}")
    watched = one(desk, name, role or "")
    answer: dict[str, Any] = {
        "name": name,
        "role": role,
        "severity": rule.severity,
        "kind": rule.kind,
        "meaning": rule.meaning,
        "question": rule.question,
        "remedy": rule.remedy,
        "evidence": None if watched is None or not watched.seen else watched.evidence,
    }
    return answer | _errors(store, terms, rule, role, watched)


def _errors(
    store: Store, terms: Terms | None, rule: Rule, role: str | None, watched: Watched | None
) -> dict[str, Any]:
    if rule.kind != "sequential":
        return {"errors": _EXACT[rule.kind]} | _lateness(rule, terms)
    case = None
    if terms is not None:
        rng = np.random.default_rng(SEED)
        case = _CASES[rule.name](store, terms, role, watched, rng)
    if case is None:
        return {"errors": "nothing is configured for it: no threshold, no errors to state"}
    times = case.times_ns or (() if watched is None else watched.times_ns)
    quarter = _per_quarter(times)
    counted = min(quarter, STEPS_MAX)
    result: dict[str, Any] = {
        "errors": "bounds hold for any traffic; the rest is simulated",
        "arl": case.arl,
        "outcomes_per_quarter": quarter,
        "false_alarm_bound": false_alarm_bound(arl=case.arl, steps=quarter),
        "all_bad_in_a_row": (
            None if rule.name == "PropensityMismatch" else fastest(limit=case.limit, arl=case.arl)
        ),
        "traffic": "made up" if case.made_up else f"the last {len(case.good)} outcomes",
    }
    if rule.name == "PropensityMismatch":
        return result | _draw_errors()
    rng = np.random.default_rng(SEED)
    plan = Plan(limit=case.limit, arl=case.arl, streams=STREAMS, block=1 if case.made_up else BLOCK)
    result["false_alarm_simulated"] = {
        "outcomes": counted, "share": false_alarms(case.good, plan, steps=counted, rng=rng),
    }  # fmt: skip
    result["delays"] = [
        {"effect": effect, **asdict(delay(case.good, changed, plan, within=WITHIN, rng=rng))}
        for effect, changed in case.effects
    ]
    return result


_EXACT: Final = {
    "exact": "a comparison of what was counted: it fires exactly when the condition holds, so it "
    "has no false alarm by chance, and its delay is one tick and its waiting time",
    "always": "fires for ever; its absence is the alarm",
}


def _lateness(rule: Rule, terms: Terms | None) -> dict[str, Any]:
    """Return how late a comparison is at most, and for `SpendPace` when spend makes it true."""
    if rule.kind == "always":
        return {}
    looks = TICK_SECONDS_MAX
    if terms is not None:
        looks = min(terms.learning.tick_seconds, TICK_SECONDS_MAX)
    late = {"false_alarm_bound": 0.0, "late_seconds": looks + rule.patience.for_ns / 1e9}
    if rule.name != "SpendPace":
        return late
    return late | {
        "reached": [
            {"effect": f"spend at {after:g} x the budget", "minutes": reached_after(0.5, after)}
            for after in PACES
        ]
    }


def _per_quarter(times_ns: Sequence[int]) -> int:
    """Return how many outcomes a quarter brings at the pace of these; 2,600 if unknown."""
    if len(times_ns) < 2 or times_ns[-1] <= times_ns[0]:
        return 2_600
    return max(1, round(QUARTER_NS * (len(times_ns) - 1) / (times_ns[-1] - times_ns[0])))


# One maker per sequential alert -----------------------------------------------------------------

Maker = Callable[[Store, Terms, str | None, Watched | None, np.random.Generator], _Case | None]


def _quality(level: str) -> Maker:
    def make(
        store: Store,
        terms: Terms,
        role: str | None,
        watched: Watched | None,
        rng: np.random.Generator,
    ) -> _Case | None:
        config = terms.alerts.quality_of(role)
        floors = [each.floor for each in terms.roles if each.floor is not None]
        own = None if role is None else terms.of(role)
        floor = (max(floors) if floors else None) if role is None else (own and own.floor)
        if config is None or not floor:
            return None
        rows = store.read(queries.SCORES, {"role": role, "most": POOL_MAX})
        good = 1.0 - np.array([row["quality"] for row in reversed(rows)], dtype=np.float64)
        made_up = len(good) < POOL_MIN
        if made_up:
            good = _coins(1.0 - min(floor + MADE_UP_GOOD, 0.99))
        means = [max(floor - drop, 0.0) for drop in DROPS]
        return _Case(
            limit=1.0 - floor,
            arl=config.arl if level == "QualityLow" else config.warn_arl,
            good=good,
            effects=tuple(
                (f"mean {mean:.2f}", worsened(good, mean=1.0 - mean, rng=rng)) for mean in means
            ),
            made_up=made_up,
            times_ns=[row["start_ns"] for row in reversed(rows)],
        )

    return make


def _cost(
    store: Store,
    terms: Terms,
    role: str | None,
    watched: Watched | None,
    rng: np.random.Generator,
) -> _Case | None:
    config = terms.alerts.cost_of(role)
    if config is None:
        return None
    rows = store.read(queries.COSTS, {"role": role, "most": POOL_MAX})
    costs = np.array([row["cost_usd"] for row in reversed(rows)], dtype=np.float64)
    made_up = len(costs) < POOL_MIN or costs.mean() <= 0
    if made_up:
        costs = np.exp(rng.normal(0.0, 1.0, POOL_MAX))
    baseline = None if watched is None else watched.baseline
    clip = max(float(np.quantile(costs, 0.99)), 4 * (1 + config.increase) * float(costs.mean()))
    if baseline is not None and baseline.clip is not None and not made_up:
        clip = baseline.clip
    mean = float(np.minimum(costs, clip).mean())
    if baseline is not None and baseline.mean is not None and not made_up:
        mean = baseline.mean
    return _Case(
        limit=(1 + config.increase) * mean / clip,
        arl=config.arl,
        good=np.minimum(costs, clip) / clip,
        effects=tuple(
            (f"cost x {rise:g}", np.minimum(costs * rise, clip) / clip) for rise in RISES
        ),
        made_up=made_up,
        times_ns=[row["start_ns"] for row in reversed(rows)],
    )


def _share(name: str) -> Maker:
    def make(
        store: Store,
        terms: Terms,
        role: str | None,
        watched: Watched | None,
        rng: np.random.Generator,
    ) -> _Case | None:
        cost, quality = terms.alerts.cost_of(role), terms.alerts.quality_of(role)
        if name == "EscalationHigh":
            limit = None if cost is None else cost.escalated_share_max
            arl = 0.0 if cost is None else float(cost.arl)
        else:
            limit = None if quality is None else 1.0 - quality.graded_share_min
            arl = 0.0 if quality is None else float(quality.arl)
        if limit is None:
            return None
        shares = [limit + part * (1.0 - limit) for part in (0.25, 0.5, 1.0)]
        return _Case(
            limit=limit,
            arl=arl,
            good=_coins(limit / 2),
            effects=tuple((f"share {share:.3f}", _coins(share)) for share in shares),
            made_up=True,
        )

    return make


def _propensity(
    store: Store,
    terms: Terms,
    role: str | None,
    watched: Watched | None,
    rng: np.random.Generator,
) -> _Case | None:
    nothing = np.zeros(1)
    return _Case(limit=0.5, arl=PROPENSITY_ARL, good=nothing, effects=(), made_up=True)


def _draw_errors() -> dict[str, Any]:
    """Simulate two arms logged at 0.9 and 0.1 whose second is drawn as often, and more often."""
    rng = np.random.default_rng(SEED)
    quiet = [_first_mismatch(0.1, rng) for _ in range(DRAW_STREAMS)]
    false = float(np.isfinite(quiet).mean())
    found = []
    for share in DRAWN:
        first = np.array([_first_mismatch(share, rng) for _ in range(DRAW_STREAMS)])
        median = float(np.median(first))
        p90 = float(np.quantile(first, 0.9, method="higher"))
        found.append(
            {
                "effect": f"an arm logged at 0.10 drawn at {share:.2f}",
                "median": median if np.isfinite(median) else None,
                "p90": p90 if np.isfinite(p90) else None,
                "missed": float(np.isinf(first).mean()),
            }
        )
    return {"false_alarm_simulated": {"outcomes": WITHIN, "share": false}, "delays": found}


def _first_mismatch(share: float, rng: np.random.Generator) -> float:
    draws = Draws()
    for count, second in enumerate(rng.random(WITHIN) < share, start=1):
        arm, propensity = ("b", 0.1) if second else ("a", 0.9)
        draws = draws.see(arm, offered=("a", "b"), propensity=propensity)
        if draws.evidence >= PROPENSITY_ARL:
            return count
    return np.inf


def _coins(bad: float) -> Floats:
    """Return a pool of 10,000 outcomes of which that share is bad."""
    count = round(bad * 10_000)
    return np.repeat([1.0, 0.0], [count, 10_000 - count])


_CASES: Final[dict[str, Maker]] = {
    "QualityWarn": _quality("QualityWarn"),
    "QualityLow": _quality("QualityLow"),
    "CostHigh": _cost,
    "EscalationHigh": _share("EscalationHigh"),
    "FeedbackMissing": _share("FeedbackMissing"),
    "PropensityMismatch": _propensity,
}
