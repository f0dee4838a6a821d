"""Wait for conditions that send no notification."""

import time
from collections.abc import Callable


def wait_until(done: Callable[[], bool], timeout_s: float, *, interval_s: float = 0.02) -> bool:
    """Poll `done` every `interval_s` seconds; return False after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True
