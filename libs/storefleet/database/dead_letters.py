"""What could not be done or read: kept, explained, replayable."""

from typing import Any

from storefleet.core.identifiers import DEAD_LETTER_PREFIX, generate_id
from storefleet.database import outbox
from storefleet.database.pool import Connection, Record

_COLUMNS = "id, tenant_id, store_id, operation_id, reason, detail, subject, payload, created_at, replayed_at"


async def add_dead_letter(
    conn: Connection,
    *,
    reason: str,
    detail: str,
    subject: str,
    payload: bytes,
    tenant_id: str | None = None,
    store_id: str | None = None,
    operation_id: str | None = None,
) -> str:
    """Write the letter and publish it; returns its id. `payload` is cut at 64 KiB."""
    letter_id = generate_id(DEAD_LETTER_PREFIX)
    await conn.execute(
        "INSERT INTO dead_letters (id, tenant_id, store_id, operation_id, reason, detail, subject, payload)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        letter_id,
        tenant_id,
        store_id,
        operation_id,
        reason,
        detail[:2000],
        subject[:500],
        payload[:65_536],
    )
    data: dict[str, Any] = {
        "reason": reason,
        "detail": detail[:2000],
        "subject": subject[:500],
        "store_id": store_id,
        "operation_id": operation_id,
    }
    await outbox.add_rows(conn, outbox.make_dead_letter(letter_id, reason, data))
    return letter_id


async def list_page(
    conn: Connection, *, tenant_id: str | None, limit: int, starting_after: str | None
) -> tuple[list[Record], bool]:
    """One tenant's, or (None) everybody's, newest first."""
    records = await conn.fetch(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR"
        " (created_at, id) < (SELECT created_at, id FROM dead_letters WHERE id = $2))"
        " ORDER BY created_at DESC, id DESC LIMIT $3",
        tenant_id,
        starting_after,
        limit + 1,
    )
    return records[:limit], len(records) > limit


async def find_dead_letter(
    conn: Connection, *, tenant_id: str | None, letter_id: str, lock: bool = False
) -> Record | None:
    record: Record | None = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE id = $1 AND ($2::text IS NULL OR tenant_id = $2)"
        f"{' FOR UPDATE' if lock else ''}",
        letter_id,
        tenant_id,
    )
    return record


async def mark_replayed(conn: Connection, letter_id: str) -> None:
    await conn.execute("UPDATE dead_letters SET replayed_at = now() WHERE id = $1", letter_id)
