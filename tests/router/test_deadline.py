"""A deadline ends its own block and leaves every other cancellation alone."""

import asyncio

import pytest

from router.deadline import Deadline


async def test_a_block_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # the task itself goes on
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    with Deadline(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_a_block_that_raises_raises_its_own_error() -> None:
    with pytest.raises(KeyError), Deadline(10.0):
        raise KeyError


async def test_a_cancellation_from_outside_passes_through() -> None:
    began = asyncio.Event()

    async def work() -> None:
        with Deadline(10.0):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_meets_the_deadline_is_not_swallowed() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        with Deadline(0.0):
            asyncio.get_running_loop().call_later(0.0, task.cancel)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())


async def test_the_inner_of_two_deadlines_does_not_end_the_outer_block() -> None:
    with Deadline(10.0):
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
