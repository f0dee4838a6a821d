"""Waiting for something that tells nobody when it happens."""

import time
from collections.abc import Callable


def wait_until(done: Callable[[], bool], patience: float, *, pause: float = 0.02) -> bool:
    give_up = time.monotonic() + patience
    while not done():
        if time.monotonic() > give_up:
            return False
        time.sleep(pause)
    return True
