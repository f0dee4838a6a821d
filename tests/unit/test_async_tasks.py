"""Background tasks end even when they swallow a cancel."""

import asyncio

import pytest

from storefleet.core import async_tasks


async def deaf(times: int) -> None:
    """Swallow this many cancels, like a loop around a careless wait."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if times == 0:
                raise
            times -= 1


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_swallowed_cancel_is_repeated(times: int) -> None:
    work = [asyncio.create_task(deaf(times)), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await async_tasks.cancel_and_wait(work)
    assert all(task.cancelled() for task in work)


async def test_failed_and_finished_tasks_are_accepted() -> None:
    async def fail() -> None:
        raise ValueError("on purpose")

    work = [asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(work)
    await async_tasks.cancel_and_wait(work)
    assert isinstance(work[0].exception(), ValueError)


async def test_empty_task_list_is_accepted() -> None:
    await async_tasks.cancel_and_wait([])
