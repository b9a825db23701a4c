"""`tierwise policy`: lint, show and explain over real files."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from router.cli.app import run

CONFIG = """\
schema = 1
[collector]
console = "127.0.0.1:1"
[providers.local]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat"]
[providers.far]
base_url = "http://127.0.0.1:2/v1"
dialects = ["chat", "messages"]
[prices."local/small"]
input = 0
output = 0
[prices."far/large"]
input = 2.5
output = 10
[[keys]]
name = "bot"
key_env = "BOT_KEY"
role = "planner"
"""
POLICY = """\
schema = 1
ladder = ["small", "large"]
[tiers.small]
models = ["local/small"]
[tiers.large]
models = ["far/large"]
[roles.default]
tier = "small"
[roles.planner]
tier = "large"
quality_floor = 0.9
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "tierwise.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.setenv("BOT_KEY", "tw-canary-0123456789abcdef")
    return ["--config", f"{tmp_path}/tierwise.toml", "--policy", f"{tmp_path}/policy.toml"]


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """The one line of JSON on stdout."""
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_lint_ends_well_with_warnings_alone(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "lint", "--json", *files]) == 0
    found = answer(capsys)
    assert found["errors"] == 0
    assert found["warnings"] == len(found["findings"])
    assert {finding["level"] for finding in found["findings"]} == {"warning"}


def test_lint_ends_with_1_when_something_is_wrong(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY.replace('tier = "large"', 'tier = "larg"'))
    assert run(["policy", "lint", *files]) == 1
    said = capsys.readouterr().out
    assert "error: policy.toml: roles.planner" in said
    assert "  next: " in said
    assert "errors: 1, " in said


def test_show_fills_in_every_default(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "show", "--json", *files]) == 0
    shown = answer(capsys)
    assert [(one["tier"], one["model"], one["usd_per_1k_output"]) for one in shown["tiers"]] == [
        ("small", "local/small", 0.0),
        ("large", "far/large", 0.01),
    ]
    assert {tuple(one["graders"]) for one in shown["roles"]} == {()}
    planner = next(one for one in shown["roles"] if one["role"] == "planner")
    assert (planner["tier"], planner["quality_floor"], planner["learn"]) == ("large", 0.9, "off")


def test_show_is_a_table_for_people(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "show", *files]) == 0
    said = capsys.readouterr().out
    assert "far/large" in said
    assert "planner" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("flags", "role", "source", "tier"),
    [
        ([], "default", "default", "small"),
        (["--role", "planner"], "planner", "header", "large"),
        (["-H", "X-Tierwise-Role: planner"], "planner", "header", "large"),
        (["--model", "tierwise/planner"], "planner", "alias", "large"),
        (["--key", "bot"], "planner", "key", "large"),
        (["--dialect", "messages"], "default", "default", "large"),
    ],
)
def test_explain_follows_a_request(
    flags: list[str],
    role: str,
    source: str,
    tier: str,
    files: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["policy", "explain", "--json", *flags, *files]) == 0
    found = answer(capsys)
    assert (found["asker"]["role"], found["asker"]["source"]) == (role, source)
    assert found["choice"]["arm"].partition("/")[0] == tier


def test_explain_shows_the_budgets_that_apply(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = """
[[budgets]]
scope = "key"
usd = 5
[[budgets]]
scope = "task"
usd = 0.5
on_exhausted = "cheapest"
"""
    (tmp_path / "policy.toml").write_text(POLICY + budgets)
    assert run(["policy", "explain", "--key", "bot", *files]) == 0
    said = capsys.readouterr().out
    assert "budgets   key bot: $5, then refuse" in said
    assert "task: $0.5, then cheapest" in said
    assert run(["policy", "explain", "--json", "--key", "bot", *files]) == 0
    assert [note["scope"] for note in answer(capsys)["budgets"]] == ["key", "task"]


def test_explain_reads_a_body_from_stdin(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"model": "tierwise/auto", "metadata": {"role": "planner"}, "messages": []}
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(body).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["policy", "explain", "--json", "--body", "-", *files]) == 0
    assert answer(capsys)["asker"]["source"] == "metadata"


def test_explain_ends_with_1_when_the_caller_would_be_refused(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "explain", "--dialect", "responses", *files]) == 1
    assert "refused   policy_denied (no_arm_for_dialect)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--header", "planner"], "--header: 'planner' is not name:value"),
        (["--body", "/nowhere.json"], "--body: /nowhere.json: No such file or directory"),
        (["--key", "eve"], "no client key called 'eve'"),
    ],
)
def test_explain_names_the_flag_that_is_wrong(
    flags: list[str], said: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "explain", *flags, *files]) == 2
    assert said in capsys.readouterr().err


BROKEN = [b"{", b"[]", b"\xff", b"[" * 100_000]
NAMED = ["--model", "tierwise/auto"]


@pytest.mark.parametrize(
    ("content", "model"),
    [*((one, []) for one in (*BROKEN, b'{"model": 1}')), *((one, NAMED) for one in BROKEN)],
)
def test_explain_refuses_a_body_that_is_no_request(
    content: bytes,
    model: list[str],
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(content)
    assert run(["policy", "explain", "--body", str(body), *model, *files]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: --body: ")
    assert "canary" not in captured.out + captured.err
