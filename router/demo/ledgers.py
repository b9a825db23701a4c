"""The other side of the bill: what the stand-ins counted, priced, and checked against spans."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from evals.standin.running import StandinProcess
from router.demo.files import PRICES, Price
from router.demo.store import CODE, Attempt, Chain, attempts_of
from telemetry.names import RESPONSE_ID

TOLERANCE_USD = 1e-9
REPLAY_SECONDS_MAX = 30.0

Sent = tuple[str, dict[str, Any]]  # path below the base URL, body


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that must hold, and what was found."""

    name: str
    holds: bool
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What a set of steps cost, and how many of their answers were right."""

    usd: float
    calls_count: int  # model calls that were billed
    steps_count: int
    right_count: int


def price_of(entry: dict[str, Any], price: Price) -> float:
    """Return what one ledger entry costs; its input holds the cached tokens."""
    fresh = entry["input"] - entry["cache_read"] - entry["cache_write"]
    micro = (
        fresh * price.input
        + entry["cache_read"] * price.cache_read
        + entry["cache_write"] * price.cache_write
        + entry["output"] * price.output
    )
    return float(micro / 1e6)


def usd_of(entries: Iterable[dict[str, Any]]) -> float:
    """Return what entries of any of the demo's models cost; refused requests cost nothing."""
    by_name = {price.model.partition("/")[2]: price for price in PRICES.values()}
    return sum(price_of(entry, by_name[entry["model"]]) for entry in _served(entries))


def routed(entries: Sequence[dict[str, Any]], marks: Sequence[bool | None]) -> Bill:
    """Return the bill of the steps that were routed, each judged once: by what was delivered."""
    served = _served(entries)
    return Bill(
        usd=usd_of(served),
        calls_count=len(served),
        steps_count=len(marks),
        right_count=sum(mark is True for mark in marks),
    )


def _served(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["status"] == 200]


def checks(
    chains: Sequence[Chain], entries: Sequence[dict[str, Any]], decisions: Sequence[str | None]
) -> list[Check]:
    """Return what must hold between spans, the stand-ins' ledgers and the steps that were made."""
    attempts, served = attempts_of(chains), _served(entries)
    calls = [attempt for attempt in attempts if attempt.tier != CODE]
    return [
        _cost_check(attempts, served),
        _once_check(calls, served),
        _tokens_check(calls, served),
        _routes_check(chains, decisions),
        _chains_check(chains),
        _code_check([attempt for attempt in attempts if attempt.tier == CODE]),
    ]


def _cost_check(attempts: Sequence[Attempt], served: Sequence[dict[str, Any]]) -> Check:
    spent = sum(attempt.cost_usd or 0.0 for attempt in attempts)
    unknown = sum(attempt.cost_usd is None for attempt in attempts)
    bill = usd_of(served)
    return Check(
        name="the spans' cost is the stand-ins' bill",
        holds=abs(spent - bill) <= TOLERANCE_USD and not unknown,
        found=f"${spent:.9f} and ${bill:.9f}; {unknown} of unknown cost",
    )


def _once_check(calls: Sequence[Attempt], served: Sequence[dict[str, Any]]) -> Check:
    seen = Counter(call.response_id for call in calls)
    billed = Counter(entry["response_id"] for entry in served)
    return Check(
        name=f"every model call has one span with its {RESPONSE_ID}",
        holds=seen == billed and max(seen.values(), default=0) == 1,
        found=f"{len(calls)} spans, {len(served)} billed requests",
    )


def _tokens_check(calls: Sequence[Attempt], served: Sequence[dict[str, Any]]) -> Check:
    tokens = [
        (sum(call.input_tokens or 0 for call in calls), sum(e["input"] for e in served)),
        (sum(call.output_tokens or 0 for call in calls), sum(e["output"] for e in served)),
    ]
    return Check(
        name="the spans' tokens are those billed",
        holds=all(ours == theirs for ours, theirs in tokens),
        found=", ".join(f"{ours:,} and {theirs:,}" for ours, theirs in tokens),
    )


def _routes_check(chains: Sequence[Chain], decisions: Sequence[str | None]) -> Check:
    return Check(
        name="every step has one route span",
        holds=Counter(chain.decision_id for chain in chains) == Counter(decisions),
        found=f"{len(chains)} spans, {len(decisions)} steps",
    )


def _chains_check(chains: Sequence[Chain]) -> Check:
    """Say whether failed attempts are counted too, in number and in money."""
    wrong = [
        chain
        for chain in chains
        if not chain.complete
        or chain.cost_usd is None
        or abs(chain.cost_usd - sum(a.cost_usd or 0.0 for a in chain.attempts)) > TOLERANCE_USD
    ]
    several = sum(len(chain.attempts) > 1 for chain in chains)
    return Check(
        name="every route span sums all its attempts",
        holds=not wrong,
        found=f"{several} with several attempts, {len(wrong)} that do not add up",
    )


def _code_check(attempts: Sequence[Attempt]) -> Check:
    wrong = sum(
        (a.operation, a.cost_usd, a.response_id, a.input_tokens, a.output_tokens)
        != (CODE, 0.0, None, None, None)
        for a in attempts
    )
    return Check(
        name="attempts of the tier code cost nothing and are no model's spans",
        holds=not wrong,
        found=f"{len(attempts)} attempts, {wrong} otherwise",
    )


def board_check(chains: Sequence[Chain], *, calls: int, spend_usd: float) -> Check:
    """Return whether the console's table of roles comes to the same sums as its spans."""
    attempts = attempts_of(chains)
    spent = sum(attempt.cost_usd or 0.0 for attempt in attempts)
    return Check(
        name="the console's table of roles sums the same spans",
        holds=calls == len(attempts) and abs(spend_usd - spent) <= TOLERANCE_USD,
        found=f"{calls} and {len(attempts)} attempts, ${spend_usd:.9f} and ${spent:.9f}",
    )


async def replay(sent: Sequence[Sent], *, seed: int) -> Bill:
    """Send the same requests, in order, to a fresh frontier stand-in and return its bill."""
    frontier = PRICES["frontier"].model.partition("/")[2]
    standin = await asyncio.to_thread(StandinProcess.start, seed=seed)
    try:
        timeout = aiohttp.ClientTimeout(total=REPLAY_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for path, body in sent:
                url = f"{standin.base_url}/{path}"
                async with session.post(url, json={**body, "model": frontier}) as answer:
                    await answer.read()
        ledger = await asyncio.to_thread(standin.ledger)
    finally:
        await asyncio.to_thread(standin.close)
    served = _served(ledger["entries"])
    assert len(served) == len(sent), "a stand-in serves what it served before"
    return Bill(
        usd=usd_of(served),
        calls_count=len(served),
        steps_count=len(sent),
        right_count=sum(bool(entry["right"]) for entry in served),
    )
