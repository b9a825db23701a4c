"""Work that nobody waits for: so much at once, so much that waits, called off at the end."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """Things to be worked on, each by a task of its own."""

    def __init__(
        self, work: Callable[[T], Coroutine[Any, Any, None]], *, running_max: int, waiting_max: int
    ) -> None:
        """``work`` is called for each thing and must see to its own failures."""
        self._work = work
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._waiting: deque[T] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self.closed = False

    def put(self, thing: T) -> bool:
        """Work on ``thing`` now or later; False when there is no room for it, or no time."""
        if self.closed:
            return False
        if len(self._running) < self._running_max:
            self._begin(thing)
        elif len(self._waiting) < self._waiting_max:
            self._waiting.append(thing)
        else:
            return False
        return True

    async def close(self) -> None:
        """Call off what runs and forget what waits."""
        self.closed = True
        self._waiting.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, thing: T) -> None:
        task = asyncio.create_task(self._work(thing))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not self.closed:
            self._begin(self._waiting.popleft())
