"""Waiting for something that tells nobody when it happens."""

import time
from collections.abc import Callable


def wait_until(done: Callable[[], bool], timeout_s: float, *, interval_s: float = 0.02) -> bool:
    give_up = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > give_up:
            return False
        time.sleep(interval_s)
    return True
