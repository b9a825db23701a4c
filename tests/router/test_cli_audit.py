"""`tierwise audit` as a stranger runs it: what it prints, what it writes, what it refuses."""

import io
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from router.cli.app import run
from tests.collector.test_dumps import call, lines, said

# Claude Opus 4.8 costs 5 and 25 dollars a million, Haiku 4.5 one and 5; the catalogue's prices.
ANTHROPIC: dict[str, Any] = {
    "start_ns": 1_790_000_000_000_000_000,
    "gen_ai__provider__name": "anthropic",
    "gen_ai__request__model": "claude-opus-4-8",
}
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


def extractor(number: int) -> dict[str, Any]:
    """A mechanical call: 1,000 in and 20 out on the frontier, for $0.0055."""
    return call(
        number, gen_ai__agent__name="Invoice Extractor", gen_ai__usage__output_tokens=20,
        **ANTHROPIC, **said(f"Order {number}: EUR {number}.50", f"{number}.50"),
    )  # fmt: skip


def planner(number: int) -> dict[str, Any]:
    return call(
        number, gen_ai__agent__name="planner", gen_ai__usage__output_tokens=900, **ANTHROPIC
    )


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.setenv(name, "tw-canary-0123456789")
    rows: Iterable[Any] = (
        *(extractor(n) for n in range(1, 31)),
        *(planner(n) for n in range(40_000, 40_010)),
    )
    return lines(tmp_path / "dump.jsonl", rows)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_json_holds_every_figure(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(dump), "--json"]) == 0
    found = answer(capsys)
    assert found["calls"] == 40
    # 30 x (1,000 x 5 + 20 x 25) + 10 x (1,000 x 5 + 900 x 25) dollars a million.
    assert found["spend_usd"] == pytest.approx(0.165 + 0.275)
    steps = {step["step"]: step for step in found["steps"]}
    assert steps["Invoice Extractor"]["share"] == pytest.approx(0.165 / 0.44)
    assert steps["planner"]["mechanical"] == 0.0
    (frontier,) = found["mechanical_on_frontier"]
    assert (frontier["calls"], frontier["spend_usd"]) == (30, pytest.approx(0.165))
    (needless,) = found["needs_no_model"]
    assert (needless["found"]["way"], needless["whole"]) == ("substring", True)
    (move,) = found["estimate"]["moves"]
    assert (move["step"], move["proposed"]) == ("Invoice Extractor", "small")
    # On Haiku the same tokens cost a fifth.
    assert found["estimate"]["saving_upper_usd"] == pytest.approx(0.165 * 4 / 5)
    assert found["estimate"]["saving_lower_usd"] == 0.0
    assert found["worth"]["word"] == "not worth it"
    assert found["files"] == []


def test_people_get_tables_and_the_arithmetic(
    dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(dump)]) == 0
    out = capsys.readouterr().out
    for text in (
        "40 model calls in 40 tasks over 11.1 hours: $0.44",
        "Not worth it: the spend is too small",
        "a month is less than the $100.00 wanted",
        "80.0 %",
        "write a function",
        "the answer stands in the prompt, word for word",
    ):
        assert text in out
    assert "Order 7" not in out  # no text of a prompt


def test_out_writes_reports_and_a_policy_that_lint_accepts(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["audit", str(dump), "--out", str(out)]) == 0
    names = {"report.md", "report.html", "report.json", "policy.toml", "tierwise.toml"}
    assert {path.name for path in out.iterdir()} == names
    capsys.readouterr()
    flags = ["--config", str(out / "tierwise.toml"), "--policy", str(out / "policy.toml")]
    assert run(["policy", "lint", *flags, "--json"]) == 0
    assert answer(capsys)["findings"] == []
    policy = (out / "policy.toml").read_text()
    assert '[roles.invoice-extractor]\ndescription = "30 calls, $0.165' in policy
    assert 'tier = "small"  # today frontier' in policy
    assert '[roles.planner]\ndescription = "10 calls, $0.275' in policy
    assert json.loads((out / "report.json").read_text())["calls"] == 40
    assert (
        "| Invoice Extractor | frontier | claude-opus-4-8 | 30 |" in (out / "report.md").read_text()
    )
    for path in out.iterdir():
        assert "tw-canary" not in path.read_text()


def test_models_of_nobody_we_know_get_a_report_and_a_word_on_the_missing_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = ANTHROPIC | {"gen_ai__provider__name": "acme", "gen_ai__request__model": "acme-9"}
    dump = lines(tmp_path / "dump.jsonl", (call(n, **own) for n in range(1, 5)))
    assert run(["audit", str(dump), "--out", "out"]) == 0
    assert "no first policy: no model in use" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.md", "report.html", "report.json"}


def test_files_that_are_there_are_kept_unless_force(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_text("schema = 1\nladder = ['a']\n[tiers.a]\nmodels=['b/c']\n")
    assert run(["audit", str(dump), "--out", str(tmp_path)]) == 2
    assert "--force replaces them" in capsys.readouterr().err
    assert run(["audit", str(dump), "--out", str(tmp_path), "--force"]) == 0
    assert "frontier" in (tmp_path / "policy.toml").read_text()


def test_hostile_names_stay_text_in_every_report_and_leave_the_policy_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.setenv(name, "x")
    evil = '<script>alert(1)</script>|[x](http://e)"\n[roles.default]\n\x1b[2Jé😀'
    rows = [
        call(n, **{**ANTHROPIC, "gen_ai__agent__name": evil, "gen_ai__usage__output_tokens": 5,
                   "gen_ai__request__model": "claude-opus-4-8" if n % 2 else 'claude-"]\nx=1'})
        for n in range(1, 9)
    ]  # fmt: skip
    out = tmp_path / "out"
    assert run(["audit", str(lines(tmp_path / "evil.jsonl", rows)), "--out", str(out)]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"https?://(?!e\))", page)
    assert "<script" not in (out / "report.md").read_text()
    flags = ["--config", str(out / "tierwise.toml"), "--policy", str(out / "policy.toml")]
    assert run(["policy", "lint", *flags]) == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe nothing", b"[1, 2]"])
def test_nothing_to_audit_is_said_and_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    content: bytes,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(content)
    assert run(["audit", "x", "--out", "out"]) == 1
    captured = capsys.readouterr()
    assert "No model call was found." in captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out" / "policy.toml").exists()


def test_a_misspelt_path_and_a_silent_console_say_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["audit", "dmup.jsonl"]) == 2
    assert "dmup.jsonl: there is no such file or folder" in capsys.readouterr().err
    assert run(["audit", "http://127.0.0.1:1"]) == 1
    assert "tierwise doctor" in capsys.readouterr().err


def test_prices_of_one_s_own_count_and_stand_in_the_new_file(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tierwise.toml").write_text(
        'schema = 1\n[providers.anthropic]\nbase_url = "http://127.0.0.1:1/v1"\n'
        'dialects = ["chat"]\n'
        '[prices."anthropic/claude-opus-4-8"]\ninput = 50\noutput = 250\n'
    )
    assert run(["audit", str(dump), "--out", "out", "--json"]) == 0
    assert answer(capsys)["spend_usd"] == pytest.approx(4.4)
    assert (
        '[prices."anthropic/claude-opus-4-8"]\ninput = 50.0'
        in (tmp_path / "out" / "tierwise.toml").read_text()
    )
    flags = ["--config", "out/tierwise.toml", "--policy", "out/policy.toml"]
    assert run(["policy", "lint", *flags]) == 0


def test_progress_is_shown_on_a_terminal_only(
    dump: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(dump)]) == 0
    assert capsys.readouterr().err == ""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert run(["audit", str(dump)]) == 0
    assert "records" in screen.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
