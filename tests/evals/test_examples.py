"""The worked examples, played against a running gateway: the bill adds up, the claims are met."""

import contextlib
import dataclasses
import json
import subprocess
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from evals.examples import escalation_rates, support_ticket, telling
from evals.examples.account import Account, account
from evals.examples.example import Example
from evals.examples.playing import StepFailed, play
from evals.examples.prices import HAIKU, OPUS, SONNET
from evals.examples.prompts import amount, note
from evals.examples.suite import EXAMPLES
from evals.standin.running import StandinProcess
from evals.standin.tokenizer import count
from router.cli import evalexamples, exits
from router.cli.app import run
from router.cli.examplegateway import write
from router.policyfile import PolicyFile
from telemetry.clock import SystemClock
from tests.e2e.serving import TIERWISE
from tests.harness import running

DIFFER = {("split", "cost as a multiple of mid alone")}  # the claims that are not met, and say why


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    with StandinProcess.start(seed=7) as process:
        yield process


async def played(example: Example, standin: StandinProcess, folder: Path) -> Account:
    """Play an example against a gateway in this loop, of the files that the command writes."""
    config, policy = write(example, folder, base_url=standin.base_url)
    async with running(config.read_bytes(), policy.read_bytes(), directory=folder) as gateway:
        found = await play(example, gateway=gateway.base_url, standin=standin, clock=SystemClock())
    return account(example, found)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_examples_bill_adds_up_and_its_claim_is_met_or_the_difference_said(
    name: str, standin: StandinProcess, tmp_path: Path
) -> None:
    told = await played(EXAMPLES[name](), standin, tmp_path)
    # Four counts of one bill: the gateway's headers, the ledger, and both by hand.
    assert told.gateway_usd == pytest.approx(told.billed_usd, abs=1e-9)
    assert told.expected_usd == pytest.approx(told.billed_usd, abs=1e-9)
    assert told.expected_uniform_usd == pytest.approx(told.uniform_usd, abs=1e-9)
    assert told.adds_up
    assert told.model_calls == sum(line.calls for line in told.routed if line.tier != "code")
    assert told.right == told.steps  # checks let nothing wrong through, or nobody errs
    differ = {(name, figure.name) for figure in told.figures if figure.agrees is False}
    assert differ == {pair for pair in DIFFER if pair[0] == name}
    assert told.explained
    _by_hand(name, told)


def _by_hand(name: str, told: Account) -> None:
    """The claims' own figures, worked out without the code under test."""
    figures = {figure.name: figure.ours for figure in told.figures}
    if name == "thousand-documents":
        # 1,000 x $5 + 300 x $25 = $0.0125 and 1,000 x $5 + 20 x $25 = $0.0055: 0.11 of 0.1225.
        assert told.figures[0].ours == pytest.approx(0.1100 / 0.1225)
        assert 0.85 < told.saved < told.figures[0].ours
    elif name == "daily-tasks":
        # (0.1 x 17,500 + 0.35 x 1,550 + 0.55 x 250) / 17,500 = 2,430 / 17,500
        assert told.saved == pytest.approx(1 - 2_430 / 17_500)
    elif name == "support-ticket":
        assert figures["fourteen frontier calls"] == pytest.approx(0.84)
        assert figures["6 model calls and 4 code steps"] == pytest.approx(0.028747)
        assert sum(one.calls for one in told.routed if one.tier == "code") == 4 * 5
        assert told.saved == pytest.approx(1 - 0.028747 / 0.84)
    elif name == "coding-agent":
        retried = sum(one.calls for one in told.routed if "escalated" in one.name)
        # A task: 0.04 + 6 x 0.024 + 2 x 0.005 + 10 x 0.00275 of 0.04 + 0.24 + 0.05 + 0.1375.
        assert told.saved == pytest.approx(1 - (10 * 0.2215 + retried * 0.04) / 4.675)
    elif name == "split":
        calls = {line.tier: line.calls for line in told.routed}
        assert calls["small"] == told.steps > calls["mid"] > calls["frontier"] > 0
        spent = calls["small"] * 300 + calls["mid"] * 3_500 + calls["frontier"] * 17_500
        assert told.billed_usd == pytest.approx(spent / 1e6)
    else:
        savings: dict[str, list[float]] = {"small": [], "mid": []}
        for figure in told.figures:
            savings[figure.name.split()[2]].append(figure.ours)
        assert min(savings["small"]) > 0  # even when more than half is done twice
        assert savings["mid"][0] > 0.2
        assert savings["mid"][1] > 0.2
        assert savings["mid"][-1] < 0  # beyond 40 % a start at three fifths of the price loses


def test_a_start_at_three_fifths_of_the_price_breaks_even_at_two_fifths() -> None:
    assert escalation_rates.break_even(SONNET) == pytest.approx(0.4)
    assert escalation_rates.break_even(HAIKU) == pytest.approx(0.8)
    assert escalation_rates.break_even(OPUS) == pytest.approx(0.0)


def test_a_prompt_cache_halves_the_loop_before_anything_is_routed() -> None:
    # 2,450 + 13 x 700 tokens are fresh, 86,450 are read again at a tenth, 14,000 are written.
    fresh, again, written = 11_550, 86_450, 14_000
    usd = (fresh * 5 + again * 0.5 + written * 25) / 1e6
    assert support_ticket.with_cache() == pytest.approx(usd)
    assert usd == pytest.approx(0.450975)


def test_prompts_have_the_size_that_is_asked_for() -> None:
    prompt, answer = amount(12_345, tokens_in=400)
    assert (count(prompt) + 3, answer) == (400, "12345.00")
    prompt, answer = note(12_345, tokens_in=400, tokens_out=90)
    assert (count(prompt) + 3, count(answer)) == (400, 90)
    assert answer in prompt
    with pytest.raises(AssertionError, match="too few"):
        note(12_345, tokens_in=90, tokens_out=90)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_examples_policy_is_a_policy_whose_roles_and_tiers_are_the_examples(name: str) -> None:
    example = EXAMPLES[name]()
    policy = PolicyFile.model_validate(tomllib.loads(example.policy.read_text()))
    assert set(policy.roles) == {role.name for role in example.roles} | {"default"}
    for role in example.roles:
        assert policy.roles[role.name].tier == role.path[0]
    assert set(policy.tiers) == set(example.prices)


async def test_a_bill_that_does_not_add_up_is_said(standin: StandinProcess, tmp_path: Path) -> None:
    told = await played(support_ticket.example(), standin, tmp_path)
    off = dataclasses.replace(told, gateway_usd=told.gateway_usd + 1e-6)
    assert not off.adds_up
    assert "DOES NOT ADD UP" in "\n".join(telling.lines(off))
    page = telling.page([told])
    assert "| decider | frontier | 5 x (2,450 x $5 + 350 x $25) / 1M = $0.105000 |" in page
    assert "| intake | code | 5 x $0 = $0 |" in page


@contextlib.asynccontextmanager
async def relay(to: str, *, factor: float) -> AsyncIterator[str]:
    """Stand before a stand-in and multiply the output tokens that its answers claim."""

    async def lie(request: web.Request) -> web.Response:
        async with session.post(f"{to}/chat/completions", data=await request.read()) as answer:
            body = await answer.json()
        written = int(body["usage"]["completion_tokens"] * factor)
        body["usage"]["completion_tokens"] = written
        body["usage"]["total_tokens"] = body["usage"]["prompt_tokens"] + written
        return web.json_response(body)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", lie)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    async with aiohttp.ClientSession() as session:
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize(("factor", "adds_up"), [(1.0, True), (0.5, False), (2.0, False)])
async def test_a_stand_in_that_lies_about_usage_does_not_add_up(
    standin: StandinProcess, tmp_path: Path, factor: float, adds_up: bool
) -> None:
    example = support_ticket.example()
    async with relay(standin.base_url, factor=factor) as lying:
        config, policy = write(example, tmp_path, base_url=lying)
        async with running(config.read_bytes(), policy.read_bytes(), directory=tmp_path) as gateway:
            found = await play(
                example, gateway=gateway.base_url, standin=standin, clock=SystemClock()
            )
    told = account(example, found)
    # The lie is the gateway's bill; the ledger and the sum by hand know better.
    assert told.expected_usd == pytest.approx(told.billed_usd, abs=1e-9)
    assert (told.gateway_usd < told.billed_usd) is (factor < 1.0)
    assert told.adds_up is adds_up


@pytest.mark.timeout(120)  # it starts three processes, on however busy a machine
def test_the_command_runs_one_example_and_writes_its_report(tmp_path: Path) -> None:
    command = [
        str(TIERWISE),
        "eval",
        "examples",
        "support-ticket",
        "--json",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["examples"]
    assert found["adds_up"]
    assert found["measured"]["saved"] == pytest.approx(1 - 0.028747 / 0.84)
    assert json.loads((tmp_path / "report.json").read_text())["examples"] == [found]
    assert "fourteen frontier calls" in (tmp_path / "report.md").read_text()
    files: set[Any] = {path.name for path in (tmp_path / "support-ticket").iterdir()}
    assert {"policy.toml", "tierwise.toml", "support_functions.py"} <= files


def test_a_misspelt_name_gets_the_nearest_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "examples", "splits"]) == exits.USAGE
    said = capsys.readouterr().err
    assert "did you mean 'split'?" in said
    assert all(name in said for name in EXAMPLES)


async def test_a_step_that_is_refused_is_said_in_one_sentence(
    standin: StandinProcess, tmp_path: Path
) -> None:
    example = support_ticket.example()
    with pytest.raises(ExceptionGroup) as caught:
        await play(example, gateway="http://127.0.0.1:9/v1", standin=standin, clock=SystemClock())
    first = evalexamples.told(ExceptionGroup("outer", [caught.value]))
    assert isinstance(first, StepFailed)
    assert "http://127.0.0.1:9/v1 did not answer a step" in str(first)
