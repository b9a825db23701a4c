"""A gateway of its own for one worked example: its files in a folder, a child that ends with it."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from evals.examples.example import HERE, PROVIDER, Example
from telemetry.errors import TierwiseError

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 10.0
LINE_BYTES_MAX: Final = 65_536
NOBODY: Final = "127.0.0.1:9"  # no collector: the example's bill is the stand-in's


class GatewayFailed(TierwiseError):
    """An example's gateway did not start."""


def write(example: Example, folder: Path, *, base_url: str) -> tuple[Path, Path]:
    """Write an example's files into ``folder`` and return those of configuration and policy."""
    config, policy = folder / "tierwise.toml", folder / "policy.toml"
    lines = ["schema = 1", 'state_dir = "state"', "[gateway]", "drain_seconds = 1"]
    lines += [f"[providers.{PROVIDER}]", f'base_url = "{base_url}"', 'dialects = ["chat"]']
    for tier, price in example.prices.items():
        lines += [f'[prices."{PROVIDER}/{PROVIDER}-{tier}"]  # like {price.like}']
        lines += [f"input = {price.input}", f"output = {price.output}"]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copy(example.policy, policy)
    if example.functions is not None:
        shutil.copy(HERE / example.functions, folder)
    return config, policy


@contextlib.asynccontextmanager
async def running(config: Path, policy: Path) -> AsyncIterator[str]:
    """Run ``tierwise gateway`` on a free port; yield its base URL, ending in ``/v1``.

    Raises:
        GatewayFailed: when it does not come up, with its last words.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "router.demo.watched", "gateway", "--json", "--gateway", "127.0.0.1:0"],
        *["--config", str(config), "--policy", str(policy)],
        *["--otlp-http", NOBODY, "--console", NOBODY],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    assert process.stdout is not None, "stdout was asked for"
    assert process.stderr is not None, "stderr was asked for"
    words: list[str] = []
    rest = [asyncio.create_task(_collect(process.stderr, words))]
    try:
        address = await _ready(process.stdout)
        if address is None:
            raise GatewayFailed(f"the example's gateway did not start: {' '.join(words)}")
        rest.append(asyncio.create_task(_collect(process.stdout, [])))
        yield f"{address}/v1"
    finally:
        await _stop(process)
        await asyncio.gather(*rest)


async def _ready(lines: asyncio.StreamReader) -> str | None:
    """Return the gateway's address once it says it is ready; None when it never does."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS_MAX):
            while line := await lines.readline():
                event = json.loads(line)
                if event.get("event") == "ready":
                    return str(event["addresses"]["gateway"])
    return None


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    """Read to the end, so that the child never waits for its reader; keep the first words."""
    while line := await stream.readline():
        if len(lines) < 20:
            lines.append(line.decode(errors="replace").strip())


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
