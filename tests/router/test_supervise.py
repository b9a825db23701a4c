"""The supervisor, run as a stranger would run it: a process of its own, real signals."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.supervise import BACKOFF_SECONDS_MAX, backoff_seconds, exit_words

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 30.0


class Line:
    """A child's line home."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_SECONDS)
        self._connection = connection
        self._file = connection.makefile("r")
        self.said: dict[str, Any] = json.loads(self._file.readline())

    @property
    def pid(self) -> int:
        return int(self.said["pid"])

    def hear(self) -> str:
        """The next thing the child says; "" when it is dead."""
        try:
            return self._file.readline().strip()
        except ConnectionResetError:
            return ""

    def say(self, word: bytes) -> None:
        self._connection.sendall(word)

    def close(self) -> None:
        self._file.close()
        self._connection.close()


@dataclass
class Service:
    """A supervisor in its own process, and the phone its children call."""

    process: "subprocess.Popen[str]"
    phone: socket.socket
    ready: Path
    lines: list[Line]

    def answer(self) -> Line:
        connection, _ = self.phone.accept()
        line = Line(connection)
        self.lines.append(line)
        return line

    def listening(self) -> Line:
        line = self.answer()
        assert line.hear() == "listening"
        return line

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of this kind."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            event: dict[str, Any] = json.loads(text)
            if event["kind"] == kind:
                return event
        raise AssertionError(f"no {kind} event came")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> tuple[int, str]:
        """The exit code and what stderr holds, once it has ended by itself."""
        _, errors = self.process.communicate(timeout=WAIT_SECONDS)
        return self.process.returncode, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for line in self.lines:
            line.close()
        self.phone.close()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate(timeout=WAIT_SECONDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    services = []

    def started(*modes: str) -> Service:
        phone = socket.create_server(("127.0.0.1", 0))
        phone.settimeout(WAIT_SECONDS)
        ready = tmp_path / "ready"
        port = phone.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.router.supervised", str(port), *modes],
            cwd=ROOT,
            env=os.environ | {"READY": str(ready)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        services.append(Service(process=process, phone=phone, ready=ready, lines=[]))
        return services[-1]

    yield started
    for service in services:
        service.__exit__()


def test_a_killed_child_is_started_again(start: Callable[..., Service]) -> None:
    service = start("obey")
    first = service.listening()
    os.kill(first.pid, signal.SIGKILL)
    assert first.hear() == ""
    exited = service.event("exited")
    assert (exited["pid"], exited["exit_code"]) == (first.pid, -signal.SIGKILL)
    second = service.listening()
    assert second.pid != first.pid
    service.signal(signal.SIGTERM)
    assert service.ends() == (0, "")


def test_readiness_is_told_once_it_holds(start: Callable[..., Service]) -> None:
    service = start("obey")
    service.listening()
    service.ready.touch()
    assert service.event("ready")["kind"] == "ready"


def test_the_end_waits_for_what_is_in_flight(start: Callable[..., Service]) -> None:
    service = start("finish")
    line = service.listening()
    service.signal(signal.SIGTERM)
    assert line.hear() == "term"
    assert service.event("draining")["message"] == "SIGTERM"
    assert service.process.poll() is None
    line.say(b"go")
    assert service.ends()[0] == 0


def test_ctrl_c_ends_with_130(start: Callable[..., Service]) -> None:
    service = start("obey")
    service.listening()
    service.signal(signal.SIGINT)
    assert service.ends()[0] == 130


def test_a_second_signal_some_time_later_ends_at_once_and_says_so(
    start: Callable[..., Service],
) -> None:
    service = start("finish")
    line = service.listening()
    service.signal(signal.SIGTERM)
    assert line.hear() == "term"
    # Signals that come together count as one wish, so ask until it counts as another.
    while service.process.poll() is None:
        service.signal(signal.SIGTERM)
        try:
            service.process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert line.hear() == ""
    assert service.ends()[0] == 1
    assert line.hear() == ""


def test_the_same_signal_to_process_and_group_does_not_kill(start: Callable[..., Service]) -> None:
    service = start("finish")
    line = service.listening()
    service.signal(signal.SIGTERM)
    service.signal(signal.SIGTERM)
    assert line.hear() == "term"
    service.signal(signal.SIGTERM)
    line.say(b"go")
    assert service.ends()[0] == 0


def test_spares_outlive_the_essential_ones(start: Callable[..., Service]) -> None:
    service = start("finish", "obey:spare")
    lines = {line.said["name"]: line for line in (service.answer(), service.answer())}
    assert {line.hear() for line in lines.values()} == {"listening"}
    service.signal(signal.SIGTERM)
    assert lines["finish"].hear() == "term"
    os.kill(lines["obey"].pid, 0)  # alive: it takes what the draining one still sends
    lines["finish"].say(b"go")
    assert lines["obey"].hear() == ""
    assert service.ends()[0] == 0


def test_a_reload_reaches_every_child(start: Callable[..., Service]) -> None:
    service = start("obey", "obey:spare")
    lines = [service.listening(), service.listening()]
    service.signal(signal.SIGHUP)
    assert [line.hear() for line in lines] == ["hup", "hup"]


def test_children_end_when_their_parent_is_killed(start: Callable[..., Service]) -> None:
    service = start("obey", "obey:spare")
    lines = [service.listening(), service.listening()]
    service.process.kill()
    assert [line.hear() for line in lines] == ["", ""]


def test_a_refused_configuration_ends_the_whole_with_its_message(
    start: Callable[..., Service],
) -> None:
    service = start("refuse")
    for _ in range(5):
        service.answer()
    assert service.ends() == (
        2,
        "config: policy.toml: roles.x: no such tier; add it to the ladder\n",
    )


def test_a_service_that_never_starts_gives_up(start: Callable[..., Service]) -> None:
    service = start("crash")
    for _ in range(5):
        service.answer()
    code, errors = service.ends()
    assert code == 1
    assert "crash ended 5 times while starting: exit code 3" in errors


def test_a_service_that_was_ready_goes_on_trying(start: Callable[..., Service]) -> None:
    service = start("crash")
    service.ready.touch()
    for _ in range(6):
        service.answer()
    service.signal(signal.SIGTERM)
    assert service.ends()[0] == 0


def test_a_spare_that_never_starts_stops_nobody(start: Callable[..., Service]) -> None:
    service = start("obey", "refuse:spare")
    names = [service.answer().said["name"] for _ in range(7)]
    assert names.count("obey") == 1
    service.signal(signal.SIGTERM)
    assert service.ends()[0] == 0


def test_one_broken_worker_stops_no_other(start: Callable[..., Service]) -> None:
    service = start("obey", "refuse")
    names = [service.answer().said["name"] for _ in range(7)]
    assert names.count("obey") == 1
    assert service.process.poll() is None


def test_a_variable_for_one_child_is_seen_by_it_alone(start: Callable[..., Service]) -> None:
    service = start("obey:variable", "finish")
    seen = {
        line.said["name"]: line.said["variable"] for line in (service.answer(), service.answer())
    }
    assert seen == {"obey": "yes", "finish": None}


@given(crashes=st.integers(1, 10_000), seed=st.integers())
def test_backoff_doubles_up_to_a_bound(crashes: int, seed: int) -> None:
    full = min(BACKOFF_SECONDS_MAX, 0.1 * 2 ** min(crashes - 1, 20))
    assert full / 2 <= backoff_seconds(crashes, rng=random.Random(seed)) <= full


def test_signals_are_told_by_name() -> None:
    assert exit_words(-signal.SIGSEGV) == "SIGSEGV"
    assert exit_words(1) == "exit code 1"
