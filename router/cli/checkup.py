"""The checks of `doctor` that look at this machine alone."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from router.cli.probe import livez
from router.config import Config
from router.lint import Finding
from router.listen import Address, bind, connects
from router.targets import secret
from telemetry.configfile import KEYS
from telemetry.errors import ConfigError

FREE_MB_MIN = 1_024  # for the store, beside the spool
MEGABYTE = 1_048_576
LIVEZ_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing looked at; ``mend`` says what to do when it is not well."""

    name: str
    status: Literal["ok", "warning", "fail"]
    message: str
    mend: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """The check as JSON holds it."""
        return {
            "name": self.name,
            "status": self.status,
            "message": self.message,
            "mend": self.mend or None,
        }


def skipped(names: str) -> Check:
    """Return the word on checks that need a file which does not load."""
    return Check(name="skipped", status="warning", message=names, mend="mend tierwise.toml first")


def of_files(findings: Iterable[Finding]) -> list[Check]:
    """Return what the linter says of both files, and one word when it says nothing."""
    checks = [
        Check(
            name=finding.where,
            status="fail" if finding.level == "error" else "warning",
            message=finding.message,
            mend=finding.remedy or KEYS,
        )
        for finding in findings
    ]
    return checks or [Check(name="files", status="ok", message="both load and fit together")]


def of_keys(config: Config, environment: Mapping[str, str]) -> list[Check]:
    """Return whether each variable that should hold a secret does; values are never shown."""
    wanted = {
        provider.key_env: f"[providers.{name}]"
        for name, provider in config.providers.items()
        if provider.key_env is not None
    }
    wanted |= {key.key_env: f"client key {key.name!r}" for key in config.keys}
    if config.collector.token_env is not None:
        wanted[config.collector.token_env] = "[collector]"
    checks = []
    for variable, user in wanted.items():
        try:
            secret(variable, environment, user=user)
        except ConfigError as error:
            checks.append(
                Check(name=f"key {variable}", status="fail", message=error.message, mend=error.hint)
            )
        else:
            checks.append(Check(name=f"key {variable}", status="ok", message=f"set, for {user}"))
    return checks


def of_ports(config: Config) -> list[Check]:
    """Return who holds each address: nobody, a running tierwise, or a stranger.

    A gateway that runs without its collector is a failure: its spans wait on disk meanwhile.
    """
    gateway = Address.parse(config.gateway.listen, where="gateway.listen")
    running = livez(gateway, timeout_seconds=LIVEZ_SECONDS) is not None
    if running:
        checks = [Check(name="gateway", status="ok", message=f"ours runs at {gateway}")]
    else:
        checks = [_vacant("gateway", gateway, where="--gateway")]
    for key in ("otlp_http", "otlp_grpc", "console"):
        address = Address.parse(getattr(config.collector, key), where=f"collector.{key}")
        name = f"collector {key}"
        if not running:
            checks.append(_vacant(name, address, where=f"--{key.replace('_', '-')}"))
        elif connects(address, timeout_seconds=LIVEZ_SECONDS):
            checks.append(Check(name=name, status="ok", message=f"answers at {address}"))
        else:
            checks.append(
                Check(
                    name=name,
                    status="fail",
                    message=f"nothing answers at {address} while the gateway runs",
                    mend="start `tierwise collector`, or `tierwise serve` for both",
                )
            )
    return checks


def _vacant(name: str, address: Address, *, where: str) -> Check:
    try:
        bind(address, where=where).close()
    except ConfigError as error:
        return Check(name=name, status="fail", message=error.message, mend=error.hint)
    return Check(name=name, status="ok", message=f"{address} is free; nothing of ours runs there")


def of_disk(config: Config) -> list[Check]:
    """Return whether the state and the store can be written, and have room."""
    folders = {"state_dir": config.state_dir, "store": config.collector.store.parent}
    checks = [_writable(name, folder) for name, folder in folders.items()]
    needed = FREE_MB_MIN + config.telemetry.spool_mb
    for folder in dict.fromkeys(map(_existing, folders.values())):
        free = shutil.disk_usage(folder).free // MEGABYTE
        enough = free >= needed
        checks.append(
            Check(
                name="disk",
                status="ok" if enough else "fail",
                message=f"{free:,} MB free at {folder}, {needed:,} wanted",
                mend="" if enough else "free some, or lower telemetry.spool_mb, or move state_dir",
            )
        )
    return checks


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that exists: the one whose disk will be used."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _writable(name: str, folder: Path) -> Check:
    here = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        return Check(
            name=name,
            status="fail",
            message=f"{here}: {error.strerror or error}",
            mend=f"give user {os.getuid()} the right to write there, or move it in tierwise.toml",
        )
    made = "" if here == folder.absolute() else ", will be made"
    return Check(name=name, status="ok", message=f"{folder} can be written{made}")
