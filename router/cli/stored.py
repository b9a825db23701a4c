"""How commands that read the store find it: flags, else tierwise.toml, else the defaults."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from collector.config import CollectorConfig
from collector.reader import Reader, open_reader
from router.settings import Overrides, load_config


@contextlib.contextmanager
def opened(config: Path, *, console: str | None, store: Path | None) -> Iterator[Reader]:
    """Open the running collector, or else its file.

    A missing tierwise.toml is no error: the collector may run elsewhere, with its own.

    Raises:
        ConfigError: the file or a flag is wrong.
        StoreUnavailable, StoreLocked: there is nobody and nothing to read from.
    """
    overrides = Overrides(console=console, store=store)
    if config.exists():
        found = load_config(config, overrides).collector
    else:
        found = CollectorConfig()
        found = found.model_copy(
            update={"console": console or found.console, "store": (store or found.store).absolute()}
        )
    reader = open_reader(console=found.console, store=found.store)
    try:
        yield reader
    finally:
        reader.close()
