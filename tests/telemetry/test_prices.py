"""Costs against sums done by hand."""

from datetime import UTC, datetime

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from telemetry.config import PriceConfig
from telemetry.errors import ConfigError
from telemetry.prices import Price, PriceBook, Rates
from telemetry.records import Tokens

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DECLARED = {
    "a/full": PriceConfig(input=2, output=10, cache_read=0.2, cache_write=2.5, request=0.01),
    "a/plain": PriceConfig(input=2, output=10),
    "a/free": PriceConfig(input=0, output=0),
}


def price(model: str, *, system: str = "", base_url: str = "") -> Price:
    return PriceBook(DECLARED, at=NOW).price(model, system=system, base_url=base_url)


def test_each_kind_of_token_is_priced_apart_and_cached_ones_are_part_of_the_input() -> None:
    tokens = Tokens(input=1_000_000, output=100_000, cache_read=600_000, cache_write=100_000)
    # 300,000 plain at 2 + 600,000 read at 0.2 + 100,000 written at 2.5 + 100,000 out at 10 + call
    expected = 0.6 + 0.12 + 0.25 + 1.0 + 0.01
    assert price("a/full").cost(tokens) == pytest.approx(expected, abs=1e-12)


def test_cached_tokens_cost_the_input_price_when_no_other_is_given() -> None:
    tokens = Tokens(input=1_000, output=0, cache_read=600, cache_write=100)
    assert price("a/plain").cost(tokens) == pytest.approx(0.002, abs=1e-12)


def test_cached_tokens_that_nobody_reported_are_plain_input() -> None:
    assert price("a/full").cost(Tokens(input=1_000, output=0)) == pytest.approx(0.012, abs=1e-12)


def test_more_cached_tokens_than_input_make_no_negative_cost() -> None:
    cost = price("a/plain").cost(Tokens(input=100, output=0, cache_read=300))
    assert cost == pytest.approx(0.0006, abs=1e-12)


@pytest.mark.parametrize(
    "tokens", [Tokens(), Tokens(input=5), Tokens(output=5), Tokens(cache_read=5, output=5)]
)
def test_unknown_usage_is_an_unknown_cost_never_zero(tokens: Tokens) -> None:
    assert price("a/full").cost(tokens) is None
    assert price("openai/gpt-5").cost(tokens) is None


def test_a_free_model_costs_nothing_once_its_input_is_known() -> None:
    assert price("a/free").cost(Tokens(input=5, output=5)) == 0.0
    assert price("a/free").cost(Tokens()) is None


def test_embeddings_have_no_output_and_still_a_cost() -> None:
    found = price("openai/text-embedding-3-small")
    assert found.cost(Tokens(input=1_000_000)) == pytest.approx(0.02)
    assert found.cost(Tokens(input=1_000_000, output=0)) == pytest.approx(0.02)
    assert found.cost(Tokens(input=1_000_000, output=7)) is None  # nobody knows what that costs
    assert found.per_thousand()[0] == pytest.approx(0.00002)
    assert found.per_thousand()[1] is None


def test_prices_of_the_file_come_before_the_catalogue() -> None:
    book = PriceBook({"openai/gpt-5": PriceConfig(input=7, output=7)}, at=NOW)
    assert book.price("openai/gpt-5").source == "config"
    assert price("openai/gpt-5").source == "catalogue"
    assert price("openai/gpt-5").entry == "openai/gpt-5"


def test_the_catalogue_is_asked_by_system_then_by_name_then_by_address() -> None:
    known = price("openai/gpt-5")
    assert price("mine/gpt-5", system="openai").rates == known.rates
    assert price("mine/gpt-5", base_url="https://api.openai.com/v1").rates == known.rates


def test_a_model_without_a_price_names_itself_and_the_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        price("local/qwen-of-mine")
    assert "'local/qwen-of-mine'" in str(caught.value)
    assert '[prices."local/qwen-of-mine"]' in str(caught.value)


def test_a_longer_input_moves_the_whole_call_to_the_longer_rate() -> None:
    short = Rates(above=-1, input=1e-6, output=5e-6, cache_read=1e-7, cache_write=1e-6)
    long = Rates(above=200_000, input=2e-6, output=8e-6, cache_read=2e-7, cache_write=2e-6)
    tiered = Price(rates=(short, long), source="catalogue", entry="x/y")
    assert tiered.cost(Tokens(input=200_000, output=1_000)) == pytest.approx(0.2 + 0.005)
    assert tiered.cost(Tokens(input=200_001, output=1_000)) == pytest.approx(0.400002 + 0.008)


def test_reasoning_is_part_of_the_output_and_may_have_its_own_rate() -> None:
    rates = Rates(above=-1, input=0.0, output=1e-6, cache_read=0.0, cache_write=0.0, reasoning=3e-6)
    thinking = Price(rates=(rates,), source="catalogue", entry="x/y")
    cost = thinking.cost(Tokens(input=0, output=1_000, reasoning=400))
    assert cost == pytest.approx(600e-6 + 1200e-6)
    assert thinking.cost(Tokens(input=0, output=1_000)) == pytest.approx(1e-3)


CATALOGUED = [
    "anthropic",
    "openai",
    "google",
    "mistral",
    "deepseek",
    "x-ai",
    "cohere",
    "perplexity",
]


@pytest.mark.parametrize("provider_id", CATALOGUED)
def test_costs_agree_with_the_catalogues_own_arithmetic(provider_id: str) -> None:
    provider = next(p for p in get_snapshot().providers if p.id == provider_id)
    compared = 0
    for model in provider.models:
        try:
            ours = price(f"{provider_id}/{model.id}")
        except ConfigError:
            continue
        if ours.rates[0].output is None:
            continue
        for count in (1_000, 150_000, 300_000, 1_500_000):
            tokens = Tokens(
                input=count, output=500, cache_read=count // 2, cache_write=0, reasoning=0
            )
            usage = Usage(input_tokens=count, output_tokens=500, cache_read_tokens=count // 2)
            theirs = calc_price(
                usage, model.id, provider_id=provider_id, genai_request_timestamp=NOW
            )
            assert ours.cost(tokens) == pytest.approx(float(theirs.total_price), rel=1e-9), model.id
            compared += 1
    assert compared > 10


def test_the_catalogue_is_read_from_disk_and_not_renewed_behind_our_back() -> None:
    price("openai/gpt-5")
    assert not get_snapshot().from_auto_update
