"""The command line as a child process that serves, and ends with whoever started it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from telemetry.errors import TierwiseError

# The first start after an installation compiles every module, maybe on a busy machine.
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 10.0
LINE_BYTES_MAX = 65_536
LOG_LINES_MAX = 20


class ServiceFailed(TierwiseError):
    """The child did not start."""


class Service:
    """A running child; ``addresses`` are URLs by name: gateway, console ..."""

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
    arguments = ["serve", "--config", str(config), "--policy", str(policy)]
    for flag in ("--gateway", "--console", "--otlp-http", "--otlp-grpc"):
        arguments += [flag, "127.0.0.1:0"]
    async with running(arguments, environment=environment) as service:
        yield service


@contextlib.asynccontextmanager
async def running(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    """Run a command that says with ``--json`` when it is ready, for as long as the block lasts.

    Raises:
        ServiceFailed: when it does not come up, with its last words.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "router.demo.watched", *arguments, "--json"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        env={**os.environ, **(environment or {})},
    )
    assert process.stderr is not None, "stderr was asked for"
    words: list[str] = []
    listening = asyncio.create_task(_collect(process.stderr, words))
    service: Service | None = None
    try:
        service = Service(process, await _ready(process, words))
        rest = asyncio.create_task(_collect(process.stdout, []))
        try:
            yield service
        finally:
            await service.stop()
            await rest
    finally:
        if service is None:
            await Service(process, {}).stop()
        await listening


async def _ready(process: asyncio.subprocess.Process, words: list[str]) -> dict[str, str]:
    """Return the addresses once they are said to be ready."""
    assert process.stdout is not None, "stdout was asked for"
    why = "ended"
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while line := await process.stdout.readline():
                event = json.loads(line)
                if event.get("event") == "ready":
                    return dict(event["addresses"])
    except TimeoutError:
        why = f"was not ready within {START_SECONDS_MAX:g} s"
    said = "\n".join(words) or "it said nothing"
    raise ServiceFailed(
        f"the gateway that was started for this {why}: {said}",
        hint="`tierwise doctor` looks for the cause",
    )


async def _collect(stream: asyncio.StreamReader | None, words: list[str]) -> None:
    """Read ``stream`` to its end and keep its last lines."""
    assert stream is not None, "the stream was asked for"
    while line := await stream.readline():
        words.append(line.decode(errors="replace").rstrip())
        del words[:-LOG_LINES_MAX]
