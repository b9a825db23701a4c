"""Which rung a model stands on, by its price, and what the same tokens cost on another rung."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from telemetry.errors import ConfigError
from telemetry.prices import Price, PriceBook
from telemetry.records import Tokens

TIERS: Final = ("small", "mid", "frontier")
CODE: Final = "code"
# How model names give their maker away where another house serves them.
MARKS: Final = (
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("o3", "openai"),
    ("o4-", "openai"),
    ("gemini", "gemini"),
    ("mistral", "mistral"),
    ("ministral", "mistral"),
    ("deepseek", "deepseek"),
)
_INPUT_SHARE: Final = 0.75  # of a blended price: agents read three times what they write


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One provider's models, a rung each, cheapest first; ``system`` is its name on spans."""

    name: str
    system: str
    models: Mapping[str, str]  # by tier


class Ladder:
    """Families with prices: places models on rungs and prices groups of calls."""

    def __init__(self, families: Sequence[Family], book: PriceBook) -> None:
        self.families = {family.name: family for family in families}
        self._systems = {family.system: family.name for family in families}
        self._book = book
        self._prices: dict[tuple[str, str], Price | None] = {}

    def family(self, provider: str | None, model: str | None) -> Family | None:
        """Return whose model it is: by the provider's name, else by the model's."""
        for name in (provider, (provider or "").partition(".")[0]):
            if name in self._systems or name in self.families:
                assert name is not None
                return self.families[self._systems.get(name, name)]
        text = (model or "").lower().rpartition("/")[2]
        for mark, name in MARKS:
            if name in self.families and (text.startswith(mark) or f".{mark}" in text):
                return self.families[name]
        return None

    def price(self, family: Family, model: str) -> Price | None:
        """Return the price of a family's model, with or without the family before its name."""
        bare = model.removeprefix(f"{family.name}/").rpartition("/")[2]
        key = (family.name, bare)
        if key not in self._prices:
            try:
                self._prices[key] = self._book.price(f"{family.name}/{bare}", system=family.system)
            except ConfigError:
                self._prices[key] = None
        return self._prices[key]

    def tier(self, provider: str | None, model: str | None) -> str | None:
        """Return the highest rung whose own model costs no more; None without both prices."""
        family = self.family(provider, model)
        price = None if family is None or model is None else self.price(family, model)
        if family is None or price is None:
            return None
        found, reached = TIERS[0], -1.0
        for tier in TIERS:
            rung = self.price(family, family.models[tier])
            level = None if rung is None else blended(rung)
            if level is not None and reached < level <= blended(price) * (1 + 1e-9):
                found, reached = tier, level
        return found


def rank(tier: str | None) -> int:
    """Return a tier's place from the cheapest; -1 for code and for what is unknown.

    >>> rank("code"), rank("small"), rank("frontier")
    (-1, 0, 2)
    """
    return TIERS.index(tier) if tier in TIERS else -1


def blended(price: Price) -> float:
    """Return US dollars for 1,000 tokens of which three quarters are input."""
    given, written = price.per_thousand()
    return _INPUT_SHARE * given + (1 - _INPUT_SHARE) * (written or 0.0)


def group_cost(price: Price, tokens: Tokens, *, calls: int, warm: bool) -> float | None:
    """Return what a group's tokens cost; ``warm`` keeps cache hits, else all input is plain.

    ``tokens`` are sums over calls that price alike, so the rates are those of the mean call.
    """
    if tokens.input is None or tokens.output is None or not calls:
        return None
    mean = tokens.input / calls
    rates = price.rates[0]
    for longer in price.rates[1:]:
        if mean > longer.above:
            rates = longer
    plain = Price(rates=(rates,), request=0.0, source=price.source, entry=price.entry)
    counted = tokens if warm else Tokens(
        input=tokens.input, output=tokens.output, reasoning=tokens.reasoning
    )  # fmt: skip
    cost = plain.cost(counted)
    return None if cost is None else cost + calls * price.request
