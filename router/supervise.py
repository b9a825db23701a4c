"""One parent that starts, watches, restarts and ends the processes that serve.

The parent holds the listening sockets, so no connection is lost while a worker restarts; it opens
no file of theirs and runs none of their code. A child ends when its parent does, however the
parent ended: it watches the pipe that multiprocessing keeps between the two.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from router.child import CONFIG_EXIT, HELD, KILL_SECONDS, be_child
from telemetry.clock import Clock
from telemetry.errors import ConfigError, TierwiseError

SPAWN = multiprocessing.get_context("spawn")
STEADY_SECONDS = 10.0  # a child that lived so long has started well: its crashes count anew
CRASHES_MAX = 5  # in a row, by every essential child, before the whole gives up
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 30.0
PROBE_SECONDS = 0.05  # between two questions whether the service is ready
HURRY_SECONDS = 1.0  # one wish may arrive twice: for the process, then for its group


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """One process to keep running.

    ``run`` is importable by name and returns an exit code. The whole gives up when every essential
    child crashes again and again; others may be away for ever.
    """

    name: str
    run: Callable[..., int]
    arguments: tuple[Any, ...] = ()
    essential: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 0.0  # after SIGTERM, for what it holds to finish


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a child or to the whole, for people and for logs."""

    kind: str  # started, exited, restarting, reloading, ready, draining, killed, stopped
    name: str = ""  # the child; empty for the whole
    pid: int | None = None
    exit_code: int | None = None  # negative: the signal that ended it
    wait_seconds: float | None = None
    restarts_count: int | None = None  # of all children since the start
    message: str = ""


@dataclass(kw_only=True, slots=True)
class _Running:
    """What the parent knows of one child."""

    child: Child
    process: SpawnProcess | None = None
    report: "connection.Connection[None, tuple[str, str]] | None" = None
    started_at: float = 0.0
    due_at: float | None = 0.0  # when to start it; None while it runs
    crashes: int = 0  # in a row, without a steady run between
    fault: tuple[str, str] | None = None  # message and hint of its last ConfigError
    exit_code: int | None = None
    pid: int | None = None  # of its last process


def backoff_seconds(crashes: int, *, rng: random.Random) -> float:
    """Return how long to wait before the restart after so many crashes in a row (1 or more).

    Doubling from 0.1 s to at most 30 s, then drawn from its upper half, so that children that
    crash together do not return together.
    """
    full = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(crashes - 1, 32))
    return full * rng.uniform(0.5, 1.0)


class Supervisor:
    """Keeps ``children`` running until a signal, then ends them in order.

    Essential children end first; the others outlive them, so that what draining ones still send
    is received. Only the main thread may run it, because it owns the process's signals.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        listeners: Sequence[socket.socket] = (),
        ready: Callable[[], bool],
        tell: Callable[[Event], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """``listeners`` are closed here when draining begins; ``ready`` must answer quickly."""
        self._running = [_Running(child=child) for child in children]
        self._listeners = listeners
        self._ready = ready
        self._tell = tell
        self._clock = clock
        self._rng = rng
        self._is_ready = False
        self._draining_since = 0.0
        self._signals: list[int] = []  # at most a handful: emptied at every turn
        self._restarts_count = 0

    def run(self) -> int:
        """Serve until SIGTERM (returns 0) or SIGINT (returns 130); SIGHUP goes to every child.

        Returns 1 when a child had to be killed because it did not end in time.

        Raises:
            ConfigError: when the children refuse the configuration every time they start.
            TierwiseError: when they never start for another reason.
        """
        with self._signals_caught() as wakeup:
            try:
                ending = self._serve(wakeup)
            except BaseException:
                self._drain(wakeup)
                raise
            self._tell(Event(kind="draining", message=signal.Signals(ending).name))
            clean = self._drain(wakeup)
            self._tell(Event(kind="stopped"))
        if not clean:
            return 1
        return 130 if ending == signal.SIGINT else 0

    def _serve(self, wakeup: socket.socket) -> int:
        """Start and restart children; return the signal that asks for the end."""
        while True:
            self._start_due()
            self._wait(wakeup, self._until_next())
            for number in self._taken_signals():
                if number != signal.SIGHUP:
                    return number
                self._tell(Event(kind="reloading"))
                self._send(signal.SIGHUP, self._running)
            exits = [self._plan_restart(one) for one in self._reaped()]
            self._give_up_if_hopeless()
            for event in exits:
                self._tell(event)
            if not self._is_ready and self._ready():
                self._is_ready = True
                self._tell(Event(kind="ready"))

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        for one in self._running:
            if one.due_at is not None and one.due_at <= now:
                self._start(one)

    def _start(self, one: _Running) -> None:
        receiver, sender = SPAWN.Pipe(duplex=False)
        child = one.child
        process = SPAWN.Process(
            target=be_child,
            name=child.name,
            args=(child.run, child.arguments, sender, child.drain_seconds),
        )
        one.started_at = self._clock.monotonic()
        try:
            with sender, _environment(child.environment), _held(HELD):
                process.start()
        except OSError as error:  # no more processes or files just now
            receiver.close()
            one.fault, one.exit_code = (f"cannot start: {error.strerror or error}", ""), None
            self._tell(self._plan_restart(one))
            return
        one.process, one.report, one.pid = process, receiver, process.pid
        one.due_at = None
        self._tell(Event(kind="started", name=child.name, pid=one.pid))

    def _until_next(self) -> float | None:
        """Return seconds until something is due, or None when only an event can matter."""
        now = self._clock.monotonic()
        waits = [max(0.0, one.due_at - now) for one in self._running if one.due_at is not None]
        if not self._is_ready:
            waits.append(PROBE_SECONDS)
        return min(waits) if waits else None

    def _wait(self, wakeup: socket.socket, seconds: float | None) -> None:
        """Return when a signal came, a child ended, or the time is over."""
        ends = [one.process.sentinel for one in self._running if one.process is not None]
        if wakeup in connection.wait([wakeup, *ends], seconds):
            wakeup.recv(4_096)

    def _taken_signals(self) -> list[int]:
        taken, self._signals = self._signals, []
        return taken

    def _reaped(self) -> list[_Running]:
        """Return the children that have ended since the last look, their last words read."""
        ended = []
        for one in self._running:
            process = one.process
            if process is None or process.exitcode is None:
                continue
            one.exit_code = process.exitcode
            one.fault = _last_words(one.report)
            process.close()
            one.process = one.report = None
            ended.append(one)
        return ended

    def _plan_restart(self, one: _Running) -> Event:
        now = self._clock.monotonic()
        if now - one.started_at >= STEADY_SECONDS:
            one.crashes = 0
        one.crashes += 1
        self._restarts_count += 1
        wait = backoff_seconds(one.crashes, rng=self._rng)
        one.due_at = now + wait
        return Event(
            kind="exited",
            name=one.child.name,
            pid=one.pid,
            exit_code=one.exit_code,
            wait_seconds=wait,
            restarts_count=self._restarts_count,
            message="; ".join(filter(None, one.fault or ())),
        )

    def _give_up_if_hopeless(self) -> None:
        """Raise once every essential child has crashed at its start too often.

        A service that was ready once goes on trying, unless its configuration is refused: what
        broke it may heal, a wrong file does not. While one worker serves, nothing is hopeless.
        """
        essential = [one for one in self._running if one.child.essential]
        if not essential or any(one.crashes < CRASHES_MAX for one in essential):
            return
        refused = [one for one in essential if one.exit_code == CONFIG_EXIT]
        if refused:
            message, hint = refused[0].fault or (
                f"{refused[0].child.name} refuses its configuration",
                "its own message stands above",
            )
            raise ConfigError(message, hint=hint)
        if not self._is_ready:
            one = essential[0]
            message, hint = one.fault or (exit_words(one.exit_code), "its own log stands above")
            raise TierwiseError(
                f"{one.child.name} ended {one.crashes} times while starting: {message}", hint=hint
            )

    def _drain(self, wakeup: socket.socket) -> bool:
        """End all children, essential ones first; say whether each ended by itself."""
        for listener in self._listeners:
            listener.close()
        self._draining_since = self._clock.monotonic()
        clean = True
        for essential in (True, False):
            group = [one for one in self._running if one.child.essential is essential]
            clean = self._end(group, wakeup) and clean
        return clean

    def _end(self, group: Sequence[_Running], wakeup: socket.socket) -> bool:
        for one in group:
            one.due_at = None
        self._send(signal.SIGTERM, group)
        drain = max((one.child.drain_seconds for one in group), default=0.0)
        deadline = self._clock.monotonic() + drain + KILL_SECONDS
        while any(one.process is not None for one in group):
            left = deadline - self._clock.monotonic()
            if left <= 0 or self._hurried():
                break
            self._wait(wakeup, left)
            self._reaped()
        late = [one for one in group if one.process is not None]
        for one in late:
            assert one.process is not None
            self._tell(Event(kind="killed", name=one.child.name, pid=one.process.pid))
            one.process.kill()
            one.process.join()
        self._reaped()
        return not late

    def _hurried(self) -> bool:
        """Say whether another signal asks for the end, some time after the first did."""
        again = any(number != signal.SIGHUP for number in self._taken_signals())
        return again and self._clock.monotonic() - self._draining_since >= HURRY_SECONDS

    def _send(self, number: int, group: Sequence[_Running]) -> None:
        for one in group:
            if one.process is not None and one.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.process.pid, number)

    @contextlib.contextmanager
    def _signals_caught(self) -> Iterator[socket.socket]:
        """Catch the signals that a supervisor obeys; the socket wakes whoever waits on it."""
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        before = {
            number: signal.signal(number, lambda number, _: self._signals.append(number))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        fd_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            receiver.close()
            sender.close()


def exit_words(exit_code: int | None) -> str:
    """Return an exit code in words.

    >>> exit_words(-9), exit_words(2)
    ('SIGKILL', 'exit code 2')
    """
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _last_words(
    report: "connection.Connection[None, tuple[str, str]] | None",
) -> tuple[str, str] | None:
    if report is None:
        return None
    with report:
        try:
            return report.recv() if report.poll() else None
        except EOFError:
            return None


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Let a child inherit variables that the parent and its other children must not see."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _held(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """Hold signals back; a child that is started meanwhile begins with them held."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
