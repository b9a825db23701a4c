"""A desk and a poster on a clock that stands still, for tests of the outbox."""

import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.alert_events import AlertEvent, fingerprint
from collector.desk import Desk
from collector.meters import Meters
from collector.outbox import enqueue
from collector.sinks.opening import Surroundings
from collector.sinks.poster import Poster
from telemetry.alerting import NotifyConfig
from telemetry.clock import ManualClock
from telemetry.config import TelemetryConfig

NOW_NS = 1_800_000_000_000_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def alert(
    name: str = "QualityLow", role: str | None = "worker", *, status: Any = "firing",
    at_ns: int = NOW_NS, starts_ns: int | None = None, severity: str = "page",
) -> AlertEvent:  # fmt: skip
    labels = {"alertname": name, "severity": severity} | ({} if role is None else {"role": role})
    return AlertEvent(
        fingerprint=fingerprint(labels),
        name=name,
        role=role,
        labels=labels,
        annotations={"summary": f"{name} of {role}"},
        status=status,
        starts_ns=at_ns if starts_ns is None else starts_ns,
        ends_ns=at_ns if status == "resolved" else None,
        at_ns=at_ns,
        reason="evidence",
    )


@dataclass
class Post:
    """What a test moves: time, alerts, and the poster step by step."""

    desk: Desk
    poster: Poster
    clock: ManualClock
    meters: Meters
    notify: list[NotifyConfig]
    muted: set[str] = field(default_factory=set)

    def put(self, *events: AlertEvent) -> None:
        with self.desk.transaction() as change:
            for event in events:
                enqueue(change, event)

    def fire(self, name: str = "QualityLow", role: str | None = "worker", **more: Any) -> None:
        self.put(alert(name, role, at_ns=self.clock.now_ns(), **more))

    def resolve(self, name: str = "QualityLow", role: str | None = "worker") -> None:
        self.put(alert(name, role, status="resolved", at_ns=self.clock.now_ns(), starts_ns=NOW_NS))

    async def wait(self, seconds: float, *, every: float = 5.0) -> None:
        """Let time pass in steps, at each of which everything due is sent."""
        for _ in range(round(seconds / every)):
            self.clock.advance(every)
            await self.poster.step()

    def count(self, state: str) -> int:
        row = self.desk.row(
            "SELECT count(*) AS n FROM deliveries WHERE state = $state", {"state": state}
        )
        assert row is not None
        return int(row["n"])

    def metric(self, name: str, **labels: str) -> float:
        return self.meters.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def posting(
    folder: Path, environment: dict[str, str], *notify: NotifyConfig, start_ns: int = NOW_NS
) -> AsyncIterator[Post]:
    desk, clock, meters = Desk(folder / "a.desk"), ManualClock(start_ns), Meters()
    configs, muted = list(notify), set[str]()

    def is_muted(_: int) -> Collection[str]:
        return muted

    poster = Poster(
        desk,
        notify=lambda: configs,
        around=Surroundings(environment=environment, clock=clock, telemetry=TelemetryConfig()),
        meters=meters,
        rng=random.Random(1),
        muted=is_muted,
    )
    try:
        yield Post(desk, poster, clock, meters, configs, muted)
    finally:
        await poster.close()
        desk.close()


def webhook(**more: Any) -> NotifyConfig:
    """Return a webhook that is proven by nothing but what is sent."""
    settings: dict[str, Any] = {
        "kind": "webhook", "url_env": "HOOK", "allow_private": True, "prove_hours": 0,
    }  # fmt: skip
    return NotifyConfig(**settings | more)
