"""Notices in the running collector: the poster, the weekly report and their routes."""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from collector.control import Room
from collector.drift_report import DAY_SECONDS, SINCE_SECONDS, DriftReport, drift_report
from collector.drift_weekly import Weekly
from collector.guard import acting
from collector.holds import holds
from collector.policy_news import PolicyNews
from collector.refusals import envelope
from collector.sinks.opening import Surroundings
from collector.sinks.poster import Poster, nothing_muted
from telemetry.alerting import NotifyConfig
from telemetry.config import TelemetryConfig
from telemetry.errors import ApiError, TierwiseError

LOOK_SECONDS: Final = 10.0

log = logging.getLogger("tierwise.collector")


class WhichSink(BaseModel):
    """The body of ``POST /api/alerts/test``."""

    model_config = ConfigDict(extra="forbid")

    sink: Annotated[str, Field(min_length=1, max_length=50)] | None = None


class Notices:
    """Sends until it is stopped."""

    def __init__(
        self,
        room: Room,
        *,
        telemetry: TelemetryConfig,
        muted: Callable[[int], Collection[str]] = nothing_muted,
    ) -> None:
        self._room = room
        self.poster = Poster(
            room.desk,
            notify=self._notify,
            around=Surroundings(environment=os.environ, clock=room.clock, telemetry=telemetry),
            meters=room.meters,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
            muted=muted,
        )
        self._news = PolicyNews(room.desk)
        self._weekly = Weekly(room.desk, self.report, wanted=self._report_is_wanted)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send; call it inside a running loop."""
        self._tasks = [
            asyncio.create_task(self.poster.run()),
            asyncio.create_task(self._watch()),
        ]

    async def stop(self) -> None:
        """Break off; what was not acknowledged is sent after the next start."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.poster.close()

    def report(self, since_seconds: float = SINCE_SECONDS) -> DriftReport:
        """Return the drift report of the last ``since_seconds`` and the same time before."""
        return drift_report(
            self._room.store,
            terms=self._room.terms(),
            now_ns=self._room.clock.now_ns(),
            since_seconds=since_seconds,
            held=holds(self._room.desk),
        )

    def _notify(self) -> tuple[NotifyConfig, ...]:
        terms = self._room.terms()
        return () if terms is None else terms.alerts.notify

    def _report_is_wanted(self) -> bool:
        return any(config.drift_report for config in self._notify())

    async def _watch(self) -> None:
        """Look for moves of the policy, and whether the week's report is due, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._news.look)
                await asyncio.to_thread(self._weekly.look, self._room.clock.now_ns())
            except TierwiseError as error:
                log.error("news of the policy, drift report: %s; tried again soon", error)
            except Exception:  # one report that fails must not end the next ones
                log.exception("news of the policy or the drift report failed; tried again soon")
            await asyncio.sleep(LOOK_SECONDS)

    def routes(self) -> APIRouter:
        """Return the routes of sinks and of the report."""
        routes = APIRouter()

        @routes.get("/api/sinks")
        def sinks() -> dict[str, Any]:
            return {"sinks": self.poster.standing()}

        @routes.post("/api/alerts/test")
        async def test(request: Request, body: WhichSink | None = None) -> JSONResponse:
            acting(request, self._room.access)
            try:
                tested = await self.poster.test(body.sink if body is not None else None)
            except KeyError as error:
                known = ", ".join(one["name"] for one in self.poster.standing()) or "none"
                fault = ApiError(f"there is no sink {error.args[0]!r}", hint=f"known: {known}")
                told = envelope("invalid_request", "not_found", fault)
                return JSONResponse(told, status_code=404)
            return JSONResponse({"sinks": [asdict(one) for one in tested]})

        @routes.get("/api/drift")
        def drift(
            since_seconds: Annotated[float, Query(ge=3_600, le=180 * DAY_SECONDS)] = SINCE_SECONDS,
        ) -> dict[str, Any]:
            return self.report(since_seconds).plain()

        return routes
