"""`tierwise serve` as a child process: gateway and collector, ended with the demo."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from telemetry.errors import TierwiseError

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
LINE_BYTES_MAX = 65_536
LOG_LINES_MAX = 20


class ServiceFailed(TierwiseError):
    """Gateway and collector did not start."""


class Service:
    """A running gateway and collector; ``addresses`` are URLs by name: gateway, console ..."""

    def __init__(self, process: asyncio.subprocess.Process, addresses: Mapping[str, str]) -> None:
        self._process = process
        self._addresses = addresses

    @property
    def gateway(self) -> str:
        """Where agents go."""
        return self._addresses["gateway"]

    @property
    def console(self) -> str:
        """Where the API and its pages are."""
        return self._addresses["console"]

    async def stop(self) -> int:
        """End it in order and return its exit code; kill it when it does not end."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                return await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()


@contextlib.asynccontextmanager
async def serving(
    config: Path, policy: Path, *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    """Run ``tierwise serve`` on free ports for as long as the block lasts.

    ``environment`` stands above this process's own variables.

    Raises:
        ServiceFailed: when it does not come up, with its last words.
    """
    flags = ["--config", str(config), "--policy", str(policy), "--json"]
    for flag in ("--gateway", "--console", "--otlp-http", "--otlp-grpc"):
        flags += [flag, "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "router.demo.watched", "serve", *flags],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        env={**os.environ, **(environment or {})},
    )
    assert process.stderr is not None, "stderr was asked for"
    words: list[str] = []
    listening = asyncio.create_task(_collect(process.stderr, words))
    running: Service | None = None
    try:
        running = Service(process, await _ready(process, words))
        rest = asyncio.create_task(_collect(process.stdout, []))
        try:
            yield running
        finally:
            await running.stop()
            await rest
    finally:
        if running is None:
            await Service(process, {}).stop()
        await listening


async def _ready(process: asyncio.subprocess.Process, words: list[str]) -> dict[str, str]:
    """Return the addresses once they are said to be ready."""
    assert process.stdout is not None, "stdout was asked for"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS_MAX):
            while line := await process.stdout.readline():
                event = json.loads(line)
                if event.get("event") == "ready":
                    return dict(event["addresses"])
    said = "\n".join(words) or "it said nothing"
    raise ServiceFailed(
        f"the demo's gateway and collector did not start: {said}",
        hint="`tierwise doctor` looks for the cause",
    )


async def _collect(stream: asyncio.StreamReader | None, words: list[str]) -> None:
    """Read ``stream`` to its end and keep its last lines."""
    assert stream is not None, "the stream was asked for"
    while line := await stream.readline():
        words.append(line.decode(errors="replace").rstrip())
        del words[:-LOG_LINES_MAX]
