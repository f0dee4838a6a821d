"""Ending background work for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

_RECANCEL_INTERVAL_S = 1.0


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any] | asyncio.Future[Any]]) -> None:
    """Cancel until everything has ended, however it ends.

    A library's `asyncio.wait_for` (Python 3.11) may swallow a cancel that comes together with its result; a loop around
    it would go on, and whoever waits for it would wait for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_RECANCEL_INTERVAL_S)
