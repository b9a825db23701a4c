"""Suites: what is refused before a call, how a run is bounded, what a report says."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from evals.suite import Case, Suite, load_suite
from evals.suite_report import markdown, report, sentence
from evals.suite_run import Outcome, Reply, Run, run_suite
from evals.suite_stats import bootstrap, cases_needed, mcnemar, paired_difference, wilson
from telemetry.errors import ConfigError
from telemetry.records import Result

HEAD = 'schema = 1\nname = "s"\ntiers = ["small", "frontier"]\n'
CASE = '[[cases]]\nid = "a"\ninput = "x"\nexpect = "yes"\n'


def suite(tmp_path: Path, text: str, cases: str | None = None) -> Suite:
    (tmp_path / "s.toml").write_text(text)
    if cases is not None:
        (tmp_path / "cases.ndjson").write_text(cases)
    return load_suite(tmp_path / "s.toml")


def many(count: int) -> str:
    return "\n".join(
        json.dumps({"id": f"c{n}", "input": f"case {n}", "expect": "yes"}) for n in range(count)
    )


@pytest.mark.parametrize(
    ("text", "cases", "said"),
    [
        (HEAD, None, "the suite has no cases"),
        (HEAD + 'cases_file = "cases.ndjson"\n', "\n\n", "the suite has no cases"),
        (HEAD + 'cases_file = "none.ndjson"\n', None, "No such file"),
        (HEAD + 'cases_file = "cases.ndjson"\n', '{"id": "a"', "cases.ndjson:1: not JSON"),
        (HEAD + 'cases_file = "cases.ndjson"\n', "\n[1]", "cases.ndjson:2: no JSON object"),
        (HEAD + 'cases_file = "cases.ndjson"\n', '{"id": "a", "inptu": 1}', "inptu"),
        (HEAD + 'checks = ["one_off"]\n' + CASE, None, "no check is called 'one_off'"),
        (HEAD + '[[cases]]\nid = "a"\ninput = "x"\n', None, "nothing judges its answer"),
        (HEAD + '[[cases]]\nid = "a"\nexpect = "x"\n', None, "one of input and request"),
        (HEAD + CASE + CASE, None, "the id 'a' stands at"),
        (HEAD + 'dialect = "embeddings"\n' + CASE, None, "no answer that could be judged"),
        (HEAD + "margn = 0.1\n" + CASE, None, "margin"),
        ("schema = ", None, "not TOML"),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_before_a_call(
    tmp_path: Path, text: str, cases: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        suite(tmp_path, text, cases)


@pytest.mark.parametrize(
    ("dialect", "wanted"),
    [
        ("chat", {"messages": [{"role": "system", "content": "be short"},
                               {"role": "user", "content": "<t>x</t>"}]}),
        ("responses", {"instructions": "be short", "input": "<t>x</t>"}),
        ("messages", {"system": "be short", "max_tokens": 1024,
                      "messages": [{"role": "user", "content": "<t>x</t>"}]}),
    ],
)  # fmt: skip
def test_a_case_is_asked_in_the_suites_dialect(
    tmp_path: Path, dialect: str, wanted: dict[str, Any]
) -> None:
    head = HEAD + f'dialect = "{dialect}"\nsystem = "be short"\ntemplate = "<t>{{input}}</t>"\n'
    (case,) = suite(tmp_path, head + CASE).cases
    assert json.loads(case.asking("m")) == {"model": "m", **wanted}


def test_a_recorded_request_is_asked_whole_but_for_its_model_and_stream(tmp_path: Path) -> None:
    request = {"model": "old", "stream": True, "messages": [], "temperature": 0}
    line = json.dumps({"id": "a", "request": request, "expect": "yes"})
    (case,) = suite(tmp_path, HEAD + 'cases_file = "cases.ndjson"\n', line).cases
    assert json.loads(case.asking("m")) == {"model": "m", "messages": [], "temperature": 0}


def answered(text: str, *, cost: float | None = 0.01) -> Reply:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": text}}]}
    return Reply(content=json.dumps(body).encode(), seconds=0.5, cost_usd=cost, decision="d")


async def small_fails_every_fourth(case: Case, tier: str) -> Reply:
    wrong = tier == "small" and case.id.endswith(("0", "4", "8"))
    return answered("no" if wrong else " YES\n", cost=0.001 if tier == "small" else 0.01)


async def test_a_run_compares_the_tiers_pair_by_pair(tmp_path: Path) -> None:
    loaded = suite(tmp_path, HEAD + 'cases_file = "cases.ndjson"\n', many(50))
    run = await run_suite(
        loaded, small_fails_every_fourth, tiers=("small", "frontier"), usd_max=1.0
    )
    assert [outcome.case for outcome in run.outcomes[:3]] == ["c0", "c0", "c1"]
    found = report(run, suite="s", tiers=("small", "frontier"), margin=0.05)
    small, frontier = found.tiers
    assert (small.passed.hits, small.passed.n) == (35, 50)  # 5 end in 0, 5 in 4, 5 in 8
    assert frontier.passed.hits == 50
    assert small.cost_usd == pytest.approx(0.05)
    assert small.cost_per_passed_usd == pytest.approx(0.05 / 35)
    (pair,) = found.pairs
    assert (pair.n, pair.only_tier, pair.only_against) == (50, 0, 15)
    assert pair.p_value == pytest.approx(2 / 2**15)
    assert pair.cost_ratio == pytest.approx(0.1)
    assert pair.verdict.startswith("worse: by ")
    assert "| small | 50 | 35/50 = 70.0 %" in markdown(found)


async def test_too_few_cases_are_said_aloud(tmp_path: Path) -> None:
    loaded = suite(tmp_path, HEAD + 'cases_file = "cases.ndjson"\n', many(3))

    async def right(case: Case, tier: str) -> Reply:
        return answered("yes")

    run = await run_suite(loaded, right, tiers=("small", "frontier"), usd_max=1.0)
    (pair,) = report(run, suite="s", tiers=("small", "frontier"), margin=0.05).pairs
    assert pair.difference is not None
    assert pair.difference.low < -0.05
    assert "cannot tell yet: 3 cases, about" in sentence(pair)


async def test_a_run_stops_before_it_would_spend_more_than_it_may(tmp_path: Path) -> None:
    loaded = suite(tmp_path, HEAD + "running_max = 8\n" + 'cases_file = "cases.ndjson"\n', many(40))

    async def dear(case: Case, tier: str) -> Reply:
        await asyncio.sleep(0)
        return answered("yes", cost=0.1)

    run = await run_suite(loaded, dear, tiers=("small", "frontier"), usd_max=1.05)
    assert run.spent_usd == pytest.approx(1.0)
    assert len(run.outcomes) == 10
    assert run.planned == 80
    assert run.stopped is not None
    assert "1.05" in run.stopped


async def test_an_unknown_cost_ends_a_limited_run_at_its_first_case(tmp_path: Path) -> None:
    loaded = suite(tmp_path, HEAD + 'cases_file = "cases.ndjson"\n', many(5))
    asked = []

    async def free(case: Case, tier: str) -> Reply:
        asked.append(case.id)
        return answered("yes", cost=None)

    with pytest.raises(ConfigError, match="what tier 'small' costs is not known"):
        await run_suite(loaded, free, tiers=("small",), usd_max=1.0)
    assert asked == ["c0"]
    run = await run_suite(loaded, free, tiers=("small",), usd_max=None)
    (tier,) = report(run, suite="s", tiers=("small",), margin=0.05).tiers
    assert tier.cost_usd is None
    assert tier.passed.hits == 5


async def test_errors_and_abstentions_are_no_verdicts(tmp_path: Path) -> None:
    text = HEAD + 'checks = ["tool_call_valid"]\n[[cases]]\nid = "a"\ninput = "x"\n'
    text += '[[cases]]\nid = "b"\ninput = "x"\n'
    loaded = suite(tmp_path, text)

    async def half(case: Case, tier: str) -> Reply:
        if case.id == "a":
            return answered("text, not a tool")
        return Reply(error="status 503", seconds=0.1, cost_usd=0.0)

    run = await run_suite(loaded, half, tiers=("small", "frontier"), usd_max=1.0)
    found = report(run, suite="s", tiers=("small", "frontier"), margin=0.05)
    assert [(one.passed.n, one.abstained, one.errors) for one in found.tiers] == [(0, 1, 1)] * 2
    assert found.pairs[0].verdict.startswith("nothing was judged")
    assert "none judged" in markdown(found)


def outcome(case: str, tier: str, score: float) -> Outcome:
    return Outcome(
        case=case, tier=tier, result=Result.PASS if score >= 0.5 else Result.FAIL, score=score,
        verdicts=(), crashed=(), error=None, seconds=1.0, cost_usd=0.0, decision=None, text="",
    )  # fmt: skip


def test_scores_between_0_and_1_get_an_interval_of_their_own() -> None:
    outcomes = [
        outcome(f"c{n}", tier, 0.6 + 0.01 * (n % 10) + (0.2 if tier == "frontier" else 0.0))
        for n in range(40)
        for tier in ("small", "frontier")
    ]
    run = Run(outcomes=tuple(outcomes), planned=80, spent_usd=0.0, stopped=None)
    (pair,) = report(run, suite="s", tiers=("small", "frontier"), margin=0.05).pairs
    assert pair.score_difference is not None
    assert pair.score_difference.mean == pytest.approx(-0.2)
    assert pair.score_difference.low == pytest.approx(-0.2)  # every pair differs by as much
    assert pair.cost_ratio is None  # nothing of nothing


def test_intervals_of_shares_reach_their_ends() -> None:
    assert wilson(0, 10).low == 0.0
    assert wilson(10, 10).high == 1.0
    assert wilson(0, 0).share is None
    assert wilson(0, 10).high == pytest.approx(0.27753, abs=1e-5)


def test_a_difference_without_discordant_cases_is_still_uncertain() -> None:
    found = paired_difference(0, 0, 10)
    assert found is not None
    # Both shares 1/12: sqrt((1/12 + 1/12) / 12) = 0.11785
    assert found.low == pytest.approx(-1.959964 * 0.117851, abs=1e-6)
    assert found.mean == 0.0


def test_mcnemar_is_the_binomial_tail() -> None:
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(3, 3) == 1.0


def test_no_number_of_cases_shows_what_is_not_so() -> None:
    worse = paired_difference(0, 10, 100)
    assert worse is not None
    assert cases_needed(worse, discordant=10, margin=0.05) is None


def test_a_bootstrap_needs_two_pairs() -> None:
    assert bootstrap([0.1], rng=random.Random(1)) is None


def test_an_absent_suite_is_not_told_to_run_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        load_suite(tmp_path / "absent.toml")
    assert "docs/evals.md" in caught.value.hint
