"""The outbox and the relay's lease: messages that wait to be published.

An event moves to the event history when it gets its number; every other message stays in the outbox
until NATS has acknowledged it.
"""

from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.messages import make_event_subject
from storefleet.database.connection import Connection, Record
from storefleet.database.outbox_rows import MessageKind, OutboxRow, make_column_arguments
from storefleet.database.statements import load_statement

OUTBOX_CHANNEL = "storefleet_outbox"

_ADD_ROWS = load_statement("add_outbox_rows")


class PendingMessage(NamedTuple):
    """A message that is not published yet.

    An event has a `seq`, every other message a row `number`. `data` is JSON text, sent as it is.
    """

    number: int | None
    id: str
    kind: MessageKind
    subject: str
    type: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    time: Any
    data: str
    seq: int | None


class PublishedRows(NamedTuple):
    """What NATS has acknowledged: outbox rows by number, and every event up to `last_seq`."""

    row_numbers: tuple[int, ...] = ()
    last_seq: int = 0


class OutboxRepository:
    """Adds messages, and hands batches of them to the relay that holds the lease."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, *rows: OutboxRow) -> None:
        """Write messages in this order, and wake the relay when the transaction commits."""
        await self._connection.execute(*_ADD_ROWS.bind(**make_column_arguments(rows)))

    async def take_batch(
        self,
        *,
        owner: str,
        lease_duration: timedelta,
        batch_size: int,
        published: PublishedRows,
        sent_seq: int,
    ) -> list[PendingMessage] | None:
        """Record what was published, take or renew the relay's lease, and read the next batch.

        Events get their numbers here. All of it is one commit.

        Args:
            owner: The relay that takes the batch.
            lease_duration: How long the lease lasts from now.
            batch_size: Limit of events and of other messages, each.
            published: What NATS has acknowledged since the last call.
            sent_seq: The last event already sent; events up to it are left out.

        Returns:
            The next messages, or None when another relay holds the lease.
        """
        records = await self._connection.fetch(
            """
            SELECT held, number, id, kind, subject, type, tenant_id, store_id, operation_id, time,
                data::text, seq
            FROM relay_take($1, $2, $3, $4, $5, $6)""",
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

    async def release_lease(self, *, owner: str, published: PublishedRows) -> None:
        """Record what was published, and release the relay's lease if this owner holds it."""
        await self._connection.execute(
            "DELETE FROM outbox WHERE number = ANY($1)", published.row_numbers
        )
        await self._connection.execute(
            """
            UPDATE relay SET owner = NULL, lease_until = NULL,
                published_seq = greatest(published_seq, $2)
            WHERE owner = $1""",
            owner,
            published.last_seq,
        )

    async def read_lag(self) -> float:
        """Return the age in seconds of the oldest message that is not published; 0 without one."""
        return float(
            await self._connection.fetchval(
                """
                SELECT coalesce(extract(epoch FROM now() - least(
                    (SELECT min(time) FROM outbox),
                    (SELECT min(time) FROM events, relay WHERE seq > published_seq))), 0)"""
            )
        )


def _make_pending_message(record: Record) -> PendingMessage:
    _held, number, id_, kind, subject, type_, tenant_id, store_id, operation_id, time, data, seq = (
        record
    )
    if kind == "event":  # the event history does not store subjects
        subject = make_event_subject(tenant_id, store_id, type_)
    return PendingMessage(
        number, id_, kind, subject, type_, tenant_id, store_id, operation_id, time, data, seq
    )
