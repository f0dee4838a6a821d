"""Dead letters: messages that cannot be read and operations that reached their deadline."""

from datetime import datetime
from typing import Any, NamedTuple

from storefleet.core.identifiers import DEAD_LETTER_PREFIX, generate_id
from storefleet.database.connection import Connection
from storefleet.database.outbox_rows import make_dead_letter
from storefleet.database.repositories.outbox import OutboxRepository

_MAX_PAYLOAD_BYTES = 65_536
_MAX_DETAIL_CHARACTERS = 2000
_MAX_SUBJECT_CHARACTERS = 500


class DeadLetter(NamedTuple):
    """A dead letter, with its reason; `payload` contains the message's bytes."""

    id: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    reason: str
    detail: str
    subject: str
    payload: bytes
    created_at: datetime
    replayed_at: datetime | None


_COLUMNS = ", ".join(DeadLetter._fields)


class DeadLetterRepository:
    """Adds, reads and marks dead letters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = OutboxRepository(connection)

    async def add(
        self,
        *,
        reason: str,
        detail: str,
        subject: str,
        payload: bytes,
        tenant_id: str | None = None,
        store_id: str | None = None,
        operation_id: str | None = None,
    ) -> str:
        """Add a dead letter, and the message that publishes it.

        Args:
            reason: A short code, such as `exhausted`; the last part of the NATS subject.
            detail: The explanation, cut at 2000 characters.
            subject: The subject on which a replay publishes, cut at 500 characters.
            payload: The message, cut at 64 KiB; empty for an operation.
            tenant_id: The tenant, if it is known.
            store_id: The store, if it is known.
            operation_id: The operation that reached its deadline.

        Returns:
            The id of the dead letter.
        """
        letter_id = generate_id(DEAD_LETTER_PREFIX)
        detail, subject = detail[:_MAX_DETAIL_CHARACTERS], subject[:_MAX_SUBJECT_CHARACTERS]
        await self._connection.execute(
            """
            INSERT INTO dead_letters (
                id, tenant_id, store_id, operation_id, reason, detail, subject, payload)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
            letter_id,
            tenant_id,
            store_id,
            operation_id,
            reason,
            detail,
            subject,
            payload[:_MAX_PAYLOAD_BYTES],
        )
        data: dict[str, Any] = {
            "reason": reason,
            "detail": detail,
            "subject": subject,
            "store_id": store_id,
            "operation_id": operation_id,
        }
        await self._outbox.add(make_dead_letter(letter_id, reason, data))
        return letter_id

    async def list_page(
        self, *, tenant_id: str | None, limit: int, starting_after: str | None
    ) -> tuple[list[DeadLetter], bool]:
        """List a page of dead letters, newest first.

        Args:
            tenant_id: Only those of this tenant; None for every tenant.
            limit: Dead letters per page.
            starting_after: The id of the last dead letter of the page before.

        Returns:
            The page, and whether there are more dead letters after it.
        """
        records = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM dead_letters
            WHERE ($1::text IS NULL OR tenant_id = $1)
              AND ($2::text IS NULL OR (created_at, id) < (
                  SELECT created_at, id FROM dead_letters WHERE id = $2))
            ORDER BY created_at DESC, id DESC LIMIT $3""",
            tenant_id,
            starting_after,
            limit + 1,
        )
        return [DeadLetter(*record) for record in records[:limit]], len(records) > limit

    async def find(
        self, *, tenant_id: str | None, letter_id: str, lock: bool = False
    ) -> DeadLetter | None:
        """Find a dead letter of a tenant, or of any tenant when `tenant_id` is None."""
        record = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS} FROM dead_letters
            WHERE id = $1 AND ($2::text IS NULL OR tenant_id = $2)
            {"FOR UPDATE" if lock else ""}""",
            letter_id,
            tenant_id,
        )
        return DeadLetter(*record) if record else None

    async def mark_replayed(self, letter_id: str) -> None:
        """Record that a dead letter is replayed now."""
        await self._connection.execute(
            "UPDATE dead_letters SET replayed_at = now() WHERE id = $1", letter_id
        )
