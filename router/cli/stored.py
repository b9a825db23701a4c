"""How commands that read the store find it: flags, else tierwise.toml, else the defaults."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from collector.config import CollectorConfig
from collector.reader import Reader, open_reader
from router.cli.asking import KEY, address
from router.settings import Overrides, load_config


@contextlib.contextmanager
def opened(config: Path, *, console: str | None, store: Path | None) -> Iterator[Reader]:
    """Open the running collector, or else its file.

    Whoever names a console alone means that collector: another one's file is no answer then. A
    missing tierwise.toml is no error: the collector may run elsewhere, with its own.

    Raises:
        ConfigError: the file or a flag is wrong.
        StoreUnavailable, StoreLocked: there is nobody and nothing to read from.
    """
    found = _found(config, console=console, store=store)
    file = found.store if console is None or store is not None else None
    reader = open_reader(console=found.console, store=file, key=os.environ.get(KEY))
    try:
        yield reader
    finally:
        reader.close()


def store_path(config: Path, *, store: Path | None) -> Path:
    """Return where the store stands, absolute; ConfigError when the file is wrong."""
    return _found(config, console=None, store=store).store


def _found(config: Path, *, console: str | None, store: Path | None) -> CollectorConfig:
    if config.exists():
        return load_config(config, Overrides(console=console, store=store)).collector
    found = CollectorConfig()
    asked = found.console if console is None else address(console)
    return found.model_copy(update={"console": asked, "store": (store or found.store).absolute()})
