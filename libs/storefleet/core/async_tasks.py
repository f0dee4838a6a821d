"""Cancel background tasks reliably."""

import asyncio
from collections.abc import Iterable
from typing import Any

_RECANCEL_INTERVAL_S = 1.0


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any] | asyncio.Future[Any]]) -> None:
    """Cancel tasks, repeatedly if necessary, and wait until every one has ended.

    In Python 3.11 `asyncio.wait_for` may swallow a cancellation that arrives together with its
    result. A loop around it continues, and waiting for the task after a single cancel would never
    return. Results and exceptions of the tasks are ignored.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_RECANCEL_INTERVAL_S)
