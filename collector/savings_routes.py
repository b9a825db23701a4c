"""What people and programs ask about money saved and about shadow runs."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query

from collector.savings_report import savings
from collector.shadow_report import shadow_report

if TYPE_CHECKING:
    from collector.control import Room

DAY_SECONDS: Final = 86_400.0
Since = Annotated[float, Query(ge=60, le=400 * DAY_SECONDS)]


def savings_routes(room: "Room") -> APIRouter:
    """Return the routes; each answer is computed anew from roll-ups and a bounded sample."""
    routes = APIRouter()

    @routes.get("/api/savings")
    def saved(since_seconds: Since = DAY_SECONDS) -> dict[str, Any]:
        now_ns = room.clock.now_ns()
        return savings(room.store, room.terms(), now_ns=now_ns, window_seconds=since_seconds)

    @routes.get("/api/shadow")
    def shadow(since_seconds: Since = 7 * DAY_SECONDS) -> dict[str, Any]:
        now_ns = room.clock.now_ns()
        return shadow_report(room.store, now_ns=now_ns, window_seconds=since_seconds)

    return routes
