"""`tierwise serve` and `gateway` as a stranger starts them, before a provider that can be held."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.httpd import Quiet, listening

TIERWISE = Path(sys.executable).with_name("tierwise")
WAIT_SECONDS = 40.0
FREE = ["--gateway", "127.0.0.1:0"]
FREE_COLLECTOR = [f"--{name}=127.0.0.1:0" for name in ("otlp-http", "otlp-grpc", "console")]

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "small",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
CHUNK = 'data: {"id": "c1", "choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n'
ASKED = {"model": "tierwise/planner", "messages": [{"role": "user", "content": "well?"}]}
FRAMES = [(CHUNK % "y").encode(), (CHUNK % "es").encode(), b"data: [DONE]\n\n"]
POLICY = """\
schema = 1
ladder = ["small"]
[tiers.small]
models = ["one/small"]
[roles.planner]
"""


class Provider:
    """A provider that answers at once, or holds its answers until they are let go."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.let_go.set()
        self.port = 0


@contextmanager
def provider() -> Iterator[Provider]:
    """Serve a provider for as long as the block lasts."""
    held = Provider()

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if asked.get("stream"):
                self._stream()
                return
            held.arrived.release()
            held.let_go.wait(WAIT_SECONDS)
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(FRAMES[0])
            held.let_go.wait(WAIT_SECONDS)
            self.wfile.write(b"".join(FRAMES[1:]))

    with listening(Handler) as held.port:
        try:
            yield held
        finally:
            held.let_go.set()


def write_files(folder: Path, port: int, *, more: str = "") -> list[str]:
    """Write both files for a provider on ``port``; return the flags that name them."""
    (folder / "tierwise.toml").write_text(
        f'schema = 1\n[prices."one/small"]\ninput = 1\noutput = 1\n'
        f'[providers.one]\nbase_url = "http://127.0.0.1:{port}/v1"\ndialects = ["chat"]\n{more}'
    )
    (folder / "policy.toml").write_text(POLICY)
    return [f"--config={folder}/tierwise.toml", f"--policy={folder}/policy.toml"]


class Service:
    """A running `tierwise` with --json, its events and its gateway."""

    def __init__(self, arguments: list[str], *, log: Path, variables: dict[str, str]) -> None:
        self._log = log.open("w+")
        self.process = subprocess.Popen(
            [TIERWISE, *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | variables,
        )
        self.pids: dict[str, int] = {}
        self.address = ""
        self.console = ""

    def event(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """Return the next event of a kind (of one child); remember every pid on the way."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            event: dict[str, Any] = json.loads(text)
            if event["event"] == "started":
                self.pids[event["name"]] = event["pid"]
            if event["event"] == kind and name in (None, event.get("name")):
                return event
        raise AssertionError(f"no {kind} came; the log says:\n{self.log()}")

    def ready(self) -> Self:
        """Wait until it says that it is ready, and keep where it listens."""
        addresses = self.event("ready")["addresses"]
        self.address = addresses["gateway"].removeprefix("http://")
        self.console = addresses.get("console", "").removeprefix("http://")
        return self

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and JSON of one request to the gateway, on a connection of its own."""
        link = http.client.HTTPConnection(self.address, timeout=WAIT_SECONDS)
        try:
            content = None if body is None else json.dumps(body)
            link.request(method, path, content, {"content-type": "application/json"})
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            link.close()

    def step(self) -> int:
        """Send one step; return its status."""
        return self.ask("POST", "/v1/chat/completions", ASKED)[0]

    def ends(self) -> int:
        """Return the exit code, once it has ended."""
        assert self.process.stdout is not None
        self.process.stdout.read()
        return self.process.wait(WAIT_SECONDS)

    def log(self) -> str:
        """Return what stderr holds so far."""
        self._log.flush()
        return Path(self._log.name).read_text()

    def close(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()


class Stream:
    """One streamed step, read piece by piece."""

    def __init__(self, address: str) -> None:
        self._link = http.client.HTTPConnection(address, timeout=WAIT_SECONDS)
        message = {"role": "user", "content": "well?"}
        body = {"model": "tierwise/planner", "stream": True, "messages": [message]}
        headers = {"content-type": "application/json"}
        self._link.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        self._answer = self._link.getresponse()

    def first(self) -> bytes:
        """Return the first frame."""
        return self._answer.readline() + self._answer.readline()

    def rest(self) -> bytes:
        """Return everything after it."""
        try:
            return self._answer.read()
        finally:
            self._link.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds; fail saying ``what`` did not happen."""
    ends = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < ends, f"{what} did not happen"
        time.sleep(0.02)
