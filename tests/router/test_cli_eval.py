"""`tierwise eval run` through a real gateway to stand-ins, and past it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.cli.app import run
from tests.evals.test_judge import Brain, always_passes, brain, gold_file, honest
from tests.harness import POLICY, House, config_for, house, running

SUITE = Path(__file__).parents[2] / "evals" / "suites" / "categoriser.toml"
EVAL = b"[roles.eval]\ncaller_pins = true\n"


@pytest.fixture(scope="module")
def pinnable() -> Iterator[House]:
    with house(POLICY + EVAL) as running:
        yield running


@pytest.fixture
def files(pinnable: House, tmp_path: Path) -> list[str]:
    return written(pinnable, tmp_path, POLICY + EVAL)


def written(running: House, tmp_path: Path, policy: bytes) -> list[str]:
    listen = f'[gateway]\nlisten = "127.0.0.1:{running.gateway.port}"\n'
    (tmp_path / "t.toml").write_bytes(config_for(running.standin.port, extra=listen))
    (tmp_path / "p.toml").write_bytes(policy)
    return ["--config", str(tmp_path / "t.toml"), "--policy", str(tmp_path / "p.toml")]


def small_suite(tmp_path: Path, more: str = "") -> str:
    lines = (SUITE.parent / "categoriser.ndjson").read_text().splitlines()[:6]
    (tmp_path / "few.ndjson").write_text("\n".join(lines))
    text = SUITE.read_text().replace("categoriser.ndjson", "few.ndjson")
    (tmp_path / "few.toml").write_text(text + more)
    return str(tmp_path / "few.toml")


def test_the_shipped_suite_says_whether_the_cheap_categoriser_matches(
    pinnable: House, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinnable.mark()
    out = tmp_path / "out"
    assert run(["eval", "run", str(SUITE), "--json", "--out", str(out), *files]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["made"], found["planned"], found["stopped"]) == (360, 360, None)
    small, mid, frontier = found["tiers"]
    assert small["passed"]["share"] < frontier["passed"]["share"]
    assert small["cost_usd"] < mid["cost_usd"] < frontier["cost_usd"]
    assert [pair["n"] for pair in found["pairs"]] == [120, 120]
    recorded = pinnable.recorded(360)
    assert {decision.context.role for decision, _ in recorded} == {"eval"}
    spent = sum(outcome.cost_usd or 0.0 for _, outcome in recorded)
    assert found["spent_usd"] == pytest.approx(spent, abs=1e-9)
    assert json.loads((out / "report.json").read_text()) == found
    assert "## small against frontier" in (out / "report.md").read_text()
    assert len((out / "answers.ndjson").read_text().splitlines()) == 360


def test_past_the_gateway_the_same_cases_get_the_same_answers(
    pinnable: House, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = small_suite(tmp_path)
    assert run(["eval", "run", suite, "--json", *files]) == 0
    through = json.loads(capsys.readouterr().out)
    pinnable.mark()
    assert run(["eval", "run", suite, "--json", "--direct", *files]) == 0
    direct = json.loads(capsys.readouterr().out)
    assert pinnable.recorded(0) == []
    assert [one["passed"] for one in direct["tiers"]] == [one["passed"] for one in through["tiers"]]
    assert direct["spent_usd"] == pytest.approx(through["spent_usd"], abs=1e-9)


def test_people_read_the_answer_in_words(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = small_suite(tmp_path)
    assert run(["eval", "run", suite, "--tier", "small", "--tier", "mid", *files]) == 0
    said = capsys.readouterr().out
    assert "small against mid: cannot tell" in said
    assert "12 of 12 calls were made" in said


def test_a_run_that_ran_out_of_dollars_says_so(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "run", small_suite(tmp_path), "--usd-max", "0.001", *files]) == 1
    assert "stopped early" in capsys.readouterr().out


def test_a_gateway_that_does_not_let_callers_pin_is_named_as_the_cause(
    shared_house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(shared_house, tmp_path, POLICY)
    suite = small_suite(tmp_path)
    assert run(["eval", "run", suite, "--tier", "frontier", *files]) == 2
    said = capsys.readouterr().err
    assert "asked for tier 'frontier'" in said
    assert "caller_pins = true in [roles.eval]" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tier", "smal"], "did you mean 'small'"),
        (["--tier", "small", "--tier", "small"], "named twice"),
        (["--direct", "--feedback"], "--feedback needs the gateway"),
        (["--key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--gateway", "127.0.0.1:1"], "is it running"),
    ],
)
def test_flags_that_cannot_work_are_refused(
    flags: list[str], said: str, files: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(["eval", "run", small_suite(tmp_path), *flags, *files]) == 2
    assert said in capsys.readouterr().err


RUBRIC = "The answer is the capital of the country that is asked for."


def judge_files(tmp_path: Path, listen: int, provider: int) -> list[str]:
    more = f'[gateway]\nlisten = "127.0.0.1:{listen}"\n'
    (tmp_path / "t.toml").write_bytes(config_for(provider, extra=more))
    (tmp_path / "rubric.txt").write_text(RUBRIC)
    flags = ["--rubric", str(tmp_path / "rubric.txt"), "--config", str(tmp_path / "t.toml")]
    return ["eval", "judge", str(gold_file(tmp_path)), *flags]


@pytest.mark.parametrize(
    ("think", "code", "said"),
    [
        (honest, 0, "usable: it tells good answers from bad ones"),
        (always_passes, 1, "always passes"),
    ],
)
async def test_a_judge_is_measured_through_the_gateway_under_its_own_role(
    think: Brain, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = POLICY + b'[roles.judge]\ntier = "mid"\noverhead = true\n'
    async with brain(think) as provider:
        port = int(provider.url.rpartition(":")[2].partition("/")[0])
        async with running(config_for(port), policy) as gateway:
            command = judge_files(tmp_path, gateway.port, port)
            assert await asyncio.to_thread(run, command) == code
            assert said in capsys.readouterr().out
            recorded = gateway.kept.wait(120)
    assert {decision.context.role for decision, _ in recorded} == {"judge"}
    assert {outcome.attempts[0].tier for _, outcome in recorded} == {"mid"}


def test_a_judge_that_never_speaks_is_an_error_with_its_remedy(
    pinnable: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = judge_files(tmp_path, pinnable.gateway.port, pinnable.standin.port)
    assert run([*command, "--json"]) == 2
    assert "gave no verdict at all" in capsys.readouterr().err
