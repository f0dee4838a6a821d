"""The event history: events in the order of their numbers, from which replays are served."""

from datetime import timedelta

from storefleet.core.models import Event
from storefleet.database.connection import Connection, Record, fetch_one
from storefleet.database.statements import load_statement

_COLUMNS = "id, seq, tenant_id, store_id, operation_id, type, time, data"
_PURGE = load_statement("purge_events")


class EventHistory:
    """Reads numbered events, and deletes old ones."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_last_seq(self) -> int:
        """Return the `seq` of the newest numbered event; 0 before the first one."""
        return int(await self._connection.fetchval("SELECT last_seq FROM relay"))

    async def read_bounds(self) -> tuple[int, int]:
        """Return the oldest `seq` that is kept and the newest one that was assigned."""
        record = await fetch_one(self._connection, "SELECT first_seq, last_seq FROM relay")
        return record["first_seq"], record["last_seq"]

    async def list_between(
        self, *, tenant_id: str | None, after: int, until: int, limit: int = 500
    ) -> list[Event]:
        """List events by number, oldest first.

        Args:
            tenant_id: Only events of this tenant; None for every tenant.
            after: Only events with a greater `seq`.
            until: Only events up to and including this `seq`.
            limit: Events per call.
        """
        records = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM events
            WHERE seq > $1 AND seq <= $2 AND ($3::text IS NULL OR tenant_id = $3)
            ORDER BY seq LIMIT $4""",
            after,
            until,
            tenant_id,
            limit,
        )
        return [_make_event(record) for record in records]

    async def list_of_store(
        self, *, tenant_id: str, store_id: str, limit: int, starting_after: str | None = None
    ) -> tuple[list[Event], bool]:
        """List a page of a store's events, newest first.

        Args:
            tenant_id: The tenant that must own the store.
            store_id: The store.
            limit: Events per page.
            starting_after: The id of the last event of the page before.

        Returns:
            The page, and whether there are more events after it.
        """
        records = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM events
            WHERE store_id = $1 AND tenant_id = $2
              AND ($3::text IS NULL OR seq < (
                  SELECT seq FROM events WHERE id = $3 AND store_id = $1))
            ORDER BY seq DESC LIMIT $4""",
            store_id,
            tenant_id,
            starting_after,
            limit + 1,
        )
        return [_make_event(record) for record in records[:limit]], len(records) > limit

    async def purge_published(self, *, retention: timedelta, limit: int = 50_000) -> int:
        """Delete published events older than `retention`, and record where the history starts.

        Returns:
            The number of deleted events, at most `limit`.
        """
        return int(await self._connection.fetchval(*_PURGE.bind(retention=retention, limit=limit)))


def _make_event(record: Record) -> Event:
    return Event.model_validate(dict(record))
