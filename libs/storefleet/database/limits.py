"""Exact limits under parallel requests: the tenant's row is locked first, everything is counted after that."""

from typing import Any, NamedTuple

from storefleet.database.pool import Connection


class Room(NamedTuple):
    """`wait`: seconds until the rolling hour has room, None when it has; `full`: no live store more."""

    wait: float | None
    full: bool
    in_hour: int
    live: int


class Answer(NamedTuple):
    """What an idempotency key was answered."""

    request_hash: bytes
    body: dict[str, Any]


async def room(
    conn: Connection, *, tenant_id: str, per_hour: int, per_tenant: int, hold: bool
) -> Room:
    """Count both limits; with `hold` nobody else is admitted for this tenant until the transaction ends."""
    record = await conn.fetchrow(
        "SELECT in_hour, live, wait FROM tenant_room($1, $2, $3, $4)",
        tenant_id,
        per_hour,
        per_tenant,
        hold,
    )
    full_hour = record["in_hour"] >= per_hour
    wait = (record["wait"] if record["wait"] is not None else 3600.0) if full_hour else None
    return Room(wait, record["live"] >= per_tenant, record["in_hour"], record["live"])


async def find_answer(conn: Connection, *, scope: str, key: str) -> Answer | None:
    record = await conn.fetchrow(
        "SELECT request_hash, body FROM idempotency_keys WHERE scope = $1 AND key = $2"
        " AND created_at > now() - interval '1 day'",
        scope,
        key,
    )
    return Answer(bytes(record["request_hash"]), record["body"]) if record else None


async def keep_answer(
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
