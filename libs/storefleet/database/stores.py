"""Rows of stores. Every read that a person asks for is pinned to a tenant."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from storefleet.core.identifiers import STORE_PREFIX, is_id
from storefleet.core.models import Failure, Store
from storefleet.database.pool import Connection, Record

_COLUMNS = (
    "id, tenant_id, name, engine, engine_version, parameters, state, url, admin_url, failure,"
    " created_at, ready_at, deleted_at, version, plan"
)


def make_store(record: Record) -> Store:
    return Store.model_validate(dict(record))


async def find_store(
    conn: Connection,
    *,
    tenant_id: str,
    store_ref: str,
    retention: timedelta = timedelta(days=7),
    lock: bool = False,
) -> Store | None:
    """The tenant's store by id (deleted ones too, while they are kept) or by live name."""
    by = "id = $2" if is_id(store_ref, STORE_PREFIX) else "name = $2 AND deleted_at IS NULL"
    record = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM stores WHERE tenant_id = $1 AND {by}"
        f" AND (deleted_at IS NULL OR deleted_at > now() - $3::interval){' FOR UPDATE' if lock else ''}",
        tenant_id,
        store_ref,
        retention,
    )
    return make_store(record) if record else None


async def find_by_id(conn: Connection, store_id: str) -> Store | None:
    """The store, for services that work on it whoever owns it."""
    record = await conn.fetchrow(f"SELECT {_COLUMNS} FROM stores WHERE id = $1", store_id)
    return make_store(record) if record else None


async def lock_store(conn: Connection, store_id: str) -> Store | None:
    """The store, held until the transaction ends: the first lock of every transition."""
    record = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM stores WHERE id = $1 FOR UPDATE", store_id
    )
    return make_store(record) if record else None


async def list_page(
    conn: Connection,
    *,
    tenant_id: str,
    state: str | None = None,
    query: str | None = None,
    limit: int = 25,
    starting_after: str | None = None,
) -> tuple[list[Store], bool]:
    """One page, newest first, and whether there is more; deleted ones only when `state` says so."""
    where, args = ["tenant_id = $1"], [tenant_id]

    def placeholder(value: str) -> str:
        args.append(value)
        return f"${len(args)}"

    where.append(f"state = {placeholder(state)}" if state else "deleted_at IS NULL")
    if query:
        where.append(f"strpos(name, {placeholder(query.lower())}) > 0")
    if starting_after:
        mark = placeholder(starting_after)
        where.append(
            f"(created_at, id) < (SELECT created_at, id FROM stores WHERE id = {mark} AND tenant_id = $1)"
        )
    records = await conn.fetch(
        f"SELECT {_COLUMNS} FROM stores WHERE {' AND '.join(where)}"
        f" ORDER BY created_at DESC, id DESC LIMIT {int(limit) + 1}",
        *args,
    )
    return [make_store(record) for record in records[:limit]], len(records) > limit


async def update_store(conn: Connection, store_id: str, **columns: Any) -> Store:
    """Set columns and raise the row's version; the caller holds whatever makes this right."""
    names = list(columns)
    values = [
        value.model_dump() if isinstance(value, Failure) else value for value in columns.values()
    ]
    assignments = "".join(f"{name} = ${number}, " for number, name in enumerate(names, start=2))
    record = await conn.fetchrow(
        f"UPDATE stores SET {assignments}version = version + 1 WHERE id = $1 RETURNING {_COLUMNS}",
        store_id,
        *values,
    )
    return make_store(record)


async def count_by_state(conn: Connection) -> dict[str, int]:
    return dict(await conn.fetch("SELECT state, count(*) FROM stores GROUP BY state"))


async def purge_deleted(conn: Connection, *, older_than: timedelta) -> int:
    """Forget deleted stores and, with them, their operations and steps."""
    result: Sequence[Record] = await conn.fetch(
        "DELETE FROM stores WHERE id IN (SELECT id FROM stores"
        " WHERE deleted_at < now() - $1::interval LIMIT 1000) RETURNING 1",
        older_than,
    )
    return len(result)
