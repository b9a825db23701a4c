"""Both files and the flags that override them, read together: what a process starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from router.config import Config
from router.listen import Address
from router.policyfile import PolicyFile
from telemetry.configfile import load as load_file
from telemetry.errors import ConfigError

CONFIG_NAME = "tierwise.toml"
POLICY_NAME = "policy.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """Flags that stand above tierwise.toml; None leaves the file's word.

    Addresses are host:port; ``store`` is relative to the working directory, as flags are.
    """

    gateway: str | None = None
    otlp_http: str | None = None
    otlp_grpc: str | None = None
    console: str | None = None
    store: Path | None = None


def load(
    config_path: Path, policy_path: Path, overrides: Overrides | None = None
) -> tuple[Config, PolicyFile]:
    """Return both files, the flags applied and every path absolute.

    Paths inside tierwise.toml are relative to that file.

    Raises:
        ConfigError: naming the file and key, or the flag, what is wrong with it and what to do.
    """
    return load_config(config_path, overrides), load_file(policy_path, PolicyFile)


def load_config(config_path: Path, overrides: Overrides | None = None) -> Config:
    """Return tierwise.toml alone; for the rest see ``load``."""
    config = load_file(config_path, Config)
    if overrides is not None:
        config = _overridden(config, overrides)
    here = config_path.absolute().parent
    return config.model_copy(
        update={
            "state_dir": here / config.state_dir.expanduser(),
            "collector": config.collector.model_copy(
                update={"store": here / config.collector.store.expanduser()}
            ),
        }
    )


def _overridden(config: Config, overrides: Overrides) -> Config:
    """Return ``config`` with the flags in their places, checked again as a whole."""
    table: dict[str, Any] = config.model_dump(by_alias=True, exclude_unset=True)
    given: list[str] = []
    for flag, address, section, key in (
        ("--gateway", overrides.gateway, "gateway", "listen"),
        ("--otlp-http", overrides.otlp_http, "collector", "otlp_http"),
        ("--otlp-grpc", overrides.otlp_grpc, "collector", "otlp_grpc"),
        ("--console", overrides.console, "collector", "console"),
    ):
        if address is not None:
            Address.parse(address, where=flag)
            table.setdefault(section, {})[key] = address
            given.append(f"{flag} {address}")
    if overrides.store is not None:
        store = overrides.store.expanduser().absolute()
        table.setdefault("collector", {})["store"] = store
        given.append(f"--store {overrides.store}")
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        reasons = "; ".join(
            str(fault["msg"]).removeprefix("Value error, ") for fault in error.errors()
        )
        raise ConfigError(
            f"{', '.join(given)}: {reasons}", hint="each address needs a port of its own"
        ) from error
