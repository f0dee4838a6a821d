"""Sessions: a user signed in with a browser. The cookie's value is stored as a hash only."""

from datetime import timedelta

from storefleet.core.models import OWNER_SCOPES, Principal
from storefleet.database.connection import Connection

#: Payloads name credentials that have become invalid: `session:<hash in hex>` or `token:<id>`.
SIGN_OUT_CHANNEL = "storefleet_sessions"


class SessionRepository:
    """Adds, finds and ends sessions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self, *, session_hash: bytes, user_id: str, csrf: str, lifetime: timedelta
    ) -> None:
        """Add a session that expires after `lifetime`."""
        await self._connection.execute(
            """
            INSERT INTO sessions (hash, user_id, csrf, expires_at)
            VALUES ($1, $2, $3, now() + $4::interval)""",
            session_hash,
            user_id,
            csrf,
            lifetime,
        )

    async def delete(self, session_hash: bytes) -> None:
        """End a session; open websockets are closed when the transaction commits."""
        await self._connection.execute("DELETE FROM sessions WHERE hash = $1", session_hash)
        await self._connection.execute(
            f"SELECT pg_notify('{SIGN_OUT_CHANNEL}', $1)", f"session:{session_hash.hex()}"
        )

    async def find_principal(self, session_hash: bytes) -> Principal | None:
        """Find the user of a session that has not expired, with all scopes of an owner."""
        record = await self._connection.fetchrow(
            """
            SELECT t.id AS tenant_id, t.name AS tenant_name, u.id AS user_id, u.email, u.operator,
                s.csrf
            FROM sessions s
            JOIN users u ON u.id = s.user_id
            JOIN tenants t ON t.id = u.tenant_id
            WHERE s.hash = $1 AND s.expires_at > now()""",
            session_hash,
        )
        if record is None:
            return None
        scopes: set[str] = set(OWNER_SCOPES)
        if record["operator"]:
            scopes.add("operator")
        return Principal(**dict(record), scopes=frozenset(scopes), session_hash=session_hash)

    async def purge_expired(self) -> None:
        """Delete sessions that expired more than a day ago."""
        await self._connection.execute(
            "DELETE FROM sessions WHERE expires_at < now() - interval '1 day'"
        )
