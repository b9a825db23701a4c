"""`tierwise launch`: an agent starts only where a gateway of ours answers by name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.cli.app import run
from tests.httpd import Quiet, listening

TIERWISE = Path(sys.executable).with_name("tierwise")
CONFIG = """\
schema = 1
[providers.local]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat"]
"""
KEYS = """\
[[keys]]
name = "ann"
key_env = "ANN_KEY"
[[keys]]
name = "bob"
key_env = "BOB_KEY"
"""


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers any GET with ``body``; yields its host:port."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def gateway() -> Iterator[str]:
    with answering(b'{"service": "tierwise", "status": "ok"}') as address:
        yield address


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tierwise.toml"
    path.write_text(CONFIG)
    return path


def launch(config: Path, address: str, *arguments: str) -> int:
    return run(["launch", "--config", str(config), "--gateway", address, *arguments])


@pytest.mark.parametrize(
    "body", [b'{"status": "ok"}', b'{"service": "other"}', b"OK", b"", b"[" * 50_000, b"null"]
)
def test_a_stranger_on_the_port_is_refused(
    body: bytes, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(body) as address:
        assert launch(config, address, "claude") == 2
    errors = capsys.readouterr().err
    assert f"no tierwise gateway answers at http://{address}" in errors
    assert "start one with `tierwise serve`" in errors


def test_a_role_that_the_gateway_does_not_list_is_refused_with_the_nearest_one(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("tierwise/auto", "tierwise/planner", "claude-tierwise-planner", "local/small")
    body = {"service": "tierwise", "data": [{"id": name} for name in names]}
    with answering(json.dumps(body).encode()) as address:
        assert launch(config, address, "claude", "--role", "plannr", "--json") == 2
        errors = capsys.readouterr().err
        assert "the gateway knows no role 'plannr'" in errors
        assert "next: its roles: auto, planner; did you mean 'planner'?" in errors
        assert launch(config, address, "claude", "--role", "planner", "--json") == 0
        assert launch(config, address, "claude", "--json") == 0


def test_an_empty_port_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(config, "127.0.0.1:1", "claude") == 2
    assert "no tierwise gateway answers" in capsys.readouterr().err


def test_an_unknown_agent_is_refused_with_the_known_ones(
    config: Path, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(config, gateway, "clod") == 2
    assert "known: claude, codex, qwen, aider" in capsys.readouterr().err


def test_claude_gets_the_gateway_and_loses_the_providers_key(
    config: Path, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CLAUDE_CODE_AUTO_COMPACT_WINDOW", raising=False)
    assert launch(config, gateway, "claude", "--role", "planner", "--json", "--", "-p", "hi") == 0
    alias = "claude-tierwise-planner"
    assert json.loads(capsys.readouterr().out) == {
        "command": ["claude", "-p", "hi"],
        "set": {
            "ANTHROPIC_BASE_URL": f"http://{gateway}",
            "ANTHROPIC_AUTH_TOKEN": "tierwise",
            "ANTHROPIC_MODEL": alias,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": alias,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": alias,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": alias,
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "200000",
        },
        "unset": ["ANTHROPIC_API_KEY"],
    }


def test_a_window_that_is_set_stays(
    config: Path, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_AUTO_COMPACT_WINDOW", "64000")
    assert launch(config, gateway, "claude", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert "CLAUDE_CODE_AUTO_COMPACT_WINDOW" not in {*made["set"], *made["unset"]}


def test_codex_gets_a_provider_of_its_own(
    config: Path, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(config, gateway, "codex", "--json") == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert f'model_providers.tierwise.base_url="http://{gateway}/v1"' in command
    assert 'model="tierwise/auto"' in command


def test_the_agent_takes_over_with_its_arguments_and_exit_code(
    config: Path, gateway: str, tmp_path: Path
) -> None:
    agent = tmp_path / "bin" / "claude"
    agent.parent.mkdir()
    agent.write_text('#!/bin/sh\necho "$ANTHROPIC_BASE_URL ${ANTHROPIC_API_KEY-none} $*"; exit 7\n')
    agent.chmod(0o755)
    done = subprocess.run(
        [TIERWISE, "launch", "claude", "--config", config, "--gateway", gateway, "--", "-p", "a b"],
        env=os.environ | {"PATH": f"{agent.parent}:/bin", "ANTHROPIC_API_KEY": "provider-key"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, f"http://{gateway} none -p a b\n", "")


def test_an_agent_that_is_not_installed_is_told(
    config: Path, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert launch(config, gateway, "aider") == 2
    assert "'aider' is not on the PATH" in capsys.readouterr().err


def test_env_prints_what_a_shell_can_read(
    config: Path, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(config, gateway, "env") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"export OPENAI_BASE_URL=http://{gateway}/v1",
        "export OPENAI_API_KEY=tierwise",
        f"export ANTHROPIC_BASE_URL=http://{gateway}",
        "export ANTHROPIC_API_KEY=tierwise",
    ]


def test_a_client_key_is_read_from_its_variable(
    config: Path, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIG + KEYS)
    monkeypatch.setenv("BOB_KEY", "tw-bob")
    assert launch(config, gateway, "env", "--key", "bob", "--json") == 0
    assert json.loads(capsys.readouterr().out)["set"]["OPENAI_API_KEY"] == "tw-bob"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "choose one with --key: ann, bob"),
        (["--key", "eve"], "no client key called 'eve'"),
        (["--key", "ann"], "environment variable ANN_KEY is not set"),
    ],
)
def test_a_key_that_cannot_be_told_is_refused(
    flags: list[str],
    said: str,
    config: Path,
    gateway: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config.write_text(CONFIG + KEYS)
    monkeypatch.delenv("ANN_KEY", raising=False)
    assert launch(config, gateway, "claude", *flags) == 2
    assert said in capsys.readouterr().err
