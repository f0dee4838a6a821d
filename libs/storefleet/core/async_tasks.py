"""Cancel background tasks reliably."""

import asyncio
from collections.abc import Iterable
from typing import Any

_RECANCEL_INTERVAL_S = 1.0


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
