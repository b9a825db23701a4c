"""SIGTERM while streams are relayed and held: every one of them ends as it should."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.e2e.serving import FREE, Provider, Service, Stream, provider, until, write_files

STREAMS = 24
SECRET = "sk-canary-drain-3f1c90ab7d"
POLICY = """\
schema = 1
ladder = ["small"]
[tiers.small]
models = ["one/small"]
[roles.planner]
checks = ["not_empty"]
stream = "STREAM"
"""


@pytest.mark.parametrize("mode", ["pass", "hold"])
def test_a_gateway_that_is_told_to_end_finishes_its_streams_first(
    mode: str, tmp_path: Path
) -> None:
    with provider() as upstream:
        flags = write_files(tmp_path, upstream.port, more='key_env = "ONE_KEY"')
        (tmp_path / "policy.toml").write_text(POLICY.replace("STREAM", mode))
        service = Service(
            ["gateway", *flags, *FREE], log=tmp_path / "log", variables={"ONE_KEY": SECRET}
        ).ready()
        try:
            bodies = drained(service, upstream)
            assert service.ends() == 0
        finally:
            service.close()
        said = service_log(tmp_path)
    wanted = [json.dumps(part) for part in ("y", "es")]
    assert len(bodies) == STREAMS
    for body in bodies:
        assert all(part.encode() in body for part in wanted)
        assert body.endswith(b"data: [DONE]\n\n")
    assert SECRET not in said


def drained(service: Service, upstream: Provider) -> list[bytes]:
    """Open streams, end the service while its provider is silent, then let it go on."""
    upstream.let_go.clear()
    bodies: list[bytes] = []
    lock = threading.Lock()

    def read() -> None:
        body = Stream(service.address).rest()
        with lock:
            bodies.append(body)

    readers = [threading.Thread(target=read) for _ in range(STREAMS)]
    for reader in readers:
        reader.start()
    until(lambda: service.ask("GET", "/readyz")[1]["steps"] == STREAMS, "so many steps")
    os.kill(service.process.pid, signal.SIGTERM)
    until(lambda: refused(service), "that nobody new is let in")
    assert bodies == []
    upstream.let_go.set()
    for reader in readers:
        reader.join(30)
    return bodies


def refused(service: Service) -> bool:
    """Say whether nobody new is let in, by the door or by the gateway behind it."""
    try:
        return service.ask("GET", "/readyz")[0] == 503
    except OSError:
        return True


def service_log(folder: Path) -> str:
    """Return everything that the service wrote."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    return "".join(path.read_bytes().decode("latin-1") for path in files)
