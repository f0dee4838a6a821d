"""Wait for a condition by polling."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    look: Callable[[], T | Awaitable[T]], *, within: float = 10, every: float = 0.02
) -> T:
    """Poll `look` until its result is true and return it; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        complaint: AssertionError | None = None
        found: T | None = None
        try:
            result = look()
            found = await result if inspect.isawaitable(result) else result
        except AssertionError as error:
            complaint = error
        if found:
            return found
        if time.monotonic() > deadline:
            raise complaint or AssertionError(f"not within {within} s; last seen: {found!r}")
        await asyncio.sleep(every)
