"""The other side of the bill: what the stand-ins counted, priced, and checked against spans."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from evals.standin.running import StandinProcess
from router.demo.files import PRICES, Price
from router.demo.sink import Sink
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
    """What a set of requests cost by a stand-in's own count."""

    usd: float
    requests_count: int
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


def bill_of(entries: Iterable[dict[str, Any]]) -> Bill:
    """Return the bill for entries of any of the demo's models."""
    by_name = {price.model.partition("/")[2]: price for price in PRICES.values()}
    served = [entry for entry in entries if entry["status"] == 200]
    return Bill(
        usd=sum(price_of(entry, by_name[entry["model"]]) for entry in served),
        requests_count=len(served),
        right_count=sum(bool(entry["right"]) for entry in served),
    )


def checks(
    sink: Sink, entries: Sequence[dict[str, Any]], decisions: Sequence[str | None]
) -> list[Check]:
    """Return what must hold between spans, the stand-ins' ledgers and the steps that were made."""
    served = [entry for entry in entries if entry["status"] == 200]
    spent = sum(span.cost_usd or 0.0 for span in sink.attempts)
    bill = bill_of(served)
    unknown = sum(span.cost_usd is None for span in sink.attempts)
    seen = Counter(span.response_id for span in sink.attempts)
    billed = Counter(entry["response_id"] for entry in served)
    tokens = [
        (sum(s.input_tokens or 0 for s in sink.attempts), sum(e["input"] for e in served)),
        (sum(s.output_tokens or 0 for s in sink.attempts), sum(e["output"] for e in served)),
    ]
    return [
        Check(
            name="the spans' cost is the stand-ins' bill",
            holds=abs(spent - bill.usd) <= TOLERANCE_USD and not unknown,
            found=f"${spent:.9f} and ${bill.usd:.9f}; {unknown} of unknown cost",
        ),
        Check(
            name=f"every attempt has one span with its {RESPONSE_ID}",
            holds=seen == billed and max(seen.values(), default=0) == 1,
            found=f"{len(sink.attempts)} spans, {len(served)} billed requests",
        ),
        Check(
            name="the spans' tokens are those billed",
            holds=all(ours == theirs for ours, theirs in tokens),
            found=", ".join(f"{ours:,} and {theirs:,}" for ours, theirs in tokens),
        ),
        Check(
            name="every step has one route span",
            holds=Counter(sink.routes) == Counter(decisions),
            found=f"{len(sink.routes)} spans, {len(decisions)} steps",
        ),
    ]


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
    bill = bill_of(ledger["entries"])
    assert bill.requests_count == len(sent), "a stand-in serves what it served before"
    return bill
