"""Run a stand-in: in this event loop, or in a process of its own that ends with its starter."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Self

from evals.standin.http import Connection
from evals.standin.server import Standin, StandinConfig

STOP_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A stand-in that listens."""

    standin: Standin
    port: int

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base URL; an Anthropic client takes ``origin``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def origin(self) -> str:
        """The base URL without ``/v1``."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(
    config: StandinConfig | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Serving]:
    """Serve a stand-in from the running event loop; port 0 takes a free one."""
    standin = Standin(config or StandinConfig())
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(standin, connections), host, port, backlog=2_048
    )
    try:
        yield Serving(standin, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for connection in list(connections):
            connection.close()
        await server.wait_closed()


class StandinProcess:
    """A stand-in in its own process; it ends when this object is closed or its starter dies."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.pid = process.pid
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.origin}/v1"

    @classmethod
    def start(
        cls, *, seed: int = 7, pace: float = 0.0, port: int = 0, keys: tuple[str, ...] = ()
    ) -> Self:
        """Start one and return when it listens; raise ``RuntimeError`` when it does not."""
        command = [sys.executable, "-m", "evals.standin", "--until-stdin-ends"]
        command += ["--port", str(port), "--seed", str(seed), "--pace", str(pace)]
        for key in keys:
            command += ["--key", key]
        process = subprocess.Popen(  # noqa: S603 - our own module with our own arguments
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None, "stdout was asked for"
        line = process.stdout.readline()
        started = cls(process, int(json.loads(line)["port"]) if line else 0)
        if not line:
            started.close()
            raise RuntimeError(f"the stand-in ended with exit code {process.returncode}")
        return started

    def ledger(self) -> dict[str, Any]:
        """Return what was billed since the last reset."""
        return self._call("ledger")

    def reset_ledger(self) -> None:
        """Forget what was billed."""
        self._call("ledger/reset", {})

    def change_skills(self, patch: dict[str, Any]) -> None:
        """Change the table of skills; see ``SkillTable.change``."""
        self._call("skills", patch)

    def close(self) -> None:
        """End the process; closing twice is allowed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.origin}/{path}", data=content)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            value = json.load(answer)
        assert isinstance(value, dict), "the stand-in answers with objects"
        return value


@contextlib.contextmanager
def standin_process(**options: Any) -> Iterator[StandinProcess]:
    """Run a stand-in in its own process for as long as the block lasts."""
    with StandinProcess.start(**options) as process:
        yield process
