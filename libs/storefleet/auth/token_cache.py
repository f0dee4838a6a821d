"""A TTL cache of principals, so that not every request with a token queries the database."""

import time
from collections.abc import Awaitable, Callable

from storefleet.core.models import Principal

_TTL_S = 1.0
_MAX_ENTRIES = 10_000


class PrincipalCache:
    """Principals by the hash of their token, for a second each.

    `clear` empties it when a token was revoked. A principal that was being loaded meanwhile is not
    cached, because it may have been read before the revocation.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, Principal]] = {}
        self._revocations = 0

    async def get_or_load(
        self, token_hash: bytes, load: Callable[[], Awaitable[Principal | None]]
    ) -> Principal | None:
        """Get a principal from the cache, or load and cache it.

        Args:
            token_hash: The hash of the token.
            load: Reads the principal from the database.

        Returns:
            The principal; None when the token is not valid, which is never cached.
        """
        expires_at, principal = self._entries.get(token_hash, (0.0, None))
        if principal is not None and time.monotonic() < expires_at:
            return principal
        revocations = self._revocations
        principal = await load()
        if principal is not None and revocations == self._revocations:
            if len(self._entries) >= _MAX_ENTRIES:
                self._entries.clear()
            self._entries[token_hash] = (time.monotonic() + _TTL_S, principal)
        return principal

    def clear(self) -> None:
        """Empty the cache: a token was revoked, in this process or another."""
        self._revocations += 1
        self._entries.clear()
