"""A person before the console, who reads and decides about the policy."""

from dataclasses import dataclass
from typing import Any

from tests.collector.conftest import Running


@dataclass
class Panel:
    """A person before the console; ``key`` is their secret."""

    running: Running
    key: str | None = None

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self.running.session.get(
            self.running.console + path, params=query, headers=self._headers()
        ) as answer:
            return answer.status, await answer.json()

    async def etag(self) -> str:
        _, found = await self.get("/api/policy/revisions")
        return str(found["etag"])

    async def post(
        self, path: str, body: Any = None, *, base: str | None = "", **headers: str
    ) -> tuple[int, Any]:
        """Ask for a change; on the present base unless one is named, with none for None."""
        sent = self._headers() | {name.replace("_", "-"): text for name, text in headers.items()}
        if base is not None:
            sent["if-match"] = base or await self.etag()
        async with self.running.session.post(
            self.running.console + "/api/policy/" + path, json=body or {}, headers=sent
        ) as answer:
            found = await answer.json()
            if answer.headers.get("idempotency-replayed"):
                found["replayed"] = True
            return answer.status, found

    def _headers(self) -> dict[str, str]:
        return {} if self.key is None else {"authorization": f"Bearer {self.key}"}
