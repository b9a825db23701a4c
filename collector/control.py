"""The control room: what the collector decides from the facts it keeps, one tick after another.

A tick runs in a thread of its own, so that neither receiving nor committing waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter

from collector.access import Access
from collector.alerting import Alerting
from collector.alerts.catalogue import TICK_SECONDS_MAX
from collector.changes import Changes
from collector.desk import Desk
from collector.holding import Holding
from collector.learner import Guards, Learner
from collector.learner_routes import learner_routes
from collector.meters import Meters
from collector.outbox import enqueue, sink_proofs
from collector.policy_api import Book, active_routes, policy_routes
from collector.policy_moves import move_routes
from collector.review import Review
from collector.revisions import Revisions
from collector.savings_routes import savings_routes
from collector.store import Store
from telemetry.clock import Clock
from telemetry.errors import TierwiseError
from telemetry.terms import Terms

log = logging.getLogger("tierwise.collector")


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What every part of the control room works with.

    ``terms`` gives the policy's present terms; None while no policy was named.
    """

    desk: Desk
    store: Store
    terms: Callable[[], Terms | None]
    meters: Meters
    clock: Clock
    access: Access


class Control:
    """The parts, ticked in order; one that fails is logged and does not stop the others."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._parts: list[tuple[str, Callable[[int], None]]] = []
        self.routes: list[APIRouter] = []
        self.revisions = Revisions(room.desk, room.clock, terms=room.terms)
        self._parts.append(("policy review", self.revisions.sweep))
        changes = Changes(self.revisions)
        review, book = Review(changes, room.store), Book(self.revisions, room.store)
        self.routes += [
            active_routes(self.revisions, access=room.access),
            policy_routes(self.revisions, review=review, book=book),
            move_routes(review, Holding(changes), book, access=room.access),
        ]
        proofs = partial(sink_proofs, room.desk)
        self.routes.append(savings_routes(room))
        self.alerting = Alerting(room, enqueue=enqueue, proofs=proofs, raised=self.revisions.wake)
        self._parts.append(("alerts", self.alerting.tick))
        self.routes.append(self.alerting.routes)
        armory = self.alerting.armory
        learner = Learner(
            desk=room.desk,
            store=room.store,
            revisions=self.revisions,
            terms=room.terms,
            guards=Guards(armed=armory.armed, unsafe=armory.unsafe_roles),
            meters=room.meters,
        )
        self._parts.append(("learner", learner.tick))  # after the alerts that hold it
        self.routes.append(learner_routes(learner, clock=room.clock, access=room.access))

    def tick(self, now_ns: int) -> None:
        """Let every part look at what is new; called from one thread at a time."""
        for name, part in self._parts:
            try:
                part(now_ns)
            except TierwiseError as error:
                log.error("%s: %s; it is tried again with the next tick", name, error)
            except Exception:  # one part's fault must not stop the others
                log.exception("%s failed; it is tried again with the next tick", name)

    async def run(self) -> None:
        """Tick until cancelled; the pace is real time, what a tick looks at is the clock's."""
        try:
            while True:
                terms = self._room.terms()
                seconds = TICK_SECONDS_MAX if terms is None else terms.learning.tick_seconds
                await asyncio.sleep(min(seconds, TICK_SECONDS_MAX))
                await asyncio.to_thread(self.tick, self._room.clock.now_ns())
        finally:
            self.revisions.close()  # nobody waits for news of a collector that stops
