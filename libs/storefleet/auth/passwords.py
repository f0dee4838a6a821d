"""Hash and verify passwords with argon2id.

Hashing is slow on purpose. It runs in threads, and verification for two sign-ins at a time, so
that it does not block the service.
"""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's second recommendation: 19 MiB, so that parallel sign-ins do not fill a small machine.
_PASSWORD_HASHER = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
_VERIFICATION_SLOTS = asyncio.Semaphore(2)

#: Verified for an unknown account, so that its response takes as long as that of a known one.
UNKNOWN_USER_HASH = _PASSWORD_HASHER.hash("nobody has this password")


async def hash_password(password: str) -> str:
    """Hash a password for storage."""
    return await asyncio.to_thread(_PASSWORD_HASHER.hash, password)


async def is_password_correct(password_hash: str, password: str) -> bool:
    """Verify a password against its stored hash."""

    def verify() -> bool:
        try:
            return _PASSWORD_HASHER.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async with _VERIFICATION_SLOTS:
        return await asyncio.to_thread(verify)
