"""Time as an argument: production has one clock, a test brings its own."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The only source of time in the house."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; for durations only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that a test moves by hand; sleeping moves it too."""

    def __init__(self, start_ns: int = 1_800_000_000_000_000_000) -> None:
        self._ns = start_ns

    def now_ns(self) -> int:
        return self._ns

    def monotonic(self) -> float:
        return self._ns / 1e9

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass."""
        self._ns += int(seconds * 1e9)
