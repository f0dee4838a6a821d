"""Run a limited number of background tasks, and cancel tasks reliably."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

_RECANCEL_INTERVAL_S = 1.0


class TaskSlots:
    """Runs up to a number of tasks at once; each task handles its own errors."""

    def __init__(self, size: int) -> None:
        """Create free slots.

        Args:
            size: How many tasks may run at once.
        """
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self._size - len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task in a free slot."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_for_next_scan(self, interval_s: float) -> None:
        """Wait for the interval or, when every slot is taken, until one is free if that is sooner.

        Args:
            interval_s: Seconds between two scans for due work.
        """
        if self.free > 0:
            await asyncio.sleep(interval_s)
        else:
            await asyncio.wait(self._tasks, timeout=interval_s, return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self) -> None:
        """Cancel the tasks and wait until every one has ended."""
        await cancel_and_wait(self._tasks)


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any] | asyncio.Future[Any]]) -> None:
    """Cancel tasks, repeatedly if necessary, and wait until every one has ended.

    One cancellation is not always enough: up to Python 3.11 `asyncio.wait_for` ignores one that
    arrives together with its result (python/cpython#86296), and a task that calls it in a loop
    then runs on. Results and exceptions of the tasks are ignored.

    Args:
        tasks: The tasks; those that have ended already are left as they are.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_RECANCEL_INTERVAL_S)
