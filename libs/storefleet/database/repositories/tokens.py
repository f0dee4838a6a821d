"""API tokens: credentials of programs, with scopes. Only hashes of their secrets are stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from storefleet.core.models import Principal
from storefleet.database.connection import Connection, fetch_one
from storefleet.database.repositories.sessions import SIGN_OUT_CHANNEL


class ApiToken(NamedTuple):
    """A token without its secret; `prefix` is the start of the secret, to recognise it."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


_COLUMNS = ", ".join(ApiToken._fields)
_IS_VALID = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"


class TokenRepository:
    """Adds, finds and revokes API tokens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self,
        *,
        token_id: str,
        tenant_id: str,
        user_id: str,
        name: str,
        prefix: str,
        token_hash: bytes,
        scopes: Sequence[str],
        expires_at: datetime | None,
    ) -> ApiToken:
        """Add a token; `expires_at` None means that it does not expire."""
        record = await fetch_one(
            self._connection,
            f"""
            INSERT INTO tokens (id, tenant_id, user_id, name, prefix, hash, scopes, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            RETURNING {_COLUMNS}""",
            token_id,
            tenant_id,
            user_id,
            name,
            prefix,
            token_hash,
            list(scopes),
            expires_at,
        )
        return ApiToken(*record)

    async def exists(self, token_hash: bytes) -> bool:
        """Return whether there is such a token, revoked or not."""
        return bool(
            await self._connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM tokens WHERE hash = $1)", token_hash
            )
        )

    async def find_principal(self, token_hash: bytes) -> Principal | None:
        """Find the principal of a valid token, and record that the token is used."""
        record = await self._connection.fetchrow(
            """
            SELECT t.id AS tenant_id, t.name AS tenant_name, u.id AS user_id, u.email, u.operator,
                k.id AS token_id, k.scopes,
                k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS is_stale
            FROM tokens k
            JOIN users u ON u.id = k.user_id
            JOIN tenants t ON t.id = k.tenant_id
            WHERE k.hash = $1 AND k.revoked_at IS NULL
              AND (k.expires_at IS NULL OR k.expires_at > now())""",
            token_hash,
        )
        if record is None:
            return None
        if record["is_stale"]:  # one write a minute is exact enough, and keeps reads from writing
            await self._connection.execute(
                "UPDATE tokens SET last_used_at = now() WHERE id = $1", record["token_id"]
            )
        return Principal(**{**dict(record), "scopes": frozenset(record["scopes"])})

    async def is_valid(self, token_id: str) -> bool:
        """Return whether a token is neither revoked nor expired."""
        return bool(
            await self._connection.fetchval(
                f"SELECT true FROM tokens WHERE id = $1 AND {_IS_VALID}", token_id
            )
        )

    async def list_of_tenant(self, tenant_id: str) -> list[ApiToken]:
        """List a tenant's tokens that are not revoked, newest first, at most 200."""
        records = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM tokens WHERE tenant_id = $1 AND revoked_at IS NULL
            ORDER BY created_at DESC LIMIT 200""",
            tenant_id,
        )
        return [ApiToken(*record) for record in records]

    async def revoke(self, *, tenant_id: str, token_id: str) -> bool:
        """Revoke a tenant's token; open websockets are closed when the transaction commits.

        Returns:
            False when the tenant has no such token, or it is revoked already.
        """
        revoked = await self._connection.fetchval(
            """
            UPDATE tokens SET revoked_at = now()
            WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
            RETURNING true""",
            tenant_id,
            token_id,
        )
        if revoked:
            await self._connection.execute(
                f"SELECT pg_notify('{SIGN_OUT_CHANNEL}', $1)", f"token:{token_id}"
            )
        return bool(revoked)
