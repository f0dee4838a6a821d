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


async def test_slots_bound_tasks_and_wait_ends_when_one_is_free() -> None:
    slots = async_tasks.TaskSlots(2)
    release = asyncio.Event()

    async def work() -> None:
        await release.wait()

    slots.start(work())
    assert slots.free == 1
    slots.start(asyncio.sleep(60))
    assert slots.free == 0
    waiting = asyncio.create_task(slots.wait_for_next_scan(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    release.set()
    async with asyncio.timeout(10):
        await waiting
        assert slots.free == 1
        await slots.wait_for_next_scan(0.01)  # a slot is free: it waits for the interval only
        await slots.cancel()
    await asyncio.sleep(0)
    assert slots.free == 2
