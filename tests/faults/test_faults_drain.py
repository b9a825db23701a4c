"""SIGTERM and reloads while streams are relayed and held: every one of them ends as it should."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.serving import FREE, Provider, Service, Stream, provider, until, write_files

STREAMS = 200
SECRET = "sk-canary-drain-3f1c90ab7d"
NEVER = '{ check = "contains", values = ["what no answer says"] }'
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
            bodies = held_up(service, upstream, meanwhile=lambda: told_to_end(service))
            assert service.ends() == 0
        finally:
            service.close()
        said = service_log(tmp_path)
    are_whole(bodies)
    assert SECRET not in said


@pytest.mark.parametrize("mode", ["pass", "hold"])
def test_a_gateway_that_is_given_another_policy_finishes_its_streams_by_the_old_one(
    mode: str, tmp_path: Path
) -> None:
    with provider() as upstream:
        flags = write_files(tmp_path, upstream.port)
        policy = tmp_path / "policy.toml"
        policy.write_text(POLICY.replace("STREAM", mode))
        service = Service(["gateway", *flags, *FREE], log=tmp_path / "log", variables={}).ready()

        def reload() -> None:
            old = service.ask("GET", "/readyz")[1]["policy"]
            # By this one no answer of the provider would be let through.
            never = POLICY.replace("STREAM", "hold").replace('"not_empty"', NEVER)
            policy.write_text(never + 'unpassed = "refuse"\n')
            service.process.send_signal(signal.SIGHUP)
            until(lambda: service.ask("GET", "/readyz")[1]["policy"] != old, "the new policy")

        try:
            bodies = held_up(service, upstream, meanwhile=reload)
            assert service.step() == 422
        finally:
            service.close()
    are_whole(bodies)


def are_whole(bodies: list[bytes]) -> None:
    """Check that every stream has all its frames."""
    wanted = [json.dumps(part) for part in ("y", "es")]
    assert len(bodies) == STREAMS
    for body in bodies:
        assert all(part.encode() in body for part in wanted)
        assert body.endswith(b"data: [DONE]\n\n")


def told_to_end(service: Service) -> None:
    """Send SIGTERM, and wait until nobody new is let in."""
    os.kill(service.process.pid, signal.SIGTERM)
    until(lambda: refused(service), "that nobody new is let in")


def held_up(service: Service, upstream: Provider, *, meanwhile: Callable[[], None]) -> list[bytes]:
    """Open streams, do something while their provider is silent, then let it go on."""
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
    meanwhile()
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
