"""The routes by which people ask what the learner knows, and have it look again at once."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from collector.access import Access
from collector.guard import acting
from collector.learner import Learner
from telemetry.clock import Clock


def learner_routes(learner: Learner, *, clock: Clock, access: Access) -> APIRouter:
    """Return the routes under ``/api/learning``."""
    routes = APIRouter()

    @routes.get("/api/learning")
    def learning() -> dict[str, Any]:
        return learner.report

    @routes.post("/api/learning/tick")
    def tick(
        request: Request,
        dry: Annotated[bool, Query(description="change nothing")] = False,
    ) -> dict[str, Any]:
        acting(request, access)
        if dry:
            return learner.look(clock.now_ns(), dry=True)
        learner.tick(clock.now_ns())
        return learner.report

    return routes
