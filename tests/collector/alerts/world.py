"""A store, a desk and the alert engine around them, with traffic that a test makes up."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from collector.alert_events import AlertEvent
from collector.alerts import ledger
from collector.alerts.engine import Alerts
from collector.alerts.ledger import Alert
from collector.desk import Desk
from collector.duckdb_store import DuckDBStore
from collector.meters import Meters
from collector.rows import Batch, CallRow, DecisionRow, EvaluationRow
from telemetry.alerting import AlertsConfig
from telemetry.records import Arm, OnFail
from telemetry.terms import PinTerms, RoleTerms, Terms, TierTerms

T0 = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
RATES = (1e-6, 2e-6, 1e-7)
ALERTS: dict[str, Any] = {
    "cost": {"budget_usd_per_day": 1_000, "horizon_seconds": 0, "baseline_tasks": 50},
    "quality": {"horizon_seconds": 0},
}


def role_terms(role: str = "worker", **more: Any) -> RoleTerms:
    given: dict[str, Any] = {
        "role": role, "mode": None, "tiers": ("small", "mid"),
        "declared": Arm(tier="mid", on_fail=OnFail.ACCEPT), "floor": 0.85, "learn": "bounded",
        "checked": True, "pin": None,
    }  # fmt: skip
    return RoleTerms(**(given | more))


def pin(until: Any) -> PinTerms:
    return PinTerms(model="openai/b", reason="held", owner="ann", until=until)


def terms(*roles: RoleTerms, alerts: dict[str, Any] | None = None) -> Terms:
    return Terms(
        policy_hash="p1",
        ladder=("small", "mid"),
        tiers={
            "small": TierTerms(models=("openai/a",), usd_per_token=RATES),
            "mid": TierTerms(models=("openai/b",), usd_per_token=RATES),
        },
        roles=roles or (role_terms(),),
        alerts=AlertsConfig.model_validate(ALERTS if alerts is None else alerts),
    )


def _row(kind: type[msgspec.Struct], given: dict[str, Any]) -> Any:
    """Return a row with what was given; numbers that must be there are 0, all else is unknown."""
    values: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        text = str(each.type)
        if "None" in text:
            values[each.name] = None
        else:
            values[each.name] = "" if each.type is str else False if each.type is bool else 0
    return kind(**(values | given))


def decision(number: int, at_ns: int, score: float | None, **more: Any) -> DecisionRow:
    given = {
        "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "start_ns": at_ns,
        "end_ns": at_ns + SECOND, "name": "route", "decision_id": f"d{number}", "role": "worker",
        "task": f"t{number}", "tier_start": "mid", "on_fail": "step", "tier": "mid",
        "offered": "small/step,mid/step", "model": "openai/b", "attempts": 1, "propensity": 1.0,
        "quality": score,
    }  # fmt: skip
    row: DecisionRow = _row(DecisionRow, given | more)
    return row


def call(number: int, at_ns: int, usd: float | None, **more: Any) -> CallRow:
    given = {
        "trace_id": f"{number:032x}", "span_id": f"{number + 2**40:016x}", "start_ns": at_ns,
        "end_ns": at_ns + SECOND, "name": "chat", "dialect": "tierwise", "operation": "chat",
        "role": "worker", "counted": True, "tier": "mid", "task": f"t{number}",
        "model": "openai/b", "provider": "openai", "cost_usd": usd, "input_tokens": 100,
        "output_tokens": 10, "weight": 1.0, "decision_id": f"d{number}", "attempt": 1,
    }  # fmt: skip
    row: CallRow = _row(CallRow, given | more)
    return row


def word(number: int, at_ns: int, source: str) -> EvaluationRow:
    given = {
        "evaluation_id": f"e{number}", "time_ns": at_ns, "decision_id": f"x{number}",
        "name": "user", "source": f"feedback:{source}", "score": 1.0, "rank": 3,
    }  # fmt: skip
    row: EvaluationRow = _row(EvaluationRow, given)
    return row


def judgement(number: int, at_ns: int, *, chance: float) -> EvaluationRow:
    """A judge's word on decision ``number``, who was drawn with ``chance``."""
    given = {
        "evaluation_id": f"j{number}", "time_ns": at_ns, "decision_id": f"d{number}",
        "name": "judge", "source": "event", "score": 0.0, "rank": 2, "chance": chance,
    }  # fmt: skip
    row: EvaluationRow = _row(EvaluationRow, given)
    return row


@dataclass
class World:
    """Everything real but the sinks, whose events are gathered."""

    folder: Path
    terms: Terms
    now: int = T0
    count: int = 0
    events: list[AlertEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = DuckDBStore(self.folder / "w.duckdb", now_ns=self.now)
        self.desk = Desk(self.folder / "w.desk")
        self.meters = Meters()
        self.alerts = self.engine()

    def engine(self) -> Alerts:
        """Return an engine as a restarted process would have it."""
        self.alerts = Alerts(
            desk=self.desk,
            store=self.store,
            terms=lambda: self.terms,
            meters=self.meters,
            enqueue=lambda _, event: self.events.append(event),
        )
        return self.alerts

    def put(
        self,
        scores: Sequence[float | None],
        *,
        usd: float | Sequence[float] | None = None,
        **more: Any,
    ) -> None:
        """Store one step and one call of its own task per score, just before now."""
        batch = Batch()
        for index, score in enumerate(scores):
            self.count += 1
            at = self.now - len(scores) + index
            batch.decisions.append(decision(self.count, at, score, **more))
            if usd is not None:
                each = usd if isinstance(usd, float) else usd[index]
                role = more.get("role", "worker")
                batch.calls.append(call(self.count, at, each, role=role))
        self.keep(batch)

    def keep(self, batch: Batch) -> None:
        self.store.write([batch], now_ns=self.now)
        if batch.calls:
            self.store.roll_up(self.now)

    def tick(self, seconds: float = 10.0) -> None:
        self.now += int(seconds * SECOND)
        self.alerts.tick(self.now)

    def change(self, **more: Any) -> None:
        self.terms = replace(self.terms, **more)

    def alert(self, name: str, role: str | None = "worker", **labels: str) -> Alert | None:
        for one in ledger.read(self.desk).values():
            same = all(one.labels.get(key) == value for key, value in labels.items())
            if (one.name, one.role) == (name, role) and same:
                return one
        return None

    def state(self, name: str, role: str | None = "worker", **labels: str) -> str:
        found = self.alert(name, role, **labels)
        return "inactive" if found is None else found.standing.state.value

    def told(self, *, but: tuple[str, ...] = ("Watchdog",)) -> list[tuple[str, str | None, str]]:
        """What sinks would have heard, in order."""
        return [(e.name, e.role, e.status) for e in self.events if e.name not in but]

    def close(self) -> None:
        self.store.close()
        self.desk.close()
