"""What a call costs: declared prices first, then the catalogue shipped with genai-prices.

The catalogue is read from disk and never fetched; a newer one comes with a newer package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from telemetry.config import PriceConfig
from telemetry.errors import ConfigError
from telemetry.records import Tokens

MILLION = 1_000_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """US dollars per token, for calls with more than ``above`` input tokens."""

    above: int
    input: float
    output: float | None  # None: the model writes no output, as embedding models do
    cache_read: float
    cache_write: float
    reasoning: float | None = None  # None: reasoning costs what other output costs


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What one model costs; later ``rates`` are for longer inputs and then price the whole call."""

    rates: tuple[Rates, ...]  # ascending in ``above``; the first starts below 0
    request: float = 0.0  # US dollars per request
    source: Literal["config", "catalogue"]
    entry: str  # the key in tierwise.toml, or the catalogue's provider and model

    def cost(self, tokens: Tokens) -> float | None:
        """Return the call's cost in US dollars, or None when its usage is not known.

        Cached tokens that the provider did not report are priced as plain input, reasoning ones
        as plain output. Output may be absent where it costs nothing, as with embeddings.
        """
        count = tokens.input
        if count is None:
            return None
        rates = self.rates[0]
        for longer in self.rates[1:]:
            if count > longer.above:
                rates = longer
        output = _output(tokens, rates)
        if output is None:
            return None
        read = tokens.cache_read or 0
        write = tokens.cache_write or 0
        plain = count - read - write
        return (
            self.request
            + (plain if plain > 0 else 0) * rates.input
            + read * rates.cache_read
            + write * rates.cache_write
            + output
        )

    def per_thousand(self) -> tuple[float, float | None]:
        """Return US dollars for 1,000 uncached input and 1,000 output tokens of a short call."""
        first = self.rates[0]
        return first.input * 1e3, None if first.output is None else first.output * 1e3


def _output(tokens: Tokens, rates: Rates) -> float | None:
    count = tokens.output
    if count is None:
        return None if rates.output else 0.0
    if rates.output is None:
        return 0.0 if count == 0 else None
    thought = tokens.reasoning or 0
    if rates.reasoning is None or not thought:
        return count * rates.output
    return max(count - thought, 0) * rates.output + thought * rates.reasoning


class PriceBook:
    """The prices of a configuration, in front of those of the catalogue."""

    def __init__(self, declared: Mapping[str, PriceConfig], *, at: datetime) -> None:
        """``at`` picks among prices of the catalogue that change with the date."""
        self._declared = declared
        self._at = at

    def price(self, model: str, *, system: str = "", base_url: str = "") -> Price:
        """Return the price of ``model``, named as provider/name.

        The catalogue is asked for ``system`` (the provider as OpenTelemetry names it), then for
        the provider's own name, then for whoever serves ``base_url``.

        Raises:
            ConfigError: when nobody knows a price; it names the model and what to write.
        """
        declared = self._declared.get(model)
        if declared is not None:
            return _declared_price(declared, model)
        # Imported here, because it is large and most commands ask for no price.
        from telemetry.pricelist import listed_price  # noqa: PLC0415

        provider, _, name = model.partition("/")
        for provider_id, url in ((system, None), (provider, None), (None, base_url)):
            if provider_id or url:
                found = listed_price(name, provider_id=provider_id, url=url, at=self._at)
                if found is not None:
                    return found
        raise ConfigError(
            f"model {model!r} has no price: neither tierwise.toml nor the catalogue knows one",
            hint=f'add [prices."{model}"] with input and output in US dollars per million tokens '
            "to tierwise.toml (0 for a model of your own)",
        )


def _declared_price(config: PriceConfig, model: str) -> Price:
    read = config.input if config.cache_read is None else config.cache_read
    write = config.input if config.cache_write is None else config.cache_write
    rates = Rates(
        above=-1,
        input=config.input / MILLION,
        output=config.output / MILLION,
        cache_read=read / MILLION,
        cache_write=write / MILLION,
    )
    return Price(rates=(rates,), request=config.request, source="config", entry=model)
