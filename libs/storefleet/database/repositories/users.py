"""Users: people who sign in with an e-mail address and a password. Only hashes are stored."""

from typing import NamedTuple

from storefleet.database.connection import Connection, fetch_one


class User(NamedTuple):
    """A user's row, as signing in needs it."""

    id: str
    tenant_id: str
    password_hash: str


class UserRepository:
    """Adds and finds users by e-mail address, which is compared without regard to case."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self, *, user_id: str, tenant_id: str, email: str, password_hash: str, is_operator: bool
    ) -> None:
        """Add a user; call `lock_emails` and `email_exists` first."""
        await self._connection.execute(
            """
            INSERT INTO users (id, tenant_id, email, password_hash, operator)
            VALUES ($1, $2, $3, $4, $5)""",
            user_id,
            tenant_id,
            email,
            password_hash,
            is_operator,
        )

    async def lock_emails(self) -> None:
        """Let one transaction at a time add users, so that checking and adding are one step."""
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('storefleet accounts'))"
        )

    async def email_exists(self, email: str) -> bool:
        """Return whether a user has this e-mail address."""
        return bool(
            await self._connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM users WHERE lower(email) = lower($1))", email
            )
        )

    async def find(self, email: str) -> User | None:
        """Find a user by e-mail address."""
        record = await self._connection.fetchrow(
            "SELECT id, tenant_id, password_hash FROM users WHERE lower(email) = lower($1)", email
        )
        return User(*record) if record else None

    async def replace_password(self, *, email: str, password_hash: str) -> User:
        """Set a user's password, end its sessions and revoke its tokens.

        Raises:
            LookupError: No user has this e-mail address.
        """
        record = await fetch_one(
            self._connection,
            """
            UPDATE users SET password_hash = $2 WHERE lower(email) = lower($1)
            RETURNING id, tenant_id, password_hash""",
            email,
            password_hash,
        )
        user = User(*record)
        await self._connection.execute("DELETE FROM sessions WHERE user_id = $1", user.id)
        await self._connection.execute(
            "UPDATE tokens SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL",
            user.id,
        )
        return user
