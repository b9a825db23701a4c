"""The command line as a whole: wrong commands, wrong files, JSON, and no traceback ever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli.app import run
from router.cli.reference import PATH, markdown

TIERWISE = Path(sys.executable).with_name("tierwise")
COMMANDS_WITH_FILES = [
    ("serve",),
    ("gateway",),
    ("collector",),
    ("policy", "show"),
    ("policy", "explain"),
]


def test_the_installed_command_tells_its_version() -> None:
    done = subprocess.run(
        [TIERWISE, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "tierwise 0.1.0\n", "")


def test_no_command_shows_the_help_and_counts_as_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Commands:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serv"], "No such command 'serv'. Did you mean 'serve'?"),
        (["policy", "lnt"], "No such command 'lnt'. Did you mean 'lint'?"),
        (["serve", "--gatway", "x"], "No such option: --gatway. Did you mean --gateway?"),
        (["serve", "--gateway"], "Option '--gateway' requires an argument."),
        (["doctor", "--timeout", "soon"], "Invalid value for '--timeout'"),
        (["policy", "explain", "--dialect", "morse"], "'--dialect': 'morse' is not one of"),
        (["launch"], "Missing argument 'agent'"),
        (["zzzz"], "No such command 'zzzz'."),
    ],
)
def test_a_wrong_command_line_is_told_in_one_message(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert "--help` says what it takes" in captured.err


@pytest.mark.parametrize("command", COMMANDS_WITH_FILES)
def test_a_missing_file_names_itself_and_init(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*command, "--json"]) == 2
    captured = capsys.readouterr()
    fault = json.loads(captured.out)["error"]
    assert "tierwise.toml: No such file or directory" in fault["message"]
    assert fault["hint"] == "`tierwise init` writes a first one"
    assert "Traceback" not in captured.err


def test_a_file_in_the_place_of_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_text("not a folder")
    assert run(["export", "calls", "out"]) == 2
    assert "error: out: File exists\n  next: name a folder" in capsys.readouterr().err
    assert run(["init", "--yes", "--dir", "out/below"]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.err.startswith("error: out")


@pytest.mark.parametrize("command", COMMANDS_WITH_FILES)
def test_a_misspelt_key_ends_every_command_with_2(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "machine.toml"
    config.write_text(
        "schema = 1\n[gatway]\n[providers.x]\nbase_url='http://h/v1'\ndialects=['chat']"
    )
    assert run([*command, "--config", str(config)]) == 2
    errors = capsys.readouterr().err
    assert "machine.toml: gatway: unknown key; did you mean 'gateway'?" in errors


def test_the_files_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 0
    monkeypatch.setenv("TIERWISE_CONFIG", str(tmp_path / "tierwise.toml"))
    monkeypatch.setenv("TIERWISE_POLICY", str(tmp_path / "policy.toml"))
    assert run(["policy", "explain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["asker"]["role"] == "default"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gateway", "8080"], "--gateway: '8080' is not host:port"),
        (["--gateway", "127.0.0.1:99999"], "--gateway: '127.0.0.1:99999' is not host:port"),
        (["--gateway", "::1:8080"], "an IPv6 host stands in brackets"),
        (["--console", "nowhere.invalid:1"], "'nowhere.invalid' is not an address of this machine"),
        (["--gateway", "0.0.0.0:0"], "no client key is configured"),
    ],
)
def test_a_wrong_address_is_told_by_its_flag(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 0
    files = ["--config", f"{tmp_path}/tierwise.toml", "--policy", f"{tmp_path}/policy.toml"]
    free = ["--gateway", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"]
    assert run(["serve", *files, *free, *flags]) == 2
    assert said in capsys.readouterr().err


def test_output_is_plain_where_no_terminal_is(tmp_path: Path) -> None:
    environment = os.environ | {"COLUMNS": "40"}
    done = subprocess.run(
        [TIERWISE, "init", "--dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert f"wrote {tmp_path}/tierwise.toml and {tmp_path}/policy.toml\n" in done.stdout


def test_json_after_the_double_dash_is_the_agents_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["launch", "nobody", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_every_command_takes_json() -> None:
    sections = markdown().split("\n## `tierwise ")[1:]
    assert len(sections) >= 11
    assert [section.split("`")[0] for section in sections if "`--json`" not in section] == []


def test_the_reference_is_what_the_commands_say() -> None:
    assert PATH.read_text() == markdown(), "stale: run python -m router.cli.reference"
