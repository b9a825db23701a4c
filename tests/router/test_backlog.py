"""Work that nobody waits for: its limits, its order, and its end."""

import asyncio

from router.backlog import Backlog
from tests.harness import until


async def test_so_much_runs_so_much_waits_and_what_waited_longest_is_next() -> None:
    begun: list[int] = []
    gates = [asyncio.Event() for _ in range(5)]

    async def work(number: int) -> None:
        begun.append(number)
        await gates[number].wait()

    backlog = Backlog(work, running_max=2, waiting_max=2)
    assert [backlog.put(number) for number in range(5)] == [True] * 4 + [False]
    await until(lambda: begun == [0, 1], what="the first two")
    gates[1].set()
    await until(lambda: begun == [0, 1, 2], what="the one that waited longest")
    assert backlog.put(4)
    await backlog.close()
    assert begun == [0, 1, 2]
    assert not backlog.put(3)


async def test_one_that_fails_makes_room_for_the_next() -> None:
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        raise ValueError(number)

    backlog = Backlog(work, running_max=1, waiting_max=1)
    assert backlog.put(0)
    assert backlog.put(1)
    await until(lambda: begun == [0, 1], what="the second")
    await backlog.close()
