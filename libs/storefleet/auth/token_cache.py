"""Callers who have just been looked up, for a moment, so that not each request of a program asks the database."""

import time
from collections.abc import Awaitable, Callable

from storefleet.core.models import Principal

_TTL_S = 1.0
_MAX_ENTRIES = 10_000


class PrincipalCache:
    """Forgets after a second, and at once when anything was revoked."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, Principal]] = {}
        self._revocations = 0

    async def get_or_load(
        self, key: bytes, load: Callable[[], Awaitable[Principal | None]]
    ) -> Principal | None:
        """The caller with this key, remembered or looked up."""
        until, caller = self._entries.get(key, (0.0, None))
        if caller is not None and time.monotonic() < until:
            return caller
        revocations = self._revocations
        caller = await load()
        if (
            caller is not None and revocations == self._revocations
        ):  # else it may have been read before it was revoked
            if len(self._entries) >= _MAX_ENTRIES:
                self._entries.clear()
            self._entries[key] = (time.monotonic() + _TTL_S, caller)
        return caller

    def clear(self) -> None:
        """Something was revoked, here or elsewhere."""
        self._revocations += 1
        self._entries.clear()
