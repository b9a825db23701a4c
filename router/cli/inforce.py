"""Which learned policy a command should look at: the one in force, one by name, one in a file."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from collector.refusals import Refusal
from collector.revisionfile import parsed
from learning import standing as documents
from learning.revision import Revision
from learning.standing import Standing
from router.cli.asking import KEY, Console, ConsoleAway, ConsoleRefused, part
from router.config import Config
from router.policy import DECLARED
from telemetry.errors import ConfigError

CONSOLE_SECONDS: Final = 5.0
FILE_BYTES_MAX: Final = 4_194_304
FILES: Final = "name a file that `tierwise policy export` wrote, a revision's id, or declared"


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """A standing policy and where it is from, for people."""

    standing: Standing
    source: str


def in_force(config: Config, revision: str | None) -> InForce:
    """Return the standing policy that ``revision`` names: an id, `declared`, a file, None for now.

    None is what gateways decide by: the running collector's word; while that is away, the last one
    that a gateway kept on this machine; else the declared policy.

    Raises:
        ConfigError: the file cannot be read, or is none of a revision.
        ConsoleAway, ConsoleRefused: the collector that should know the revision does not tell.
    """
    from router.revisions import PATH  # noqa: PLC0415 - its HTTP client is large

    if revision is None:
        return _now(config)
    if revision == DECLARED:
        return InForce(standing=Standing(), source="policy.toml alone")
    path = Path(revision)
    if path.is_file():
        return InForce(standing=_of_file(path), source=f"{path}")
    console = _console(config)
    found = console.get(f"/api/policy/revisions/{part(revision)}")
    standing = _read(console.get(PATH))
    whole = replace(standing, revision=_revision(found), previous=None, rollout=1.0)
    return InForce(standing=whole, source=f"revision {revision}, as if it were in force for all")


def _now(config: Config) -> InForce:
    from router.revisions import FILE, PATH  # noqa: PLC0415 - as above

    try:
        found = _read(_console(config).get(PATH))
        return InForce(
            standing=found, source=f"in force at the collector on {config.collector.console}"
        )
    except (ConsoleAway, ConsoleRefused) as error:
        away = error.message
    except ValueError as error:
        away = f"the collector's answer makes no sense: {error}"
    path = config.state_dir / FILE
    if path.is_file():
        return InForce(standing=_of_file(path), source=f"last heard by a gateway here ({away})")
    return InForce(standing=Standing(), source=f"policy.toml alone ({away})")


def _console(config: Config) -> Console:
    """Return the collector's console, shown a person's key or else what gateways show."""
    token_env = config.collector.token_env
    key = os.environ.get(KEY) or (os.environ.get(token_env, "") if token_env else "")
    return Console(config.collector.console, key=key, seconds=CONSOLE_SECONDS)


def _read(document: dict[str, Any]) -> Standing:
    return documents.parse(json.dumps(document))


def _of_file(path: Path) -> Standing:
    """Return what a file holds: one of `policy export`, or what a gateway keeps in `state_dir`."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"it is over {FILE_BYTES_MAX} bytes")
        text = content.decode()
        if text.lstrip().startswith("{"):
            return documents.parse(text)
        return Standing(revision=parsed(text).revision)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", hint=FILES) from error
    except (ValueError, RecursionError, Refusal) as error:
        raise ConfigError(
            f"{path}: no revision: {error}",
            hint=FILES,
        ) from error


def _revision(found: dict[str, Any]) -> Revision:
    """Return a revision as the console shows it."""
    parent = found["parent"]
    return Revision(
        policy_hash=found["policy_hash"],
        parent=None if parent == DECLARED else parent,
        shares=found["shares"],
        evidence=found["evidence"],
    )
