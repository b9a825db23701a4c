"""Somebody else's function, run in a thread with a time limit, in a bounded number of threads.

A Python thread cannot be stopped. One whose function overstays is abandoned and counted; when too
many are stuck, nothing more is started until one of them comes back. Threads are daemons, so a
stuck one does not keep the process from ending.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_LOG = logging.getLogger("tierwise.workers")


class TookTooLong(Exception):
    """The function has not returned in time; its thread is abandoned."""


class NoThread(Exception):
    """All threads are stuck, or busy for as long as the caller would wait."""


class Raised(Exception):
    """The function raised ``__cause__``, whatever that is: even an exit or a cancellation."""


class Workers:
    """At most ``running_max`` threads that are waited for and ``abandoned_max`` that are not."""

    def __init__(self, name: str, *, running_max: int = 16, abandoned_max: int = 4) -> None:
        self._name = name
        self._abandoned_max = abandoned_max
        self._room = asyncio.Semaphore(running_max)
        self._idle: list[_Worker] = []
        self._abandoned: set[_Worker] = set()

    @property
    def abandoned(self) -> int:
        """How many threads are stuck now."""
        return len(self._abandoned)

    async def run(self, function: Callable[[], T], *, seconds: float) -> T:
        """Return what ``function`` returns.

        Raises:
            Raised: from what the function raised.
            TookTooLong: not within ``seconds``.
            NoThread: it was not even started.
        """
        if len(self._abandoned) >= self._abandoned_max:
            raise NoThread(f"{self.abandoned} threads of {self._name} are stuck")
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        try:
            async with asyncio.timeout_at(ends):
                await self._room.acquire()
        except TimeoutError:
            raise NoThread(f"all threads of {self._name} are busy") from None
        try:
            return await self._run(function, ends, loop)
        finally:
            self._room.release()

    async def _run(
        self, function: Callable[[], T], ends: float, loop: asyncio.AbstractEventLoop
    ) -> T:
        worker = self._idle.pop() if self._idle else _Worker(self._name)
        done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def returned(result: Any, error: BaseException | None) -> None:
            if worker in self._abandoned:
                self._abandoned.discard(worker)
                _LOG.warning("%s: a stuck thread came back, %d left", self._name, self.abandoned)
            self._idle.append(worker)
            if not done.done():
                done.set_result((result, error))

        worker.jobs.put((function, returned, loop))
        try:
            async with asyncio.timeout_at(ends):
                result, error = await done
        except BaseException as error:
            if not done.done() or done.cancelled():
                self._abandon(worker)
            if isinstance(error, TimeoutError):
                raise TookTooLong(self._name) from None
            raise
        if error is not None:
            raise Raised(type(error).__name__) from error
        return result  # type: ignore[no-any-return]

    def _abandon(self, worker: "_Worker") -> None:
        self._abandoned.add(worker)
        _LOG.warning(
            "%s did not return in time; %d of at most %d threads are stuck",
            self._name,
            self.abandoned,
            self._abandoned_max,
        )
        if self.abandoned >= self._abandoned_max:
            _LOG.error("%s is disabled until one of its stuck threads comes back", self._name)

    def close(self) -> None:
        """Let idle threads end; safe to call twice."""
        while self._idle:
            self._idle.pop().jobs.put(None)


class _Worker:
    """One daemon thread with its own queue."""

    def __init__(self, name: str) -> None:
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._loop, name=f"tierwise-{name}", daemon=True).start()

    def _loop(self) -> None:
        while (job := self.jobs.get()) is not None:
            function, returned, loop = job
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # noqa: BLE001 - goes on as `Raised`, even an exit
                error = raised
            try:
                loop.call_soon_threadsafe(returned, result, error)
            except RuntimeError:  # the loop ended meanwhile; nobody waits any more
                return
            del function, returned, result, error, job
