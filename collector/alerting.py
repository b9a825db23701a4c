"""Alerting as one part of the control room: its tick, its routes, its metrics, what is armed."""

from collections.abc import Callable
from typing import Protocol

from collector.access import Access
from collector.alert_events import Enqueue, nowhere
from collector.alerts.engine import Alerts
from collector.alerts.gauges import Gauges
from collector.alerts.raised import raised_roles
from collector.alerts.routes import Desks, alert_routes
from collector.armed import Armory, Proofs, Side
from collector.desk import Desk
from collector.meters import Meters
from collector.store import Store
from telemetry.clock import Clock
from telemetry.terms import Terms


class Surroundings(Protocol):
    """What alerting works with: the control room's own record."""

    @property
    def desk(self) -> Desk: ...

    @property
    def store(self) -> Store: ...

    @property
    def terms(self) -> Callable[[], Terms | None]: ...

    @property
    def meters(self) -> Meters: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def access(self) -> Access: ...


class Alerting:
    """The engine with everything that shows it."""

    def __init__(
        self,
        room: Surroundings,
        *,
        enqueue: Enqueue = nowhere,
        proofs: Proofs = dict,
        raised: Callable[[], None] = lambda: None,
    ) -> None:
        """``raised`` is called when other roles than before are to be graded in full."""
        self._desk = room.desk
        self._raised = raised
        self._graded: frozenset[str] | None = None
        self.alerts = Alerts(
            desk=room.desk,
            store=room.store,
            terms=room.terms,
            meters=room.meters,
            enqueue=enqueue,
        )
        self.armory = Armory(desk=room.desk, terms=room.terms, proofs=proofs)
        self._sides: list[Side] = []
        gauges = Gauges(lambda: self.alerts.seen, lambda: self._sides)
        room.meters.registry.register(gauges)
        self.routes = alert_routes(
            Desks(
                alerts=self.alerts,
                armory=self.armory,
                desk=room.desk,
                store=room.store,
                terms=room.terms,
                clock=room.clock,
                access=room.access,
            )
        )

    def tick(self, now_ns: int) -> None:
        """Move every alert on and look at what is armed."""
        self.alerts.tick(now_ns)
        self._sides = self.armory.every(now_ns)
        graded = raised_roles(self._desk)
        if graded != self._graded:
            self._graded = graded
            self._raised()
