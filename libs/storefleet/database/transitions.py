"""The way of a store, written down: every transition is one statement, since round trips are what it costs.

Whoever calls tells `outbox.CHANNEL` after the commit.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from storefleet.core.models import Failure, Operation, Step, Store
from storefleet.database.operations import IS_CLAIMABLE
from storefleet.database.outbox import OutboxRow
from storefleet.database.pool import Connection

_ADD_MESSAGES_SQL = """
    INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
    SELECT * FROM unnest({}::text[], {}::text[], {}::text[], {}::text[], {}::text[], {}::text[], {}::text[],
        {}::json[])"""
_SAVE_STEPS_SQL = """
    INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
    SELECT $1, s.* FROM unnest({}::int[], {}::text[], {}::text[], {}::text[], {}::timestamptz[], {}::timestamptz[],
        {}::text[]) s WHERE EXISTS (SELECT 1 FROM held)
    ON CONFLICT (operation_id, position) DO UPDATE SET name = excluded.name, title = excluded.title,
        state = excluded.state, started_at = excluded.started_at, finished_at = excluded.finished_at,
        message = excluded.message
    WHERE (steps.state, steps.started_at, steps.finished_at, steps.message)
        IS DISTINCT FROM (excluded.state, excluded.started_at, excluded.finished_at, excluded.message)"""


def _number_placeholders(statement: str, first: int) -> str:
    """The statement with its placeholders counted from `first`."""
    return statement.format(
        *(f"${number}" for number in range(first, first + statement.count("{}")))
    )


_ADD_STORE_SQL = f"""
    WITH counted AS (
        UPDATE tenants SET stores_made = stores_made + 1
        WHERE id = $3 AND ($22::bigint IS NULL OR stores_made < $22) RETURNING id
    ), added AS (
        INSERT INTO stores (id, tenant_id, name, engine, engine_version, parameters, state, created_at, plan)
        SELECT $2, id, $4, $5, $6, $7, $8, $9, $23 FROM counted
        ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING id
    ), queued AS (
        INSERT INTO operations (id, tenant_id, store_id, kind, request_id, requested_by, deadline, announced_at)
        SELECT $1, $3, id, $10, $11, $12, $13, $9 FROM added
    ), told AS ({_number_placeholders(_ADD_MESSAGES_SQL, 14)} WHERE EXISTS (SELECT 1 FROM added))
    SELECT EXISTS (SELECT 1 FROM added) FROM counted"""
#: What transitions of an operation share; `{held}` says what must still be so, `{operated}` how the operation changes.
_TRANSITION_SQL = f"""
    WITH held AS (
        SELECT 1 FROM stores s JOIN operations o ON o.store_id = s.id
        WHERE s.id = $5 AND s.version = $13 AND o.id = $1 AND {{held}} FOR UPDATE OF s, o
    ), operated AS (UPDATE operations o SET state = $2, {{operated}}),
    stored AS (
        UPDATE stores SET state = $6, url = $7, admin_url = $8, failure = $9, ready_at = $10, deleted_at = $11,
            version = $12, engine_version = $15
        FROM held WHERE id = $5 AND version < $12
    ), stepped AS ({_number_placeholders(_SAVE_STEPS_SQL, 16)}),
    told AS ({_number_placeholders(_ADD_MESSAGES_SQL, 23)} WHERE EXISTS (SELECT 1 FROM held))
    SELECT 1 FROM held"""
_CLAIM_SQL = _TRANSITION_SQL.format(
    held=f"o.fence = $14 - 1 AND {IS_CLAIMABLE}",
    operated="fence = $14, lease_owner = $31, lease_until = now() + $32::interval, error = $3, finished_at = $4,"
    " started_at = $33 FROM held WHERE id = $1",
)
_WRITE_SQL = _TRANSITION_SQL.format(
    held="o.fence = $14 AND o.state = 'running' AND NOT (o.cancel_requested AND $31)",
    operated="error = $3, finished_at = $4, lease_owner = NULL, lease_until = NULL"
    " FROM held WHERE id = $1 AND state <> $2",
)


async def add_store(
    conn: Connection,
    store: Store,
    operation: Operation,
    *rows: OutboxRow,
    requested_by: str,
    max_created: int | None = None,
) -> bool | None:
    """Write a new store, its announced operation and the messages; False when a live store has the name.

    With `most`: None, and nothing is written, when the tenant has made so many stores that they have to be counted.
    """
    written: bool | None = await conn.fetchval(
        _ADD_STORE_SQL,
        operation.id,
        store.id,
        store.tenant_id,
        store.name,
        store.engine,
        store.engine_version,
        store.parameters,
        store.state,
        store.created_at,
        operation.kind,
        operation.request_id,
        requested_by,
        operation.deadline,
        *_transpose_rows(rows),
        max_created,
        store.plan,
    )
    return written


async def claim_operation(
    conn: Connection,
    before: Store,
    store: Store,
    operation: Operation,
    *rows: OutboxRow,
    owner: str,
    lease_duration: timedelta,
) -> bool:
    """Take the operation and write what that changes; False when it, or the store, is not as it was read."""
    values = _list_transition_values(before, store, operation, rows)
    return bool(
        await conn.fetchval(_CLAIM_SQL, *values, owner, lease_duration, operation.started_at)
    )


async def write_transition(
    conn: Connection,
    before: Store,
    store: Store,
    operation: Operation,
    *rows: OutboxRow,
    stop_on_cancel: bool,
) -> bool:
    """Write store, operation with its steps, and messages; False when they are not as they were read."""
    return bool(
        await conn.fetchval(
            _WRITE_SQL, *_list_transition_values(before, store, operation, rows), stop_on_cancel
        )
    )


def _list_transition_values(
    before: Store, store: Store, operation: Operation, rows: Sequence[OutboxRow]
) -> list[Any]:
    return [
        operation.id,
        operation.state,
        _dump_failure(operation.error),
        operation.finished_at,
        store.id,
        store.state,
        store.url,
        store.admin_url,
        _dump_failure(store.failure),
        store.ready_at,
        store.deleted_at,
        store.version,
        before.version,
        operation.fence,
        store.engine_version,
        list(range(1, len(operation.steps) + 1)),
        *_list_step_columns(operation.steps),
        *_transpose_rows(rows),
    ]


def _dump_failure(failure: Failure | None) -> dict[str, Any] | None:
    return failure.model_dump() if failure else None


def _transpose_rows(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _list_step_columns(steps: Sequence[Step]) -> list[list[Any]]:
    names = ("name", "title", "state", "started_at", "finished_at", "message")
    return [[getattr(step, name) for step in steps] for name in names]
