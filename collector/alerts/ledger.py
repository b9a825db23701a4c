"""The alerts that stand, and everything that became of them, on the desk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from collector.alert_events import AlertEvent, Status
from collector.alerts.states import Standing, State
from collector.desk import Desk, Row, Transaction

TRANSITIONS_MAX: Final = 20_000
NEW: Final = Standing()


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert: what it is, what it says and where it stands."""

    fingerprint: str
    name: str
    role: str | None
    severity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    standing: Standing = NEW
    told: bool = False  # its firing went into the outbox, its end not yet
    muted: str | None = None  # by which silence or alert
    acknowledged: Mapping[str, Any] | None = None  # author, comment, at_ns
    seen_ns: int = 0

    def plain(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        standing = self.standing
        return {
            "fingerprint": self.fingerprint,
            "name": self.name,
            "role": self.role,
            "severity": self.severity,
            "state": standing.state.value,
            "since_ns": standing.since_ns,
            "starts_ns": standing.starts_ns,
            "ends_ns": standing.ends_ns,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "muted": self.muted,
            "acknowledged": None if self.acknowledged is None else dict(self.acknowledged),
        }

    def event(self, status: Status, *, at_ns: int, reason: str) -> AlertEvent:
        """Return what sinks are told of it."""
        return AlertEvent(
            fingerprint=self.fingerprint,
            name=self.name,
            role=self.role,
            labels=dict(self.labels),
            annotations=dict(self.annotations),
            status=status,
            starts_ns=self.standing.starts_ns or at_ns,
            ends_ns=self.standing.ends_ns if status == "resolved" else None,
            at_ns=at_ns,
            reason=reason,
        )


def read(desk: Desk | Transaction) -> dict[str, Alert]:
    """Return every alert that stands, by fingerprint."""
    return {row["fingerprint"]: _alert(row) for row in desk.rows("SELECT * FROM alerts")}


def _alert(row: Row) -> Alert:
    acknowledged = row["acknowledged"]
    return Alert(
        fingerprint=row["fingerprint"],
        name=row["name"],
        role=row["role"],
        severity=row["severity"],
        labels=json.loads(row["labels"]),
        annotations=json.loads(row["annotations"]),
        standing=Standing(
            state=State(row["state"]),
            since_ns=row["since_ns"],
            starts_ns=row["starts_ns"],
            ends_ns=row["ends_ns"],
            waited_ns=row["waited_ns"],
            waited_steps=row["waited_steps"],
        ),
        told=bool(row["told"]),
        muted=row["muted"],
        acknowledged=None if acknowledged is None else json.loads(acknowledged),
        seen_ns=row["seen_ns"],
    )


def write(change: Transaction, alert: Alert) -> None:
    """Store an alert; one that is inactive is forgotten, its transitions stay."""
    if alert.standing.state is State.INACTIVE:
        change.run(
            "DELETE FROM alerts WHERE fingerprint = $fingerprint",
            {"fingerprint": alert.fingerprint},
        )
        return
    standing, acknowledged = alert.standing, alert.acknowledged
    change.run(
        "INSERT OR REPLACE INTO alerts VALUES ($fingerprint, $name, $role, $severity, $labels, "
        "$annotations, $state, $since, $starts, $ends, $waited_ns, $waited_steps, $told, $muted, "
        "$acknowledged, $seen)",
        {
            "fingerprint": alert.fingerprint,
            "name": alert.name,
            "role": alert.role,
            "severity": alert.severity,
            "labels": json.dumps(dict(alert.labels)),
            "annotations": json.dumps(dict(alert.annotations)),
            "state": standing.state.value,
            "since": standing.since_ns,
            "starts": standing.starts_ns,
            "ends": standing.ends_ns,
            "waited_ns": standing.waited_ns,
            "waited_steps": standing.waited_steps,
            "told": int(alert.told),
            "muted": alert.muted,
            "acknowledged": None if acknowledged is None else json.dumps(dict(acknowledged)),
            "seen": alert.seen_ns,
        },
    )


def moved(change: Transaction, alert: Alert, *, was: State, now_ns: int, reason: str) -> None:
    """Record that an alert went from one state to another, and why."""
    change.run(
        "INSERT INTO transitions (fingerprint, name, role, was, state, at_ns, reason) "
        "VALUES ($fingerprint, $name, $role, $was, $state, $now, $reason)",
        {
            "fingerprint": alert.fingerprint,
            "name": alert.name,
            "role": alert.role,
            "was": was.value,
            "state": alert.standing.state.value,
            "now": now_ns,
            "reason": reason[:500],
        },
    )
    change.run(
        "DELETE FROM transitions WHERE id <= (SELECT max(id) FROM transitions) - $most",
        {"most": TRANSITIONS_MAX},
    )


def history(desk: Desk, fingerprint: str, *, limit: int = 100) -> list[Row]:
    """Return the last transitions of one alert, newest first."""
    return desk.rows(
        "SELECT was, state, at_ns, reason FROM transitions WHERE fingerprint = $fingerprint "
        "ORDER BY id DESC LIMIT $limit",
        {"fingerprint": fingerprint, "limit": limit},
    )
