"""`tierwise init`: two files that load as they stand, from what the machine has."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from router.cli import init
from router.cli.app import run
from router.cli.catalogue import PROVIDERS
from router.cli.firstfiles import Hosted, Local, config_text, policy_text
from router.config import Config
from router.lint import lint
from router.policyfile import PolicyFile
from router.reload import build
from telemetry.configfile import parse
from tests.httpd import Quiet, listening

TIERWISE = Path(sys.executable).with_name("tierwise")
TODAY = date(2026, 11, 20)
KEYS = [known.variables[0] for known in PROVIDERS] + ["GOOGLE_API_KEY"]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, and no model server but the test's own."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(init, "LOCAL", (("ollama", "http://127.0.0.1:1/v1"),))


@pytest.mark.parametrize("known", PROVIDERS, ids=lambda known: known.name)
@pytest.mark.parametrize("with_local", [False, True])
def test_the_files_for_each_provider_are_served_as_they_stand(known, with_local) -> None:  # type: ignore[no-untyped-def]
    hosted = [Hosted(known=known, key_env=known.variables[0])]
    local = Local(name="ollama", base_url="http://127.0.0.1:11434/v1", model="qwen3:8b")
    texts = [write(hosted, local if with_local else None) for write in (config_text, policy_text)]
    loaded = build(
        texts[0].encode(),
        texts[1].encode(),
        environment={known.variables[0]: "made-up"},
        today=TODAY,
    )
    assert loaded.policy.ladder == ("small", "mid", "frontier")


def test_all_providers_together_leave_the_linter_nothing_to_say(tmp_path: Path) -> None:
    hosted = [Hosted(known=known, key_env=known.variables[0]) for known in PROVIDERS]
    (tmp_path / "tierwise.toml").write_text(config_text(hosted, None))
    (tmp_path / "policy.toml").write_text(policy_text(hosted, None))
    findings = lint(
        tmp_path / "tierwise.toml",
        tmp_path / "policy.toml",
        environment=dict.fromkeys(KEYS, "made-up"),
        today=TODAY,
    )
    assert findings == []


def test_keys_are_found_by_name_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1")
    monkeypatch.setenv("GOOGLE_API_KEY", "canary-2")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "  ")
    assert run(["init", "--yes", "--json", "--dir", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["providers"] == ["openai", "gemini"]
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert 'key_env = "OPENAI_API_KEY"' in written
    assert 'key_env = "GOOGLE_API_KEY"' in written
    assert "canary" not in written + captured.out + captured.err


def test_without_keys_the_files_still_load_and_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "No provider key was found (looked for ANTHROPIC_API_KEY, OPENAI_API_KEY" in said
    assert "tierwise demo" in said
    config, policy = ((tmp_path / name).read_bytes() for name in ("tierwise.toml", "policy.toml"))
    assert build(config, policy, environment={}, today=TODAY).policy.ladder == ("small",)


def test_files_are_never_replaced_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("mine")
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 2
    assert f"{policy}: already there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["policy.toml"]
    assert run(["init", "--yes", "--force", "--dir", str(tmp_path)]) == 0
    assert (tmp_path / "policy.toml.bak").read_text() == "mine"
    parse(policy.read_bytes(), PolicyFile, name="policy.toml")


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["init", "--yes", "--dir", str(tmp_path / "file" / "below")]) == 2
    assert "--dir names a folder that you may write" in capsys.readouterr().err


def test_a_person_is_asked_about_each_thing_found(tmp_path: Path) -> None:
    keyboard, terminal = os.openpty()
    process = subprocess.Popen(
        [TIERWISE, "init", "--dir", tmp_path],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OPENAI_API_KEY": "made-up", "ANTHROPIC_API_KEY": "made-up"},
        text=True,
    )
    os.close(terminal)
    os.write(keyboard, b"n\n\n")
    said, _ = process.communicate(timeout=30)
    os.close(keyboard)
    assert process.returncode == 0, said
    assert "Use anthropic (ANTHROPIC_API_KEY is set)? [Y/n]" in said
    config = parse((tmp_path / "tierwise.toml").read_bytes(), Config, name="tierwise.toml")
    assert list(config.providers) == ["openai"]


class Models(Quiet):
    """A model server that lists what its class says."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


@pytest.fixture
def local_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with listening(Models) as port:
        url = f"http://127.0.0.1:{port}/v1"
        monkeypatch.setattr(init, "LOCAL", (("ollama", url),))
        yield url


def test_a_server_of_ones_own_is_found_with_its_model(
    local_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "body", b'{"data": [{"id": "llama3.3:70b"}, {"id": "other"}]}')
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 0
    config = parse((tmp_path / "tierwise.toml").read_bytes(), Config, name="tierwise.toml")
    policy = parse((tmp_path / "policy.toml").read_bytes(), PolicyFile, name="policy.toml")
    assert config.providers["ollama"].base_url == local_server
    assert config.prices["ollama/llama3.3:70b"].input == 0
    assert policy.tiers["small"].models == ("anthropic/claude-haiku-4-5", "ollama/llama3.3:70b")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data": []}',
        b'{"data": [{"id": 7}]}',
        b'{"data": [{"id": "a\\"\\nb = 1"}]}',
        b'{"data": [{"id": "' + b"x" * 300 + b'"}]}',
    ],
)
def test_a_stranger_on_the_port_is_no_model_server(
    body: bytes, local_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "body", body)
    assert run(["init", "--yes", "--dir", str(tmp_path)]) == 0
    assert "qwen3:8b" in (tmp_path / "policy.toml").read_text()
