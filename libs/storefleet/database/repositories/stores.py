"""Rows of stores. Every read on behalf of a person is limited to that person's tenant."""

from datetime import timedelta
from typing import Any

from storefleet.core.identifiers import STORE_PREFIX, is_id
from storefleet.core.lifecycle import StoreState
from storefleet.core.models import Failure, Store
from storefleet.database.connection import Connection, Record, fetch_one

_COLUMNS = (
    "id, tenant_id, name, engine, engine_version, parameters, state, url, admin_url, failure,"
    " created_at, ready_at, deleted_at, version, plan,"
    " storefront, storefront_checked_at, cron"
)
_DEFAULT_RETENTION = timedelta(days=7)


def make_store(record: Record) -> Store:
    """Make a store from a row that has at least the columns of `stores`."""
    return Store.model_validate(dict(record))


class StoreRepository:
    """Reads and updates stores. `TransitionRepository` adds them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(
        self,
        *,
        tenant_id: str,
        store_ref: str,
        retention: timedelta = _DEFAULT_RETENTION,
        lock: bool = False,
    ) -> Store | None:
        """Find a tenant's store by id or by the name of a live store.

        Args:
            tenant_id: The tenant that must own the store.
            store_ref: A store's id, or its name. Deleted stores are found by id only.
            retention: How long a deleted store is still found.
            lock: Lock the row until the transaction ends.
        """
        condition = (
            "id = $2" if is_id(store_ref, STORE_PREFIX) else "name = $2 AND deleted_at IS NULL"
        )
        record = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS} FROM stores
            WHERE tenant_id = $1 AND {condition}
              AND (deleted_at IS NULL OR deleted_at > now() - $3::interval)
            {"FOR UPDATE" if lock else ""}""",
            tenant_id,
            store_ref,
            retention,
        )
        return make_store(record) if record else None

    async def find_by_id(self, store_id: str) -> Store | None:
        """Find a store of any tenant, for a service that works on it."""
        record = await self._connection.fetchrow(
            f"SELECT {_COLUMNS} FROM stores WHERE id = $1", store_id
        )
        return make_store(record) if record else None

    async def lock(self, store_id: str) -> Store | None:
        """Lock a store until the transaction ends: the first lock of every transition."""
        record = await self._connection.fetchrow(
            f"SELECT {_COLUMNS} FROM stores WHERE id = $1 FOR UPDATE", store_id
        )
        return make_store(record) if record else None

    async def list_page(
        self,
        *,
        tenant_id: str,
        state: StoreState | None = None,
        query: str | None = None,
        limit: int = 25,
        starting_after: str | None = None,
    ) -> tuple[list[Store], bool]:
        """List a page of a tenant's stores, newest first.

        Args:
            tenant_id: The tenant.
            state: Only stores in this state; without it, every store that is not deleted.
            query: Only stores whose name contains this text.
            limit: Stores per page.
            starting_after: The id of the last store of the page before.

        Returns:
            The page, and whether there are more stores after it.
        """
        conditions, arguments = ["tenant_id = $1"], [tenant_id]

        def add_argument(value: str) -> str:
            arguments.append(value)
            return f"${len(arguments)}"

        conditions.append(f"state = {add_argument(state)}" if state else "deleted_at IS NULL")
        if query:
            conditions.append(f"strpos(name, {add_argument(query.lower())}) > 0")
        if starting_after:
            last_id = add_argument(starting_after)
            conditions.append(
                "(created_at, id) < (SELECT created_at, id FROM stores"
                f" WHERE id = {last_id} AND tenant_id = $1)"
            )
        records = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM stores WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, id DESC LIMIT {int(limit) + 1}""",
            *arguments,
        )
        return [make_store(record) for record in records[:limit]], len(records) > limit

    async def update(self, store_id: str, **columns: Any) -> Store:
        """Set columns of a store and increment its version; the caller holds the row's lock."""
        values = [
            value.model_dump() if isinstance(value, Failure) else value
            for value in columns.values()
        ]
        assignments = "".join(f"{name} = ${number}, " for number, name in enumerate(columns, 2))
        record = await fetch_one(
            self._connection,
            f"""
            UPDATE stores SET {assignments}version = version + 1 WHERE id = $1
            RETURNING {_COLUMNS}""",
            store_id,
            *values,
        )
        return make_store(record)

    async def count_by_state(self) -> dict[StoreState, int]:
        """Count the stores of every tenant by state; states without stores are left out."""
        records = await self._connection.fetch("SELECT state, count(*) FROM stores GROUP BY state")
        return {StoreState(record["state"]): record["count"] for record in records}

    async def purge_deleted(self, *, retention: timedelta) -> int:
        """Delete the rows of stores deleted longer ago than `retention`, with their operations.

        Returns:
            The number of stores, at most 1000 per call.
        """
        records = await self._connection.fetch(
            """
            DELETE FROM stores WHERE id IN (
                SELECT id FROM stores WHERE deleted_at < now() - $1::interval LIMIT 1000)
            RETURNING 1""",
            retention,
        )
        return len(records)
