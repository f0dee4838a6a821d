"""Tenants, their people, sessions and API tokens; only hashes of secrets are kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from storefleet.core.models import OWNER_SCOPES, Principal
from storefleet.database.pool import Connection, Record

_PRINCIPAL_COLUMNS = (
    "t.id AS tenant_id, t.name AS tenant_name, u.id AS user_id, u.email, u.operator"
)
SIGN_OUT_CHANNEL = "storefleet_sessions"


async def add_tenant(
    conn: Connection,
    *,
    tenant_id: str,
    name: str,
    user_id: str,
    email: str,
    password_hash: str,
    operator: bool,
) -> None:
    """A tenant and its owner; the driver's unique violation on the e-mail is the caller's to explain."""
    await conn.execute("INSERT INTO tenants (id, name) VALUES ($1, $2)", tenant_id, name)
    await conn.execute(
        "INSERT INTO users (id, tenant_id, email, password_hash, operator) VALUES ($1, $2, $3, $4, $5)",
        user_id,
        tenant_id,
        email,
        password_hash,
        operator,
    )


async def email_exists(conn: Connection, email: str) -> bool:
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT 1 FROM users WHERE lower(email) = lower($1))", email
        )
    )


async def find_tenant_id(conn: Connection, email: str) -> str | None:
    """The tenant of the account."""
    tenant_id: str | None = await conn.fetchval(
        "SELECT tenant_id FROM users WHERE lower(email) = lower($1)", email
    )
    return tenant_id


async def token_exists(conn: Connection, token_hash: bytes) -> bool:
    """Whether there was ever such a token."""
    return bool(
        await conn.fetchval("SELECT EXISTS (SELECT 1 FROM tokens WHERE hash = $1)", token_hash)
    )


async def find_password_hash(conn: Connection, email: str) -> Record | None:
    """`id, password_hash` of the account."""
    record: Record | None = await conn.fetchrow(
        "SELECT id, password_hash FROM users WHERE lower(email) = lower($1)", email
    )
    return record


async def read_sign_in_pause(
    conn: Connection, account: str, *, attempts: int, pause: timedelta
) -> float:
    """Seconds for which this account name has to wait; 0 when it may try."""
    return float(
        await conn.fetchval(
            "SELECT coalesce(max(extract(epoch FROM last_at + $3::interval - now())), 0) FROM sign_in_failures"
            " WHERE account = lower($1) AND failures >= $2 AND last_at + $3::interval > now()",
            account,
            attempts,
            pause,
        )
    )


async def count_sign_in_failure(conn: Connection, account: str, *, pause: timedelta) -> int:
    """One more, and how many that makes; the count begins anew when the last one is older than the pause."""
    return int(
        await conn.fetchval(
            "INSERT INTO sign_in_failures (account, failures, last_at) VALUES (lower($1), 1, now())"
            " ON CONFLICT (account) DO UPDATE SET last_at = now(), failures ="
            " CASE WHEN sign_in_failures.last_at + $2::interval < now() THEN 1 ELSE sign_in_failures.failures + 1 END"
            " RETURNING failures",
            account,
            pause,
        )
    )


async def clear_sign_in_failures(conn: Connection, account: str) -> None:
    await conn.execute("DELETE FROM sign_in_failures WHERE account = lower($1)", account)


async def add_session(
    conn: Connection, *, session_hash: bytes, user_id: str, csrf: str, lifetime: timedelta
) -> None:
    await conn.execute(
        "INSERT INTO sessions (hash, user_id, csrf, expires_at) VALUES ($1, $2, $3, now() + $4::interval)",
        session_hash,
        user_id,
        csrf,
        lifetime,
    )


async def delete_session(conn: Connection, session_hash: bytes) -> None:
    """Sign out, and tell the notifiers at once."""
    await conn.execute("DELETE FROM sessions WHERE hash = $1", session_hash)
    await conn.execute(
        f"SELECT pg_notify('{SIGN_OUT_CHANNEL}', $1)", f"session:{session_hash.hex()}"
    )


async def find_session_principal(conn: Connection, session_hash: bytes) -> Principal | None:
    record = await conn.fetchrow(
        f"SELECT {_PRINCIPAL_COLUMNS}, s.csrf FROM sessions s"
        " JOIN users u ON u.id = s.user_id JOIN tenants t ON t.id = u.tenant_id"
        " WHERE s.hash = $1 AND s.expires_at > now()",
        session_hash,
    )
    if record is None:
        return None
    scopes = {*OWNER_SCOPES, *(("operator",) if record["operator"] else ())}
    return Principal(**dict(record), scopes=frozenset(scopes), session_hash=session_hash)


async def add_token(
    conn: Connection,
    *,
    token_id: str,
    tenant_id: str,
    user_id: str,
    name: str,
    prefix: str,
    token_hash: bytes,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> Record:
    record: Record = await conn.fetchrow(
        "INSERT INTO tokens (id, tenant_id, user_id, name, prefix, hash, scopes, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " RETURNING id, name, prefix, scopes, created_at, expires_at, last_used_at",
        token_id,
        tenant_id,
        user_id,
        name,
        prefix,
        token_hash,
        list(scopes),
        expires_at,
    )
    return record


async def find_token_principal(conn: Connection, token_hash: bytes) -> Principal | None:
    record = await conn.fetchrow(
        f"SELECT {_PRINCIPAL_COLUMNS}, k.id AS token_id, k.scopes,"
        " k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'"
        " AS stale FROM tokens k JOIN users u ON u.id = k.user_id JOIN tenants t ON t.id = k.tenant_id"
        " WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())",
        token_hash,
    )
    if record is None:
        return None
    if record["stale"]:  # once a minute is exact enough, and keeps reads from writing
        await conn.execute(
            "UPDATE tokens SET last_used_at = now() WHERE id = $1", record["token_id"]
        )
    return Principal(**{**dict(record), "scopes": frozenset(record["scopes"])})


async def is_token_valid(conn: Connection, token_id: str) -> bool:
    return bool(
        await conn.fetchval(
            "SELECT true FROM tokens WHERE id = $1 AND revoked_at IS NULL"
            " AND (expires_at IS NULL OR expires_at > now())",
            token_id,
        )
    )


async def list_tokens(conn: Connection, *, tenant_id: str) -> list[dict[str, Any]]:
    return [
        dict(record)
        for record in await conn.fetch(
            "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at FROM tokens"
            " WHERE tenant_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC LIMIT 200",
            tenant_id,
        )
    ]


async def revoke_token(conn: Connection, *, tenant_id: str, token_id: str) -> bool:
    """Whether there was one; the notifiers hear of it."""
    hash_ = await conn.fetchval(
        "UPDATE tokens SET revoked_at = now() WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING hash",
        tenant_id,
        token_id,
    )
    if hash_ is not None:
        await conn.execute(f"SELECT pg_notify('{SIGN_OUT_CHANNEL}', $1)", f"token:{token_id}")
    return hash_ is not None


async def insert_audit_entry(
    conn: Connection,
    *,
    tenant_id: str,
    actor: str,
    action: str,
    target: str,
    request_id: str | None,
) -> None:
    await conn.execute(
        "INSERT INTO audit (tenant_id, actor, action, target, request_id) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        actor,
        action,
        target,
        request_id,
    )


async def purge_expired_access(conn: Connection) -> None:
    await conn.execute("DELETE FROM sessions WHERE expires_at < now() - interval '1 day'")
    await conn.execute("DELETE FROM sign_in_failures WHERE last_at < now() - interval '1 day'")
    await conn.execute("DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'")


async def lock_emails(conn: Connection) -> None:
    """One new account at a time, so that an e-mail is asked for and taken in one go."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('storefleet accounts'))")


async def replace_password(conn: Connection, *, email: str, password_hash: str) -> Record:
    """Set it, and end whatever was signed in with the old one; `id, tenant_id` of the account."""
    record: Record = await conn.fetchrow(
        "UPDATE users SET password_hash = $2 WHERE lower(email) = lower($1) RETURNING id, tenant_id",
        email,
        password_hash,
    )
    await conn.execute("DELETE FROM sessions WHERE user_id = $1", record["id"])
    await conn.execute(
        "UPDATE tokens SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL",
        record["id"],
    )
    return record
