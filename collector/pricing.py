"""What a foreign call costs by our own prices."""

from functools import lru_cache
from typing import Protocol

from telemetry.errors import ConfigError
from telemetry.prices import Price, PriceBook
from telemetry.records import Tokens


class Pricing(Protocol):
    """Prices calls by provider and model as spans name them."""

    def cost(self, provider: str | None, model: str | None, tokens: Tokens) -> float | None:
        """Return US dollars, or None when the price or the usage is not known."""
        ...


class BookPricing:
    """The price book, asked once per model."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._price = lru_cache(maxsize=4_096)(self._look_up)

    def cost(self, provider: str | None, model: str | None, tokens: Tokens) -> float | None:
        if model is None:
            return None
        price = self._price(provider or "", model)
        return None if price is None else price.cost(tokens)

    def _look_up(self, provider: str, model: str) -> Price | None:
        """Try the name as given, then without the provider that some senders put before it."""
        family = provider.partition(".")[0]
        names = [f"{family or 'unknown'}/{model}"]
        if "/" in model:
            names.append(model)
        for name in names:
            try:
                return self._book.price(name, system=provider)
            except ConfigError:
                continue
        return None
