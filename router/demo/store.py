"""What the collector knows of the demo's steps, asked over its API; every figure is read here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from telemetry.errors import TierwiseError

ROWS_MAX = 10_000  # the API's own limit on one answer
SECONDS_MAX = 15.0
CODE = "code"

_DECISIONS = "SELECT decision_id, role, plan, attempts, cost_usd FROM decisions"
_ATTEMPTS = """
SELECT decision_id, attempt, role, tier, model, plan, operation, cause, error_type, response_id,
  input_tokens, output_tokens, cost_usd, trace_id || span_id AS span
FROM calls ORDER BY decision_id, attempt
"""
_FAILED = """
SELECT trace_id || span_id AS span, name FROM evaluations
WHERE label = 'fail' AND span_id IS NOT NULL ORDER BY time_ns, name
"""


class StoreSilent(TierwiseError):
    """The console did not answer a question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt as its span tells it; None is unknown."""

    decision_id: str
    number: int
    role: str
    tier: str
    model: str
    plan: str | None
    operation: str  # `code` when the span names no operation of a model
    cause: str
    error_type: str | None
    response_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    failed: tuple[str, ...]  # the checks that the answer failed

    @property
    def answered(self) -> bool:
        """Whether there was an answer to judge."""
        return self.error_type is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """One decision with all its attempts, in their order."""

    decision_id: str
    role: str
    plan: str | None
    attempts_count: int | None  # as the decision itself counts them
    cost_usd: float | None  # as the decision itself sums it
    attempts: tuple[Attempt, ...]

    @property
    def complete(self) -> bool:
        """Whether all attempts are here, and why each of them was not the last."""
        told = all(a.failed or not a.answered for a in self.attempts[:-1])
        return told and len(self.attempts) == self.attempts_count

    @property
    def escalations_count(self) -> int:
        """How often a failed check or a failed model moved it up; an abstention moves it too."""
        return sum(
            now.cause == "escalation" and before.error_type != "abstained"
            for before, now in zip(self.attempts, self.attempts[1:], strict=False)
        )

    @property
    def abstained(self) -> bool:
        """Whether the tier `code` was asked and had no answer."""
        return any(attempt.error_type == "abstained" for attempt in self.attempts)

    @property
    def first_answer(self) -> Attempt | None:
        """The first answer, which would have been the last without checks."""
        return next((attempt for attempt in self.attempts if attempt.answered), None)


class Store:
    """The console's API, over one connection."""

    def __init__(self, console: str) -> None:
        self._console = console
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def chains(self) -> list[Chain]:
        """Return everything that has arrived by now.

        Raises:
            StoreSilent: the console refuses, or has more than a demo makes.
        """
        decisions = await self._rows(_DECISIONS)
        failed: dict[str, list[str]] = {}
        for row in await self._rows(_FAILED):
            failed.setdefault(row["span"], []).append(row["name"])
        attempts: dict[str, list[Attempt]] = {}
        for row in await self._rows(_ATTEMPTS):
            attempts.setdefault(row["decision_id"], []).append(_attempt(row, failed))
        return [
            Chain(
                decision_id=row["decision_id"],
                role=row["role"],
                plan=row["plan"],
                attempts_count=row["attempts"],
                cost_usd=row["cost_usd"],
                attempts=tuple(attempts.get(row["decision_id"], ())),
            )
            for row in decisions
        ]

    async def board(self) -> tuple[int, float]:
        """Return calls and spend as the console's own table of roles sums them up by now.

        Raises:
            StoreSilent: the console refuses.
        """
        found = await self._asked("GET", "api/roles")
        return int(found["calls"]), float(found["spend_usd"])

    async def _rows(self, sql: str) -> list[dict[str, Any]]:
        found = await self._asked("POST", "api/sql", {"sql": sql, "rows_max": ROWS_MAX})
        if found["truncated"]:
            raise StoreSilent(f"{self._console} has more than {ROWS_MAX} rows for: {sql}")
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]

    async def _asked(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        url = f"{self._console}/{path}"
        try:
            async with self._session.request(method, url, json=body) as answer:
                if answer.status != 200:
                    raise StoreSilent(f"{url} answers {answer.status}: {await answer.text()}")
                found: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreSilent(f"{url} does not answer: {error!r}") from error
        return found


def _attempt(row: dict[str, Any], failed: dict[str, list[str]]) -> Attempt:
    fields = {name: row[name] for name in row if name not in ("attempt", "span")}
    return Attempt(number=row["attempt"], failed=tuple(failed.get(row["span"], ())), **fields)


def attempts_of(chains: Sequence[Chain]) -> list[Attempt]:
    """Return all attempts of all chains."""
    return [attempt for chain in chains for attempt in chain.attempts]
