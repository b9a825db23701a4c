"""`tierwise doctor`: each thing that can be amiss, made amiss for real."""

import email.utils
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.cli.app import run
from router.cli.upstreams import clock_check
from tests.httpd import Quiet, listening

POLICY = """\
schema = 1
ladder = ["small"]
[tiers.small]
models = ["one/model"]
"""


class Provider(Quiet):
    """A provider whose status and clock a test sets; it keeps what it was asked."""

    status = 200
    skew_seconds = 0.0
    asked: list[tuple[str, str, str | None]] = []  # noqa: RUF012 - one list for all requests

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, self.headers["authorization"]))
        self.send_response_only(self.status)
        date = email.utils.formatdate(time.time() + self.skew_seconds, usegmt=True)
        self.send_header("date", date)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(Provider, "asked", [])
    with listening(Provider) as port:
        yield port


class House:
    """Two files in a folder, and the doctor's word on them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def write(self, port: int, *, more: str = "", policy: str = POLICY) -> None:
        listen = "\n".join(f'{key} = "127.0.0.1:{free()}"' for key in ("otlp_http", "otlp_grpc"))
        (self.folder / "tierwise.toml").write_text(
            f'schema = 1\n[gateway]\nlisten = "127.0.0.1:{free()}"\n'
            f'[collector]\n{listen}\nconsole = "127.0.0.1:{free()}"\n'
            f'[telemetry]\nspool_mb = 0\n[prices."one/model"]\ninput = 1\noutput = 1\n'
            f'[providers.one]\nbase_url = "http://127.0.0.1:{port}/v1"\ndialects = ["chat"]\n{more}'
        )
        (self.folder / "policy.toml").write_text(policy)

    def ask(self, *flags: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the checks by name."""
        files = [f"--config={self.folder}/tierwise.toml", f"--policy={self.folder}/policy.toml"]
        code = run(["doctor", "--json", *files, *flags])
        captured = self._capsys.readouterr()
        assert captured.out.count("\n") == 1
        return code, {check["name"]: check for check in json.loads(captured.out)["checks"]}


def free() -> int:
    """A port that nobody held a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


def failed(checks: dict[str, Any]) -> list[str]:
    for check in checks.values():
        assert (check["status"] == "ok") == (check["mend"] is None), "a failure without a mend"
    return [name for name, check in checks.items() if check["status"] == "fail"]


def test_all_is_well_and_nothing_is_spent(
    house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_KEY", "sk-canary")
    house.write(provider, more='key_env = "ONE_KEY"')
    code, checks = house.ask()
    assert (code, failed(checks)) == (0, [])
    assert Provider.asked == [("GET", "/v1/models", "Bearer sk-canary")]
    assert "canary" not in json.dumps(checks)
    assert "5 s are tolerated" in checks["clock"]["message"]


def test_an_unset_key_is_named(
    house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONE_KEY", raising=False)
    house.write(provider, more='key_env = "ONE_KEY"')
    code, checks = house.ask()
    assert code == 1
    assert "key ONE_KEY" in failed(checks)
    assert checks["key ONE_KEY"]["mend"] == "export ONE_KEY=... before starting"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_a_failure(
    status: int, house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_KEY", "sk-canary")
    monkeypatch.setattr(Provider, "status", status)
    house.write(provider, more='key_env = "ONE_KEY"')
    code, checks = house.ask()
    assert (code, failed(checks)) == (1, ["provider one"])
    assert checks["provider one"]["mend"] == "put a valid key in ONE_KEY"


def test_a_provider_without_a_list_of_models_is_there_all_the_same(
    house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "status", 404)
    house.write(provider)
    code, checks = house.ask()
    assert code == 0
    assert checks["provider one"]["message"].endswith("answers (no list of models: HTTP 404)")


def test_a_provider_in_trouble_is_a_warning(
    house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "status", 503)
    house.write(provider)
    code, checks = house.ask()
    assert (code, checks["provider one"]["status"]) == (0, "warning")


def test_a_provider_that_is_away_is_a_failure(house: House) -> None:
    house.write(free())
    code, checks = house.ask()
    assert (code, failed(checks)) == (1, ["provider one"])
    assert "correct base_url in [providers.one]" in checks["provider one"]["mend"]


def test_a_provider_that_is_silent_is_a_failure(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        house.write(silent.getsockname()[1])
        code, checks = house.ask("--timeout", "0.2")
    assert (code, failed(checks)) == (1, ["provider one"])
    assert "no answer in time" in checks["provider one"]["message"]


@pytest.mark.parametrize("skew_seconds", [-60.0, 60.0])
def test_a_wrong_clock_is_a_failure(
    skew_seconds: float, house: House, provider: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "skew_seconds", skew_seconds)
    house.write(provider)
    code, checks = house.ask()
    assert (code, failed(checks)) == (1, ["clock"])
    assert "set the clock" in checks["clock"]["mend"]


def test_a_port_held_by_a_stranger_is_a_failure(house: House, provider: int) -> None:
    house.write(provider)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        code, checks = house.ask("--gateway", f"127.0.0.1:{port}")
    assert (code, failed(checks)) == (1, ["gateway"])
    assert f"127.0.0.1:{port} is already in use" in checks["gateway"]["message"]


def test_files_that_do_not_load_leave_the_rest_unlooked_at(house: House, provider: int) -> None:
    house.write(provider, more="dialect = 1")
    code, checks = house.ask()
    assert code == 1
    assert "mend tierwise.toml first" in checks["skipped"]["mend"]
    assert Provider.asked == []


def test_a_wrong_policy_leaves_the_rest_looked_at(house: House, provider: int) -> None:
    house.write(provider, policy=POLICY.replace("small", "smal", 1))
    code, checks = house.ask()
    assert code == 1
    assert checks["provider one"]["status"] == "ok"


def test_a_state_folder_that_is_a_file_is_a_failure(house: House, provider: int) -> None:
    house.write(provider)
    (house.folder / ".tierwise").write_text("")
    code, checks = house.ask()
    assert code == 1
    assert set(failed(checks)) == {"state_dir", "store"}


def test_the_best_agreeing_provider_is_believed_about_the_time() -> None:
    assert clock_check([90.0, -1.5, None], 0.0).status == "ok"
    assert clock_check([90.0, -7.0], 0.0).status == "fail"
    assert clock_check([None], 0.0).status == "warning"


def test_a_clock_that_jumps_is_a_failure() -> None:
    check = clock_check([0.1], -3.0)
    assert (check.status, "jumped by -3.00 s" in check.message) == ("fail", True)
