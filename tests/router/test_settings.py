"""Both files with the flags above them."""

from pathlib import Path

import pytest

from router.settings import Overrides, load, load_config
from telemetry.errors import ConfigError

CONFIG = """\
schema = 1
[gateway]
workers = 3
[providers.one]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat"]
"""
POLICY = """\
schema = 1
ladder = ["small"]
[tiers.small]
models = ["one/small"]
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "tierwise.toml").write_text(CONFIG)
    (folder / "policy.toml").write_text(POLICY)
    return folder / "tierwise.toml", folder / "policy.toml"


def test_paths_of_the_file_are_relative_to_it(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config, policy = load(*files)
    assert config.state_dir == files[0].parent / ".tierwise"
    assert config.collector.store == files[0].parent / ".tierwise" / "tierwise.duckdb"
    assert policy.ladder == ("small",)


def test_absolute_paths_and_the_home_folder_are_kept(files: tuple[Path, Path]) -> None:
    files[0].write_text('state_dir = "/var/lib/tw"\n' + CONFIG)
    assert load_config(files[0]).state_dir == Path("/var/lib/tw")
    files[0].write_text('state_dir = "~/tw"\n' + CONFIG)
    assert load_config(files[0]).state_dir == Path.home() / "tw"


def test_flags_stand_above_the_file_and_leave_the_rest_alone(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = Overrides(
        gateway="127.0.0.1:1",
        otlp_http="127.0.0.1:2",
        otlp_grpc="127.0.0.1:3",
        console="[::1]:4",
        store=Path("here.duckdb"),
    )
    config = load_config(files[0], overrides)
    assert (config.gateway.listen, config.gateway.workers) == ("127.0.0.1:1", 3)
    assert config.collector.otlp_http == "127.0.0.1:2"
    assert config.collector.otlp_grpc == "127.0.0.1:3"
    assert config.collector.console == "[::1]:4"
    assert config.collector.store == tmp_path / "here.duckdb"  # relative as flags are


def test_a_flag_is_held_to_the_rules_of_the_file(files: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"--gateway 0.0.0.0:1: .*no client key is configured"):
        load_config(files[0], Overrides(gateway="0.0.0.0:1"))
