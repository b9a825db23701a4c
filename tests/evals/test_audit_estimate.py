"""The audit's money, computed by hand: rungs, moves, bounds, and whether any of it is worth it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from evals.audit.estimate import Targets, answers_needed, evidence_of, propose, tier_of
from evals.audit.facts import Facts, Group, Reading, Step
from evals.audit.kinds import Kind, kind_of
from evals.audit.ladder import Family, Ladder, group_cost
from evals.audit.report import Report, Terms, report
from evals.audit.worth import Word
from telemetry.config import PriceConfig
from telemetry.prices import Price as ModelPrice
from telemetry.prices import PriceBook, Rates
from telemetry.records import Tokens

DAY_NS = 86_400_000_000_000
START_NS = 1_780_000_000_000_000_000
BOOK = PriceBook(
    {
        "acme/nano": PriceConfig(input=1.0, output=4.0, cache_read=0.5),
        "acme/middle": PriceConfig(input=3.0, output=12.0, cache_read=1.0),
        "acme/giant": PriceConfig(input=10.0, output=40.0, cache_read=1.0),
        "acme/old-giant": PriceConfig(input=20.0, output=80.0),
    },
    at=datetime(2026, 6, 1, tzinfo=UTC),
)
ACME = Family(
    name="acme",
    system="acme.ai",
    models={"small": "nano", "mid": "middle", "frontier": "giant"},
)
LADDER = Ladder([ACME], BOOK)


def group(role: str | None = "worker", **changed: Any) -> Group:
    """A hundred calls of 1,000 in and 10 out on the giant: 100 x (0.01 + 0.0004) = $1.04."""
    kind = changed.pop("kind", Kind.SHORT)
    known: dict[str, Any] = {
        "step": Step(role=role, kind=None if role else kind),
        "kind": kind,
        "provider": "acme.ai",
        "model": "giant",
        "named": "giant",
        "tier": None,
        "calls": 100,
        "errors": 0,
        "tokens": Tokens(input=100_000, output=1_000),
        "metered": True,
        "cost_usd": 1.04,
        "costed": 100,
    }
    return Group(**{**known, **changed})


def graded(answers: int, *, passed: int, **changed: Any) -> Group:
    """Calls of the worker on the smallest model, with pass or fail for each."""
    return group(
        model="nano", named="nano", calls=answers, costed=answers, cost_usd=0.001 * answers,
        graded=answers, quality_sum=float(passed), quality_squares=float(passed), **changed,
    )  # fmt: skip


def made(groups: Sequence[Group], *, days: float = 1.0, **terms: float) -> Report:
    facts = Facts(
        groups=tuple(groups), steps={}, reading=Reading(), tasks=1, first_ns=START_NS,
        last_ns=START_NS + int(days * DAY_NS), weighted_calls=sum(g.calls for g in groups),
    )  # fmt: skip
    return report(facts, ladder=LADDER, terms=Terms(**terms))


@pytest.mark.parametrize(
    ("model", "tier"),
    [("nano", "small"), ("middle", "mid"), ("giant", "frontier"), ("old-giant", "frontier")],
)
def test_a_model_stands_on_the_highest_rung_that_costs_no_more(model: str, tier: str) -> None:
    assert LADDER.tier("acme.ai", model) == tier
    assert LADDER.tier("acme", f"acme/{model}") == tier


def test_a_model_or_provider_that_nobody_prices_stands_on_no_rung() -> None:
    assert LADDER.tier("acme.ai", "hal-9000") is None
    assert LADDER.tier("nobody", "giant") is None
    assert tier_of(group(model="hal-9000", named=None), LADDER) is None


def test_a_tier_that_our_gateway_reported_stands() -> None:
    assert tier_of(group(tier="mid"), LADDER) == "mid"


def test_a_family_is_known_by_the_model_s_name_when_another_house_serves_it() -> None:
    claude = Family(name="anthropic", system="anthropic", models=ACME.models)
    ladder = Ladder([claude], BOOK)
    assert ladder.family("aws.bedrock", "eu.anthropic.claude-sonnet-4-6") == claude
    assert ladder.family(None, "openrouter/anthropic/claude-opus-4-8") == claude
    assert ladder.family(None, "a-model-like-no-other") is None


def test_a_mechanical_step_moves_to_the_lowest_tier_with_its_bounds() -> None:
    groups = [group(tokens=Tokens(input=100_000, output=1_000, cache_read=40_000))]
    move = propose(
        groups[0].step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9
    )
    assert (move.today, move.proposed, move.calls) == ("frontier", "small", 100)
    # 60,000 x 1 + 40,000 x 0.5 + 1,000 x 4 dollars a million; without the cache 100,000 x 1.
    assert move.upper_usd == pytest.approx(0.084)
    assert move.retry_usd == pytest.approx(0.104)
    assert move.saving_upper_usd == pytest.approx(1.04 - 0.084)
    assert move.saving_lower_usd == 0.0
    assert move.break_even == pytest.approx(1 - 0.104 / 1.04)


def test_a_step_with_mixed_work_stays() -> None:
    groups = [group(), group(kind=Kind.WRITING)]
    move = propose(
        groups[0].step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9
    )
    assert move.mechanical == 0.5
    assert not move.moves


def test_what_runs_above_a_step_s_usual_tier_stays_without_a_reason_to_move() -> None:
    few = group(kind=Kind.WRITING, calls=1, costed=1, cost_usd=0.01)
    groups = [few, group(
        model="nano", named="nano", kind=Kind.WRITING, calls=900, costed=900, cost_usd=0.9
    )]  # fmt: skip
    move = propose(few.step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9)
    assert (move.today, move.proposed, move.moves) == ("small", "small", False)


def test_proven_quality_moves_a_step_and_gives_the_lower_bound() -> None:
    """2,000 answers on the small tier, 1,960 passed: 0.98 less the Bernstein half width.

    v = 2000/1999 x 0.98 x 0.02 = 0.0196098, ln(2/0.05) = 3.688879:
    sqrt(2 x 0.0196098 x 3.688879 / 2000) + 7 x 3.688879 / (3 x 1999) = 0.0085053 + 0.0043058.
    """
    groups = [group(kind=Kind.WRITING), graded(2_000, passed=1_960, kind=Kind.WRITING)]
    move = propose(
        groups[0].step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9
    )
    assert move.evidence is not None
    assert move.evidence.low == pytest.approx(0.98 - 0.0085053 - 0.0043058, abs=1e-6)
    assert (move.today, move.proposed, move.calls) == (
        "frontier",
        "small",
        100,
    )  # the rest is there


def test_the_lower_bound_pays_for_every_failure_again() -> None:
    groups = [group(kind=Kind.WRITING, calls=1_000, costed=1_000, cost_usd=10.4,
                    tokens=Tokens(input=1_000_000, output=10_000)),
              graded(2_000, passed=1_960, kind=Kind.WRITING)]  # fmt: skip
    move = propose(
        groups[0].step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9
    )
    assert (move.today, move.proposed, move.calls) == ("frontier", "small", 1_000)
    low = 0.98 - 0.0085053 - 0.0043058
    assert move.saving_lower_usd == pytest.approx(10.4 - 1.04 - (1 - low) * 10.4, abs=1e-4)


def test_too_few_grades_or_too_low_quality_prove_nothing() -> None:
    for few in (graded(20, passed=20), graded(2_000, passed=1_800)):
        groups = [group(kind=Kind.WRITING), few]
        move = propose(
            groups[0].step, groups, ladder=LADDER, targets=Targets(groups, LADDER), floor=0.9
        )
        assert move.evidence is None
    assert evidence_of([graded(1, passed=1)]) is None


def test_answers_needed_is_the_smallest_number_that_proves_the_floor() -> None:
    """At 414 and mean 0.95: sqrt(2 x 0.0475 x 3.688879 / 414) + 7 x 3.688879 / (3 x 413)."""
    assert answers_needed(0.9) == 414
    width = (2 * 0.0475 * 3.688879454 / 414) ** 0.5 + 7 * 3.688879454 / (3 * 413)
    assert width <= 0.05 < (2 * 0.0475 * 3.688879454 / 413) ** 0.5 + 7 * 3.688879454 / (3 * 412)


def test_long_contexts_are_priced_by_the_rates_of_long_contexts() -> None:
    cheap = Rates(above=-1, input=1e-6, output=1e-6, cache_read=1e-6, cache_write=1e-6)
    dear = Rates(above=200_000, input=2e-6, output=2e-6, cache_read=2e-6, cache_write=2e-6)
    price = ModelPrice(rates=(cheap, dear), source="config", entry="x")
    tokens = Tokens(input=600_000, output=0)
    assert group_cost(price, tokens, calls=2, warm=True) == pytest.approx(1.2)
    assert group_cost(price, tokens, calls=3, warm=True) == pytest.approx(0.6)
    assert group_cost(price, Tokens(input=5), calls=1, warm=True) is None


def test_unknown_prices_stand_on_neither_side_and_coverage_says_so() -> None:
    found = made(
        [
            group(),
            group("seer", provider="x", model="hal", named="hal", cost_usd=0.0, costed=0, calls=300,
                  tokens=Tokens(input=300_000, output=3_000)),
        ]
    )  # fmt: skip
    estimate = found.estimate
    assert estimate.today_usd == pytest.approx(1.04)
    assert estimate.saving_upper_usd == pytest.approx(1.04 - 0.104)
    assert estimate.priced_calls == pytest.approx(100 / 400)
    assert estimate.priced_tokens == pytest.approx(101_000 / 404_000)
    assert estimate.risk_usd == pytest.approx(0.104)
    assert estimate.proven_share == 0.0
    assert found.unpriced == {"hal": 300}


def test_embeddings_and_free_calls_never_move() -> None:
    found = made(
        [group(), group(kind=Kind.EMBEDDING), group(cost_usd=0.0, calls=7, costed=7)],
    )
    assert [move.calls for move in found.estimate.moves] == [100]


@pytest.mark.parametrize(
    ("groups", "days", "word", "because"),
    [
        # $1.04 a day; all on nano costs a tenth: 30 x 0.936 = $28.08 a month < $100.
        ([group()], 1.0, Word.NO, "$28.08 a month is less than the $100.00 wanted"),
        # The same in two hours: 12 x 28.08 = $336.96 a month.
        ([group()], 1 / 12, Word.PILOT, "up to $336.96 a month"),
        ([group()], 1 / 48, Word.UNKNOWN, "less than an hour"),
        ([group(costed=0, cost_usd=0.0)], 1.0, Word.UNKNOWN, "no call has a known price"),
        ([group(provider="x")], 1.0, Word.UNKNOWN, "no model is of a provider"),
        # Ten calls in 30 days at $50 each: large spend, but 414 answers take 1,242 days.
        ([group(calls=10, costed=10, cost_usd=500.0)], 30.0, Word.NO, "takes 1,242 days"),
        ([group(kind=Kind.WRITING, cost_usd=500.0)], 1.0, Word.PILOT, "run a sample"),
        (
            [group(kind=Kind.WRITING, calls=10_000, costed=10_000, cost_usd=104.0),
             graded(2_000, passed=1_960, kind=Kind.WRITING)],
            1.0, Word.YES, "by what the telemetry itself proves",
        ),
    ],
)  # fmt: skip
def test_the_audit_says_whether_routing_is_worth_it(
    groups: Sequence[Group], days: float, word: Word, because: str
) -> None:
    worth = made(groups, days=days).worth
    assert (worth.word, because in worth.because) == (word, True), worth.because


def test_the_arithmetic_can_be_redone_line_by_line() -> None:
    worth = made([group()]).worth
    assert worth.arithmetic[0] == (
        "ceiling (the lowest tier does everything): $0.936 in 1 days x 30 / 1 = $28.08 a month"
    )
    assert worth.arithmetic[-1] == (
        "proof of worker: 414 graded answers / 100.0 calls a day = 4.1 days"
    )


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"operation": "embeddings", "output_tokens": None}, Kind.EMBEDDING),
        ({"finish_reason": "tool_use", "output_tokens": 900}, Kind.TOOL),
        ({"output_tokens": None}, Kind.UNKNOWN),
        ({"output_tokens": 100, "reasoning_tokens": 50}, Kind.REASONING),
        ({"output_tokens": 32}, Kind.SHORT),
        ({"output_tokens": 33}, Kind.WRITING),
        ({"output_tokens": 33, "structured": True}, Kind.FORM),
        ({"output_tokens": 513, "structured": True}, Kind.WRITING),
    ],
)
def test_a_kind_is_read_from_the_shape_of_a_call(facts: dict[str, Any], kind: Kind) -> None:
    known: dict[str, Any] = {
        "operation": "chat", "reasoning_tokens": None, "finish_reason": "stop", "structured": False,
    }  # fmt: skip
    found = {**known, **facts}
    assert kind_of(found.pop("operation"), **found) is kind
