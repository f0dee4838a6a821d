"""Callers who have just been looked up, for a moment, so that not each request of a program asks the database."""

import time
from collections.abc import Awaitable, Callable

from storefleet.core.models import Caller

_LASTS = 1.0
_MOST = 10_000


class Remembered:
    """Forgets after a second, and at once when anything was revoked."""

    def __init__(self) -> None:
        self._callers: dict[bytes, tuple[float, Caller]] = {}
        self._revocations = 0

    async def find(
        self, key: bytes, look_up: Callable[[], Awaitable[Caller | None]]
    ) -> Caller | None:
        """The caller with this key, remembered or looked up."""
        until, caller = self._callers.get(key, (0.0, None))
        if caller is not None and time.monotonic() < until:
            return caller
        revocations = self._revocations
        caller = await look_up()
        if (
            caller is not None and revocations == self._revocations
        ):  # else it may have been read before it was revoked
            if len(self._callers) >= _MOST:
                self._callers.clear()
            self._callers[key] = (time.monotonic() + _LASTS, caller)
        return caller

    def forget(self) -> None:
        """Something was revoked, here or elsewhere."""
        self._revocations += 1
        self._callers.clear()
