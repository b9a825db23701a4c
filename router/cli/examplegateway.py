"""A gateway of its own for one worked example: its files in a folder, a child that ends with it."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from evals.examples.example import HERE, PROVIDER, Example
from evals.examples.prices import price_tables
from router.demo import child

NOBODY: Final = "127.0.0.1:9"  # no collector: the example's bill is the stand-in's


def write(example: Example, folder: Path, *, base_url: str) -> tuple[Path, Path]:
    """Write an example's files into ``folder`` and return those of configuration and policy."""
    config, policy = folder / "tierwise.toml", folder / "policy.toml"
    lines = ["schema = 1", 'state_dir = "state"', "[gateway]", "drain_seconds = 1"]
    lines += [f"[providers.{PROVIDER}]", f'base_url = "{base_url}"', 'dialects = ["chat"]']
    lines += price_tables(PROVIDER, example.prices)
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copy(example.policy, policy)
    if example.functions is not None:
        shutil.copy(HERE / example.functions, folder)
    return config, policy


@contextlib.asynccontextmanager
async def running(config: Path, policy: Path) -> AsyncIterator[str]:
    """Run ``tierwise gateway`` on a free port; yield its base URL, ending in ``/v1``.

    Raises:
        ServiceFailed: when it does not come up, with its last words.
    """
    arguments = ["gateway", "--gateway", "127.0.0.1:0"]
    arguments += ["--config", str(config), "--policy", str(policy)]
    arguments += ["--otlp-http", NOBODY, "--console", NOBODY]
    async with child.running(arguments) as service:
        yield f"{service.gateway}/v1"
