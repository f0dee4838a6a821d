"""Exact limits under parallel requests: the tenant's row is locked first, everything is counted after that."""

from typing import Any, NamedTuple

from storefleet.database.pool import Connection


class TenantUsage(NamedTuple):
    """`wait`: seconds until the rolling hour has room, None when it has; `full`: no live store more."""

    retry_after_s: float | None
    is_full: bool
    created_in_hour: int
    live_stores: int


class StoredResponse(NamedTuple):
    """What an idempotency key was answered."""

    request_hash: bytes
    body: dict[str, Any]


async def read_usage(
    conn: Connection, *, tenant_id: str, per_hour: int, per_tenant: int, lock: bool
) -> TenantUsage:
    """Count both limits; with `hold` nobody else is admitted for this tenant until the transaction ends."""
    record = await conn.fetchrow(
        "SELECT in_hour, live, wait FROM tenant_room($1, $2, $3, $4)",
        tenant_id,
        per_hour,
        per_tenant,
        lock,
    )
    full_hour = record["in_hour"] >= per_hour
    wait = (record["wait"] if record["wait"] is not None else 3600.0) if full_hour else None
    return TenantUsage(wait, record["live"] >= per_tenant, record["in_hour"], record["live"])


async def find_response(conn: Connection, *, scope: str, key: str) -> StoredResponse | None:
    record = await conn.fetchrow(
        "SELECT request_hash, body FROM idempotency_keys WHERE scope = $1 AND key = $2"
        " AND created_at > now() - interval '1 day'",
        scope,
        key,
    )
    return StoredResponse(bytes(record["request_hash"]), record["body"]) if record else None


async def store_response(
    conn: Connection,
    *,
    scope: str,
    key: str,
    request_hash: bytes,
    location: str,
    body: dict[str, Any],
) -> None:
    await conn.execute(
        "INSERT INTO idempotency_keys (scope, key, request_hash, status, location, body)"
        " VALUES ($1, $2, $3, 202, $4, $5)"
        " ON CONFLICT (scope, key) DO UPDATE SET request_hash = excluded.request_hash, body = excluded.body,"
        " location = excluded.location, created_at = now()",
        scope,
        key,
        request_hash,
        location,
        body,
    )
