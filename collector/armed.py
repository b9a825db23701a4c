"""Which alerts could really fire now: computed from what was seen, never declared.

An alert that looks armed and is not is worse than none: a learner would trust it. So a side counts
as armed only while its number is configured, its denominator is live, its signal fresh, its sink
proven, nobody silenced it and its threshold can be reached.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from collector.alert_events import NAME
from collector.alerts.watched import Watched, one
from collector.desk import Desk
from collector.silences import all_of, muting
from learning.edetector import fastest
from telemetry.alerting import AlertsConfig, CostAlertConfig, QualityAlertConfig
from telemetry.terms import Armed, RoleTerms, Terms

QUALITY: Final = "QualityLow"
COST: Final = "CostHigh"
LIVE_NS: Final = 7 * 86_400_000_000_000  # the span in which enough must have been seen
PROVEN_NS: Final = 86_400_000_000_000  # a sink's test counts for a day

# Name of a sink -> unix ns at which its last test was acknowledged; 0 for never.
Proofs = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One thing that must hold, and in words how it stands."""

    name: str
    holds: bool
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One alert of one role; armed when every condition holds."""

    alert: str
    role: str
    conditions: tuple[Condition, ...]

    @property
    def armed(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def missing(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions if not condition.holds)

    def plain(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "alert": self.alert,
            "role": self.role,
            "armed": self.armed,
            "conditions": [
                {"name": each.name, "holds": each.holds, "words": each.words}
                for each in self.conditions
            ],
        }


class Armory:
    """Answers from the desk alone, so it may be asked at any time and from any thread."""

    def __init__(
        self, *, desk: Desk, terms: Callable[[], Terms | None], proofs: Proofs = dict
    ) -> None:
        self._desk = desk
        self._terms = terms
        self._proofs = proofs

    def armed(self, role: str, now_ns: int) -> Armed:
        """Return which of a role's two alerts could fire now; neither for an unknown role.

        Raises:
            StoreUnavailable: the desk cannot be read.
        """
        cost, quality = self.sides(role, now_ns)
        return Armed(cost=cost.armed, quality=quality.armed)

    def sides(self, role: str, now_ns: int) -> tuple[Side, Side]:
        """Return the cost side and the quality side of a role, with every condition in words."""
        terms = self._terms()
        own = None if terms is None else terms.of(role)
        alerts = AlertsConfig() if terms is None else terms.alerts
        sides = []
        for alert, conditions in ((COST, _cost(alerts, own)), (QUALITY, _quality(alerts, own))):
            watched = one(self._desk, alert, role)
            found = [check(watched, now_ns) for check in conditions]
            found += [self._sink(now_ns), self._heard(alert, role, now_ns)]
            sides.append(Side(alert=alert, role=role, conditions=tuple(found)))
        return sides[0], sides[1]

    def every(self, now_ns: int) -> list[Side]:
        """Return both sides of every role that may learn, in the policy's order."""
        terms = self._terms()
        names = [] if terms is None else [each.role for each in terms.roles if each.learn != "off"]
        return [side for role in dict.fromkeys(names) for side in self.sides(role, now_ns)]

    def unsafe_roles(self) -> frozenset[str]:
        """Return the roles that must serve their declared table, or their top tier, for now.

        Those are the roles whose `QualityLow` is on and was not acknowledged; when it is on over
        all roles and for none by itself, every role with a floor. Silences and inhibition
        change nothing here.

        Raises:
            StoreUnavailable: the desk cannot be read.
        """
        rows = self._desk.rows(
            "SELECT role FROM alerts WHERE name = $name AND acknowledged IS NULL "
            "AND state IN ('firing', 'keep_firing')",
            {"name": QUALITY},
        )
        terms = self._terms()
        floors = [] if terms is None else [r.role for r in terms.roles if r.floor is not None]
        own = {row["role"] for row in rows if row["role"] is not None}
        return frozenset(own or (floors if rows else ()))

    def safety(self, role: str) -> bool:
        """Say whether ``role`` must fall back for now."""
        return role in self.unsafe_roles()

    def _sink(self, now_ns: int) -> Condition:
        proofs = self._proofs()
        last = max(proofs.values(), default=0)
        if not proofs:
            words = "no sink is configured: add [[alerts.notify]]"
        elif last <= 0:
            words = "no sink ever acknowledged a test: run `tierwise alerts test`"
        else:
            words = f"last acknowledged test {_hours(now_ns - last)} ago (at most 24 h)"
        return Condition(
            name="sink proven", holds=last > 0 and now_ns - last <= PROVEN_NS, words=words
        )

    def _heard(self, alert: str, role: str, now_ns: int) -> Condition:
        silence = muting(all_of(self._desk), {NAME: alert, "role": role}, now_ns)
        words = "no silence" if silence is None else f"silence {silence} mutes it"
        return Condition(name="not silenced", holds=silence is None, words=words)


Check = Callable[[Watched | None, int], Condition]


def _cost(alerts: AlertsConfig, own: RoleTerms | None) -> Iterator[Check]:
    config = alerts.cost_of(None if own is None else own.role)
    configured = config is not None and own is not None
    words = "[alerts.cost] is there" if configured else "needs [alerts.cost] and a role of policy"
    yield lambda watched, now: Condition(name="configured", holds=configured, words=words)
    if config is None:
        return
    yield lambda watched, now: _live(watched, now, config.tasks_min, "tasks of known cost")
    yield lambda watched, now: _fresh(watched, now, LIVE_NS / 1e9)
    yield lambda watched, now: _cost_reachable(watched, config)


def _quality(alerts: AlertsConfig, own: RoleTerms | None) -> Iterator[Check]:
    config = alerts.quality_of(None if own is None else own.role)
    floor = None if own is None else own.floor
    configured = config is not None and floor is not None
    words = "floor and [alerts.quality] are there"
    if not configured:
        words = "needs [alerts.quality] and the role's quality_floor"
    yield lambda watched, now: Condition(name="configured", holds=configured, words=words)
    if config is None or floor is None:
        return
    yield lambda watched, now: _live(watched, now, config.graded_min, "graded steps")
    yield lambda watched, now: _fresh(watched, now, config.stale_seconds)
    yield lambda watched, now: _quality_reachable(floor, config)


def _live(watched: Watched | None, now_ns: int, needed: int, what: str) -> Condition:
    times = [] if watched is None else watched.times_ns[-needed:]
    recent = sum(now_ns - at <= LIVE_NS for at in times)
    return Condition(
        name="denominator live",
        holds=recent >= needed,
        words=f"{recent} of {needed} {what} within 7 days",
    )


def _fresh(watched: Watched | None, now_ns: int, seconds: float) -> Condition:
    last = watched.times_ns[-1] if watched is not None and watched.times_ns else None
    words = "nothing was seen yet"
    if last is not None:
        words = f"last outcome {_hours(now_ns - last)} old (at most {_hours(int(seconds * 1e9))})"
    holds = last is not None and now_ns - last <= seconds * 1e9
    return Condition(name="signal fresh", holds=holds, words=words)


def _quality_reachable(floor: float, config: QualityAlertConfig) -> Condition:
    steps = fastest(limit=1.0 - floor, arl=config.arl)
    words = f"floor {floor:g} and arl {config.arl:,}: never, whatever the scores"
    if steps is not None:
        words = f"{steps} failed steps in a row alarm (at most {config.delay_steps_max})"
    holds = steps is not None and steps <= config.delay_steps_max
    return Condition(name="threshold reachable", holds=holds, words=words)


def _cost_reachable(watched: Watched | None, config: CostAlertConfig) -> Condition:
    baseline = None if watched is None else watched.baseline
    if baseline is None or baseline.mean is None or baseline.clip is None:
        count = 0 if baseline is None else len(baseline.costs)
        words = f"baseline: {count} of {config.baseline_tasks} tasks"
        return Condition(name="threshold reachable", holds=False, words=words)
    limit = (1 + config.increase) * baseline.mean
    words = (
        f"mean over ${limit:.6g} a task = {1 + config.increase:g} x baseline "
        f"${baseline.mean:.6g}; costs count up to ${baseline.clip:.6g}"
    )
    return Condition(name="threshold reachable", holds=limit < baseline.clip, words=words)


def _hours(ns: int) -> str:
    return f"{max(ns, 0) / 3.6e12:.3g} h"
