"""A place that takes alerts, as a team's chat or pager would: it keeps what it was told."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BODY_BYTES_MAX = 1_048_576
ALERTS_MAX = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One alert of one message."""

    name: str
    role: str | None
    status: str  # firing or resolved
    summary: str


@dataclass(slots=True)
class Hook:
    """Everything that came, in order."""

    url: str = ""
    pages: list[Page] = field(default_factory=list)

    def fired(self, name: str, role: str | None = None) -> bool:
        """Say whether the alert ``name`` fired for ``role``."""
        return any(
            (page.name, page.role, page.status) == (name, role, "firing") for page in self.pages
        )

    def take(self, message: dict[str, Any]) -> None:
        """Keep the alerts of one webhook message of Alertmanager's version 4."""
        for alert in message["alerts"][: ALERTS_MAX - len(self.pages)]:
            labels = alert["labels"]
            self.pages.append(
                Page(
                    name=labels["alertname"],
                    role=labels.get("role"),
                    status=alert["status"],
                    summary=alert["annotations"].get("summary", ""),
                )
            )


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Hook]:
    """Take messages on a free port of 127.0.0.1."""
    hook = Hook()

    async def take(request: web.Request) -> web.Response:
        hook.take(await request.json())
        return web.Response()

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/alerts", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
        yield hook
    finally:
        await runner.cleanup()
