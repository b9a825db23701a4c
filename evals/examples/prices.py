"""List prices of November 2026 that the examples are counted in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars for a million tokens, without any discount for a prompt cache."""

    like: str  # the model whose list price it is
    input: float
    output: float

    def usd(self, tokens_in: float, tokens_out: float) -> float:
        """Return what so many tokens cost.

        >>> OPUS.usd(1_000, 500)
        0.0175
        """
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


def price_tables(provider: str, prices: Mapping[str, Price]) -> list[str]:
    """Return the lines of tierwise.toml for one model a tier, named ``provider``-``tier``."""
    lines = []
    for tier, price in prices.items():
        lines += [f'[prices."{provider}/{provider}-{tier}"]  # like {price.like}']
        lines += [f"input = {price.input}", f"output = {price.output}"]
    return lines


OPUS: Final = Price(like="claude-opus-4-8", input=5.0, output=25.0)
SONNET: Final = Price(like="claude-sonnet-4-6", input=3.0, output=15.0)
HAIKU: Final = Price(like="claude-haiku-4-5", input=1.0, output=5.0)
FLASH: Final = Price(like="gemini-2.5-flash", input=0.30, output=2.50)
FLASH_LITE: Final = Price(like="gemini-2.5-flash-lite", input=0.10, output=0.40)
NANO: Final = Price(like="gpt-5-nano", input=0.05, output=0.40)
