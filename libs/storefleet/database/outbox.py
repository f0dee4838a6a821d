"""Rows on their way to the bus, and the history of events that stays behind."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.database.pool import Connection, Record
from storefleet.identifiers import COMMAND, EVENT, new_id
from storefleet.messages import DEAD_SUBJECT, command_subject, event_subject
from storefleet.models import Event, Operation, Store, event_data

CHANNEL = "storefleet_outbox"


class Waiting(NamedTuple):
    """A row that is to be published; `data` is JSON, as it is sent."""

    number: int
    id: str
    kind: str
    subject: str
    type: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    time: Any
    data: str
    seq: int | None


class Draft(NamedTuple):
    """A row to be: what `add` writes."""

    id: str
    kind: str
    subject: str
    type: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    data: dict[str, Any]


def event(event_type: str, store: Store, operation: Operation | None) -> Draft:
    """A fact about the store, with its state and the operation's as they are now."""
    return Draft(
        id=new_id(EVENT),
        kind="event",
        subject=event_subject(store.tenant_id, store.id, event_type),
        type=event_type,
        tenant_id=store.tenant_id,
        store_id=store.id,
        operation_id=operation.id if operation else None,
        data=event_data(store, operation),
    )


def command(operation: Operation) -> Draft:
    """A hint to the service that works on this kind of operation."""
    return Draft(
        id=new_id(COMMAND),
        kind="command",
        subject=command_subject(operation.kind, operation.store_id),
        type=f"storefleet.{operation.kind}",
        tenant_id=operation.tenant_id,
        store_id=operation.store_id,
        operation_id=operation.id,
        data={
            "operation_id": operation.id,
            "store_id": operation.store_id,
            "kind": operation.kind,
            "request_id": operation.request_id,
        },
    )


def dead_letter(letter_id: str, reason: str, data: dict[str, Any]) -> Draft:
    return Draft(letter_id, "dead_letter", f"{DEAD_SUBJECT}.{reason}", "storefleet.dead_letter", None, None, None, data)


def raw(message_id: str, subject: str, payload: bytes) -> Draft:
    """Bytes that are sent again as they came."""
    data = {"base64": base64.b64encode(payload).decode()}
    return Draft(message_id, "raw", subject, "storefleet.raw", None, None, None, data)


async def add(conn: Connection, *drafts: Draft) -> None:
    """Write the rows, in this order, and wake the relay when the transaction commits."""
    await conn.execute(
        """
        WITH written AS (
            INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::jsonb[]) RETURNING 1)
        SELECT pg_notify('storefleet_outbox', '') FROM written LIMIT 1""",
        *(list(column) for column in zip(*drafts, strict=True)),
    )


async def take(
    conn: Connection, *, owner: str, lease: timedelta, batch: int, published: Sequence[int]
) -> list[Waiting] | None:
    """Mark what was published; the next batch for the relay that holds the lease, events numbered, or None."""
    records = await conn.fetch(
        "SELECT held, number, id, kind, subject, type, tenant_id, store_id, operation_id, time, data::text, seq"
        " FROM relay_take($1, $2, $3, $4)",
        owner,
        lease,
        batch,
        list(published),
    )
    if records and not records[0]["held"]:
        return None
    return [_waiting(record) for record in records]


async def release(conn: Connection, *, owner: str, published: Sequence[int]) -> None:
    """Mark what was published, and let another one relay at once."""
    await conn.execute("UPDATE outbox SET published_at = now() WHERE number = ANY($1)", list(published))
    await conn.execute("UPDATE relay SET owner = NULL, lease_until = NULL WHERE owner = $1", owner)


async def lag(conn: Connection) -> float:
    """Age of the oldest waiting row, seconds."""
    return float(
        await conn.fetchval(
            "SELECT coalesce(extract(epoch FROM now() - min(time)), 0) FROM"
            " (SELECT time FROM outbox WHERE published_at IS NULL ORDER BY number LIMIT 1) oldest"
        )
    )


async def last_seq(conn: Connection) -> int:
    return int(await conn.fetchval("SELECT last_seq FROM relay"))


async def bounds(conn: Connection) -> tuple[int, int]:
    """The oldest kept and the newest given number."""
    record = await conn.fetchrow("SELECT first_seq, last_seq FROM relay")
    return record["first_seq"], record["last_seq"]


async def between(conn: Connection, *, tenant_id: str | None, after: int, until: int, limit: int = 500) -> list[Event]:
    """Numbered events in (after, until], oldest first, of one tenant or (None) of all."""
    records = await conn.fetch(
        "SELECT id, seq, tenant_id, store_id, operation_id, type, time, data FROM outbox WHERE kind = 'event'"
        " AND seq > $1 AND seq <= $2 AND ($3::text IS NULL OR tenant_id = $3) ORDER BY seq LIMIT $4",
        after,
        until,
        tenant_id,
        limit,
    )
    return [Event.model_validate(dict(record)) for record in records]


async def of_store(
    conn: Connection, *, tenant_id: str, store_id: str, limit: int, starting_after: str | None = None
) -> tuple[list[Event], bool]:
    """The store's events, newest first, and whether there are more."""
    records = await conn.fetch(
        "SELECT id, seq, tenant_id, store_id, operation_id, type, time, data FROM outbox WHERE kind = 'event'"
        " AND store_id = $1 AND tenant_id = $2 AND ($3::text IS NULL OR number <"
        " (SELECT number FROM outbox WHERE id = $3 AND store_id = $1)) ORDER BY number DESC LIMIT $4",
        store_id,
        tenant_id,
        starting_after,
        limit + 1,
    )
    return [Event.model_validate(dict(record)) for record in records[:limit]], len(records) > limit


async def purge(conn: Connection, *, older_than: timedelta) -> int:
    """Forget published rows of that age, and remember where the history begins now."""
    return int(
        await conn.fetchval(
            """
            WITH old AS (SELECT number FROM outbox WHERE published_at IS NOT NULL AND time < now() - $1::interval
                ORDER BY time LIMIT 5000),
            gone AS (DELETE FROM outbox USING old WHERE outbox.number = old.number RETURNING seq),
            moved AS (UPDATE relay SET first_seq = greatest(first_seq, (SELECT max(seq) + 1 FROM gone)) RETURNING 1)
            SELECT count(*) FROM gone""",
            older_than,
        )
    )


def _waiting(message: Record) -> Waiting:
    return Waiting(*(message[field] for field in Waiting._fields))
