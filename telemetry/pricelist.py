"""The catalogue of prices shipped with genai-prices.

It is read from disk and never fetched; a newer one comes with a newer package.
"""

from datetime import datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from telemetry.prices import MILLION, Price, Rates


def listed_price(
    name: str, *, provider_id: str | None, url: str | None, at: datetime
) -> Price | None:
    """Return what a provider, named or known by its address, takes for a model at ``at``.

    None when the catalogue does not know it, or it is not priced by the token.
    """
    try:
        provider, model = get_snapshot().find_provider_model(name, None, provider_id, url)
    except LookupError:
        return None
    return _catalogue_price(model.get_prices(at), f"{provider.id}/{model.id}")


def _catalogue_price(listed: ModelPrice, entry: str) -> Price | None:
    """Return None for models that are not priced by the token (by page, hour, picture ...)."""
    if listed.input_mtok is None:
        return None
    starts = {-1}
    for key in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"):
        value = getattr(listed, key)
        if isinstance(value, TieredPrices):
            starts.update(tier.start for tier in value.tiers)
    requests = _rate(listed.requests_kcount, -1)
    return Price(
        rates=tuple(_rates(listed, above) for above in sorted(starts)),
        request=0.0 if requests is None else requests * MILLION / 1e3,
        source="catalogue",
        entry=entry,
    )


def _rates(listed: ModelPrice, above: int) -> Rates:
    plain = _rate(listed.input_mtok, above)
    assert plain is not None
    read = _rate(listed.cache_read_mtok, above)
    write = _rate(listed.cache_write_mtok, above)
    return Rates(
        above=above,
        input=plain,
        output=_rate(listed.output_mtok, above),
        cache_read=plain if read is None else read,
        cache_write=plain if write is None else write,
        reasoning=_rate(listed.output_reasoning_mtok, above),
    )


def _rate(value: Decimal | TieredPrices | None, above: int) -> float | None:
    """Return the price per token that holds just over ``above`` input tokens."""
    if value is None:
        return None
    if isinstance(value, TieredPrices):
        price = value.base
        for tier in value.tiers:
            if tier.start <= above:
                price = tier.price
        return float(price) / MILLION
    return float(value) / MILLION
