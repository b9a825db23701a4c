"""A limit in time on a block, at a third of what ``asyncio.timeout`` costs."""

import asyncio
from types import TracebackType


class Deadline:
    """Cancels the block it holds once it has taken so many seconds; that raises ``TimeoutError``.

    Like ``asyncio.timeout``, which awaits on the way in and out; other cancellations pass.
    """

    __slots__ = ("_cancelling", "_handle", "_passed", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a deadline is for a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._passed = False
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        if not self._passed:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error
