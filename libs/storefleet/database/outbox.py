"""Rows on their way to the bus; an event leaves for the history (`events`) as soon as it has its number."""

import base64
from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.identifiers import COMMAND_PREFIX, EVENT_PREFIX, generate_id
from storefleet.core.messages import (
    DEAD_LETTER_SUBJECT_PREFIX,
    make_command_subject,
    make_event_subject,
)
from storefleet.core.models import Operation, Store, make_event_data
from storefleet.database.pool import Connection, Record

OUTBOX_CHANNEL = "storefleet_outbox"


class PendingMessage(NamedTuple):
    """What is to be published; `data` is JSON, as it is sent. An event has a `seq`, anything else a `number`."""

    number: int | None
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


class PublishedRows(NamedTuple):
    """What the bus has acknowledged: rows by number, and every event up to `until`."""

    row_numbers: tuple[int, ...] = ()
    last_seq: int = 0


class OutboxRow(NamedTuple):
    """A row to be: what `add` writes."""

    id: str
    kind: str
    subject: str
    type: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    data: dict[str, Any]


def make_event(event_type: str, store: Store, operation: Operation | None) -> OutboxRow:
    """A fact about the store, with its state and the operation's as they are now."""
    return OutboxRow(
        id=generate_id(EVENT_PREFIX),
        kind="event",
        subject=make_event_subject(store.tenant_id, store.id, event_type),
        type=event_type,
        tenant_id=store.tenant_id,
        store_id=store.id,
        operation_id=operation.id if operation else None,
        data=make_event_data(store, operation),
    )


def make_command(operation: Operation) -> OutboxRow:
    """A hint to the service that works on this kind of operation."""
    return OutboxRow(
        id=generate_id(COMMAND_PREFIX),
        kind="command",
        subject=make_command_subject(operation.kind, operation.store_id),
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


def make_dead_letter(letter_id: str, reason: str, data: dict[str, Any]) -> OutboxRow:
    return OutboxRow(
        letter_id,
        "dead_letter",
        f"{DEAD_LETTER_SUBJECT_PREFIX}.{reason}",
        "storefleet.dead_letter",
        None,
        None,
        None,
        data,
    )


def make_raw_message(message_id: str, subject: str, payload: bytes) -> OutboxRow:
    """Bytes that are sent again as they came."""
    data = {"base64": base64.b64encode(payload).decode()}
    return OutboxRow(message_id, "raw", subject, "storefleet.raw", None, None, None, data)


async def add_rows(conn: Connection, *rows: OutboxRow) -> None:
    """Write the rows, in this order, and wake the relay when the transaction commits."""
    await conn.execute(
        """
        WITH written AS (
            INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::json[]) RETURNING 1)
        SELECT pg_notify('storefleet_outbox', '') FROM written LIMIT 1""",
        *(list(column) for column in zip(*rows, strict=True)),
    )


async def take_batch(
    conn: Connection,
    *,
    owner: str,
    lease_duration: timedelta,
    batch_size: int,
    published: PublishedRows,
    sent_seq: int,
) -> list[PendingMessage] | None:
    """Note what was published; the next batch for the relay that holds the lease, events numbered, or None.

    Events up to `sent` are left out: they are on their way.
    """
    records = await conn.fetch(
        "SELECT held, number, id, kind, subject, type, tenant_id, store_id, operation_id, time, data::text, seq"
        " FROM relay_take($1, $2, $3, $4, $5, $6)",
        owner,
        lease_duration,
        batch_size,
        published.row_numbers,
        published.last_seq,
        sent_seq,
    )
    if records and not records[0]["held"]:
        return None
    return [_make_pending_message(record) for record in records]


async def release_lease(conn: Connection, *, owner: str, published: PublishedRows) -> None:
    """Note what was published, and let another one relay at once."""
    await conn.execute("DELETE FROM outbox WHERE number = ANY($1)", published.row_numbers)
    await conn.execute(
        "UPDATE relay SET owner = NULL, lease_until = NULL, published_seq = greatest(published_seq, $2)"
        " WHERE owner = $1",
        owner,
        published.last_seq,
    )


async def read_lag(conn: Connection) -> float:
    """Age of the oldest waiting row, seconds."""
    return float(
        await conn.fetchval(
            "SELECT coalesce(extract(epoch FROM now() - least((SELECT min(time) FROM outbox),"
            " (SELECT min(time) FROM events, relay WHERE seq > published_seq))), 0)"
        )
    )


def _make_pending_message(record: Record) -> PendingMessage:
    """An event's subject is made of its own fields."""
    _held, number, id_, kind, subject, type_, tenant_id, store_id, operation_id, time, data, seq = (
        record
    )
    if kind == "event":
        subject = make_event_subject(tenant_id, store_id, type_)
    return PendingMessage(
        number, id_, kind, subject, type_, tenant_id, store_id, operation_id, time, data, seq
    )
