"""What comes from outside and changes: prices, versions, providers, feedback's sources."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from collector.alerts import queries
from collector.alerts.bodies import MINUTE_NS
from collector.alerts.books import Books
from collector.alerts.epochs import roles_of
from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.store import Store
from telemetry.terms import Terms

HISTORY_NS: Final = 28 * 86_400_000_000_000
HOUR_NS: Final = 60 * MINUTE_NS
OUTAGE_MINUTES: Final = 5
OUTAGE_CALLS_MIN: Final = 10
OUTAGE_SHARE: Final = 0.5
MODELS_MAX: Final = 1_000
VERSIONS_MAX: Final = 20


def prices(books: Books, terms: Terms) -> Iterator[Sighting]:
    """Yield `PriceChanged` for every model whose rates are not those of the tick before."""
    known: dict[str, list[float] | None] = books.fact("prices", {})
    rates = {
        tier.models[0]: None if tier.usd_per_token is None else list(tier.usd_per_token)
        for tier in terms.tiers.values()
        if tier.models
    }
    for model, now in rates.items():
        before = known.get(model, now)
        yield Sighting(
            name="PriceChanged",
            labels={"model": model},
            look=Look(holds=before != now),
            words=partial(_price_words, model, before, now),
        )
    books.note("prices", rates)


def _price_words(model: str, before: list[float] | None, now: list[float] | None) -> dict[str, str]:
    return {"summary": f"{model}: {_rates(before)} before, {_rates(now)} now"}


def _rates(rates: list[float] | None) -> str:
    if rates is None:
        return "unknown"
    return "$" + "/".join(f"{rate * 1e6:g}" for rate in rates) + " per million tokens"


def versions(store: Store, books: Books, now_ns: int) -> Iterator[Sighting]:
    """Yield `ModelChanged` for models that were answered by a version not seen before.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    known: dict[str, list[str]] = dict(books.fact("versions", {}))
    at = books.fact("versions_at", max(now_ns - HISTORY_NS, 0))
    rows = store.read(queries.VERSIONS, {"at": at})
    fresh: dict[str, tuple[str, str]] = {}
    for row in rows:
        model, version = row["model"], row["version"]
        seen = known.get(model)
        at = max(at, row["received_ns"])
        if seen is None and len(known) < MODELS_MAX:
            known[model] = [version]
        elif seen is not None and version not in seen:
            known[model] = [*seen, version][-VERSIONS_MAX:]
            fresh[model] = (version, row["roles"] or "none")
    books.note("versions", known)
    books.note("versions_at", at)
    for model, seen in known.items():
        yield Sighting(
            name="ModelChanged",
            labels={"model": model},
            look=Look(holds=model in fresh),
            words=partial(_version_words, model, fresh.get(model, ("", "")), tuple(seen)),
        )


def _version_words(model: str, found: tuple[str, str], seen: tuple[str, ...]) -> dict[str, str]:
    version, roles = found
    return {
        "summary": f"{model} is answered by {version}, which was not seen before",
        "roles": roles,
        "known versions": ", ".join(seen),
    }


def outages(store: Store, terms: Terms, now_ns: int) -> Iterator[Sighting]:
    """Yield `ProviderOutage` for every role and provider with enough calls in five minutes.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    now = now_ns // MINUTE_NS
    bound = {"from": now - OUTAGE_MINUTES, "to": now, "least": OUTAGE_CALLS_MIN}
    known = set(roles_of(terms))
    for row in store.read(queries.FAILURES, bound):
        if row["role"] in known:
            yield Sighting(
                name="ProviderOutage",
                role=row["role"],
                labels={"provider": row["provider"]},
                look=Look(holds=row["errors"] >= OUTAGE_SHARE * row["calls"]),
                words=partial(_outage_words, row),
            )


def _outage_words(row: dict[str, Any]) -> dict[str, str]:
    return {
        "summary": f"{row['errors']} of {row['calls']} calls to {row['provider']} failed within "
        f"{OUTAGE_MINUTES} minutes"
    }


def talkers(store: Store, terms: Terms, now_ns: int) -> Iterator[Sighting]:
    """Yield `FeedbackAnomaly` for every source with more words in an hour than is plausible.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    config = terms.alerts.quality
    if config is None:
        return
    bound = {"since": now_ns - HOUR_NS, "most": config.feedback_per_hour_max}
    for row in store.read(queries.TALKERS, bound):
        yield Sighting(
            name="FeedbackAnomaly",
            labels={"source": row["source"].removeprefix("feedback:")[:200]},
            look=Look(holds=True),
            words=partial(_talker_words, row),
        )


def _talker_words(row: dict[str, Any]) -> dict[str, str]:
    source = row["source"].removeprefix("feedback:")[:200]
    return {
        "summary": f"{row['words']} words of {source} within the hour, {row['authenticated']} of "
        "them authenticated"
    }
