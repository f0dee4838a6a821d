"""The history of events, in the order of their numbers."""

from datetime import timedelta

from storefleet.core.models import Event
from storefleet.database.pool import Connection

_COLUMNS = "id, seq, tenant_id, store_id, operation_id, type, time, data"


async def read_last_seq(conn: Connection) -> int:
    return int(await conn.fetchval("SELECT last_seq FROM relay"))


async def read_bounds(conn: Connection) -> tuple[int, int]:
    """The oldest kept and the newest given number."""
    record = await conn.fetchrow("SELECT first_seq, last_seq FROM relay")
    return record["first_seq"], record["last_seq"]


async def list_between(
    conn: Connection, *, tenant_id: str | None, after: int, until: int, limit: int = 500
) -> list[Event]:
    """Events in (after, until], oldest first, of one tenant or (None) of all."""
    records = await conn.fetch(
        f"SELECT {_COLUMNS} FROM events WHERE seq > $1 AND seq <= $2 AND ($3::text IS NULL OR tenant_id = $3)"
        " ORDER BY seq LIMIT $4",
        after,
        until,
        tenant_id,
        limit,
    )
    return [Event.model_validate(dict(record)) for record in records]


async def list_store_events(
    conn: Connection,
    *,
    tenant_id: str,
    store_id: str,
    limit: int,
    starting_after: str | None = None,
) -> tuple[list[Event], bool]:
    """The store's events, newest first, and whether there are more."""
    records = await conn.fetch(
        f"SELECT {_COLUMNS} FROM events WHERE store_id = $1 AND tenant_id = $2 AND ($3::text IS NULL OR seq <"
        " (SELECT seq FROM events WHERE id = $3 AND store_id = $1)) ORDER BY seq DESC LIMIT $4",
        store_id,
        tenant_id,
        starting_after,
        limit + 1,
    )
    return [Event.model_validate(dict(record)) for record in records[:limit]], len(records) > limit


async def purge_published(conn: Connection, *, older_than: timedelta, limit: int = 50_000) -> int:
    """Forget published events of that age, and remember where the history begins now."""
    return int(
        await conn.fetchval(
            """
            WITH gone AS (DELETE FROM events WHERE seq IN (
                SELECT seq FROM events, relay WHERE time < now() - $1::interval AND seq <= published_seq LIMIT $2)
                RETURNING seq),
            moved AS (UPDATE relay SET first_seq = greatest(first_seq, (SELECT max(seq) + 1 FROM gone)) RETURNING 1)
            SELECT count(*) FROM gone""",
            older_than,
            limit,
        )
    )
