"""`tierwise init`: write both files from what this machine already has."""

import http.client
import json as jsonlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from router.cli import options
from router.cli.catalogue import LOCAL, PROVIDERS
from router.cli.firstfiles import STAND_IN_MODEL, Hosted, Local, config_text, policy_text
from router.cli.output import Screen
from router.config import Config
from router.policyfile import PolicyFile
from router.settings import CONFIG_NAME, POLICY_NAME
from telemetry.configfile import parse
from telemetry.errors import ConfigError

LOCAL_SECONDS = 0.5
ANSWER_BYTES_MAX = 1_048_576


def init(
    *,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="FOLDER", help="Where to write the two files.")
    ] = Path(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; use all found.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files; keep them as .bak.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Write tierwise.toml and policy.toml, commented, from the provider keys in the environment.

    Looks for keys by name only, and for a model server of your own on this machine. Existing files
    are never replaced without --force.
    """
    screen = Screen(json=json)
    paths = (folder / CONFIG_NAME, folder / POLICY_NAME)
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise ConfigError(
            f"{' and '.join(map(str, there))}: already there",
            hint="--force replaces them and keeps the old ones as .bak; --dir writes elsewhere",
        )
    hosted = found_keys(os.environ)
    local = found_local(dict(LOCAL))
    if not (yes or json) and sys.stdin.isatty():
        hosted, local = _asked(hosted, local)
    if not hosted and local is None:
        name, base_url = LOCAL[0]
        local = Local(name=name, base_url=base_url, model=STAND_IN_MODEL, seen=False)
    texts = (config_text(hosted, local), policy_text(hosted, local))
    parse(texts[0].encode(), Config, name=CONFIG_NAME)
    parse(texts[1].encode(), PolicyFile, name=POLICY_NAME)
    kept = [_kept(path) for path in there]
    for path, text in zip(paths, texts, strict=True):
        _write(path, text)
    _tell(screen, paths=paths, kept=kept, hosted=hosted, local=local)


def found_keys(environment: Mapping[str, str]) -> list[Hosted]:
    """Return the known providers whose key stands in ``environment``."""
    hosted = []
    for known in PROVIDERS:
        name = next((name for name in known.variables if environment.get(name, "").strip()), None)
        if name is not None:
            hosted.append(Hosted(known=known, key_env=name))
    return hosted


def found_local(servers: Mapping[str, str]) -> Local | None:
    """Return the first of ``servers`` (base URL by name) that lists a model, or None."""
    for name, base_url in servers.items():
        model = _first_model(base_url)
        if model is not None:
            return Local(name=name, base_url=base_url, model=model)
    return None


def _first_model(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    link = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=LOCAL_SECONDS)
    try:
        link.request("GET", f"{parts.path}/models")
        answer = jsonlib.loads(link.getresponse().read(ANSWER_BYTES_MAX))
        model = answer["data"][0]["id"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        link.close()
    # A name that the file could not hold is no name to write into it.
    usable = isinstance(model, str) and model and not any(c in model for c in ' \t\n"\\')
    return model if usable and model.isprintable() and len(model) <= 200 else None


def _asked(hosted: list[Hosted], local: Local | None) -> tuple[list[Hosted], Local | None]:
    """Return what the person wants of what was found."""
    wanted = [
        one
        for one in hosted
        if typer.confirm(f"Use {one.known.name} ({one.key_env} is set)?", default=True, err=True)
    ]
    if local is not None and not typer.confirm(
        f"Use {local.model} at {local.base_url}?", default=True, err=True
    ):
        local = None
    return wanted, local


def _kept(path: Path) -> Path:
    backup = path.with_name(f"{path.name}.bak")
    try:
        return path.replace(backup)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    beginning = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beginning.write_text(text)
        beginning.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: {error.strerror or error}", hint="--dir names a folder that you may write"
    )


def _tell(
    screen: Screen,
    *,
    paths: tuple[Path, Path],
    kept: list[Path],
    hosted: list[Hosted],
    local: Local | None,
) -> None:
    missing = not hosted and local is not None and not local.seen
    screen.result(
        {
            "files": [str(path) for path in paths],
            "kept": [str(path) for path in kept],
            "providers": [one.known.name for one in hosted] + ([local.name] if local else []),
            "stand_in": missing,
        }
    )
    for path in kept:
        screen.say(f"kept the old file as {path}")
    screen.say(f"wrote {paths[0]} and {paths[1]}")
    for one in hosted:
        screen.say(f"  {one.known.name}: key from {one.key_env}")
    if local is not None and local.seen:
        screen.say(f"  {local.name}: {local.model} at {local.base_url}")
    if missing and local is not None:
        names = ", ".join(known.variables[0] for known in PROVIDERS)
        screen.say(
            f"No provider key was found (looked for {names}) and no model server answered.\n"
            f"The files name Ollama at {local.base_url} with {local.model}. Then either\n"
            f"  start it:       ollama run {local.model}\n"
            "  or set a key:   export OPENAI_API_KEY=... && tierwise init --force\n"
            "  or just look:   tierwise demo   (no keys, no network)"
        )
    where = "" if paths[0].parent == Path() else f" --config {paths[0]} --policy {paths[1]}"
    screen.say(f"Next: tierwise doctor{where}, then tierwise serve{where}")
