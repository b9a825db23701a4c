"""The gateway as a child process: started through the command line, ended with the demo."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from telemetry.errors import TierwiseError

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
LINE_BYTES_MAX = 65_536
LOG_LINES_MAX = 20


class GatewayFailed(TierwiseError):
    """The gateway did not start."""


class Gateway:
    """A running gateway; ``stop`` lets it export what it still holds."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def stop(self) -> int:
        """End it in order and return its exit code; kill it when it does not end."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()


@contextlib.asynccontextmanager
async def gateway(config: Path, policy: Path, *, otlp_port: int) -> AsyncIterator[Gateway]:
    """Run ``tierwise gateway`` on a free port for as long as the block lasts.

    Raises:
        GatewayFailed: when it does not come up, with its last words.
    """
    flags = ["--config", config, "--policy", policy, "--gateway", "127.0.0.1:0", "--json"]
    flags += ["--otlp-http", f"127.0.0.1:{otlp_port}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "router.demo.watched", "gateway", *map(str, flags)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    assert process.stderr is not None, "stderr was asked for"
    words: list[str] = []
    listening = asyncio.create_task(_collect(process.stderr, words))
    running: Gateway | None = None
    try:
        running = Gateway(process, await _ready(process, words))
        rest = asyncio.create_task(_collect(process.stdout, []))
        try:
            yield running
        finally:
            await running.stop()
            await rest
    finally:
        if running is None:
            await Gateway(process, "").stop()
        await listening


async def _ready(process: asyncio.subprocess.Process, words: list[str]) -> str:
    """Return the gateway's address once it says that it is ready."""
    assert process.stdout is not None, "stdout was asked for"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS_MAX):
            while line := await process.stdout.readline():
                event = json.loads(line)
                if event.get("event") == "ready":
                    return str(event["addresses"]["gateway"])
    said = "\n".join(words) or "it said nothing"
    raise GatewayFailed(
        f"the demo's gateway did not start: {said}", hint="`tierwise doctor` looks for the cause"
    )


async def _collect(stream: asyncio.StreamReader | None, words: list[str]) -> None:
    """Read ``stream`` to its end and keep its last lines."""
    assert stream is not None, "the stream was asked for"
    while line := await stream.readline():
        words.append(line.decode(errors="replace").rstrip())
        del words[:-LOG_LINES_MAX]
