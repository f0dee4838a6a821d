"""The way of a store, written down: every transition is one statement, since round trips are what it costs.

They are written in a transaction that tells `outbox.CHANNEL`.
"""

from collections.abc import Sequence
from typing import Any

from storefleet.database.outbox import Draft
from storefleet.database.pool import Connection
from storefleet.models import Failure, Operation, Step, Store

_ADD_MESSAGES = """
    INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, operation_id, data)
    SELECT * FROM unnest({}::text[], {}::text[], {}::text[], {}::text[], {}::text[], {}::text[], {}::text[],
        {}::jsonb[])"""
_SAVE_STEPS = """
    INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
    SELECT $1, s.* FROM unnest({}::int[], {}::text[], {}::text[], {}::text[], {}::timestamptz[], {}::timestamptz[],
        {}::text[]) s
    ON CONFLICT (operation_id, position) DO UPDATE SET name = excluded.name, title = excluded.title,
        state = excluded.state, started_at = excluded.started_at, finished_at = excluded.finished_at,
        message = excluded.message
    WHERE (steps.state, steps.started_at, steps.finished_at, steps.message)
        IS DISTINCT FROM (excluded.state, excluded.started_at, excluded.finished_at, excluded.message)"""


def _numbered(statement: str, first: int) -> str:
    """The statement with its placeholders counted from `first`."""
    return statement.format(*(f"${number}" for number in range(first, first + statement.count("{}"))))


_BEGIN = f"""
    WITH added AS (
        INSERT INTO stores (id, tenant_id, name, engine, engine_version, parameters, state, created_at)
        VALUES ($2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (name) WHERE state <> 'deleted' DO NOTHING RETURNING id
    ), queued AS (
        INSERT INTO operations (id, tenant_id, store_id, kind, request_id, requested_by, deadline, announced_at)
        SELECT $1, $3, id, $10, $11, $12, $13, $9 FROM added
    ), told AS ({_numbered(_ADD_MESSAGES, 14)} WHERE EXISTS (SELECT 1 FROM added))
    SELECT true FROM added"""
_WRITE = f"""
    WITH stepped AS ({_numbered(_SAVE_STEPS, 13)}),
    operated AS (
        UPDATE operations SET state = $2, error = $3, finished_at = $4, lease_owner = NULL, lease_until = NULL
        WHERE id = $1 AND state <> $2
    ), stored AS (
        UPDATE stores SET state = $6, url = $7, admin_url = $8, failure = $9, ready_at = $10, deleted_at = $11,
            version = $12
        WHERE id = $5 AND version < $12
    ), told AS ({_numbered(_ADD_MESSAGES, 20)})
    SELECT EXISTS (SELECT 1 FROM operations WHERE store_id = $5 AND id <> $1 AND state IN ('queued', 'running'))"""


async def begin(conn: Connection, store: Store, operation: Operation, *drafts: Draft, by: str) -> bool:
    """Write a new store, its announced operation and the messages; False when a live store has the name."""
    written = await conn.fetchval(
        _BEGIN,
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
        by,
        operation.deadline,
        *_columns(drafts),
    )
    return bool(written)


async def write(conn: Connection, store: Store, operation: Operation, *drafts: Draft) -> bool:
    """Write store, operation with its steps, and messages as they are now; the caller holds the rows.

    Returns whether another operation of the store waits.
    """
    waiting = await conn.fetchval(
        _WRITE,
        operation.id,
        operation.state,
        _json(operation.error),
        operation.finished_at,
        store.id,
        store.state,
        store.url,
        store.admin_url,
        _json(store.failure),
        store.ready_at,
        store.deleted_at,
        store.version,
        list(range(1, len(operation.steps) + 1)),
        *_step_columns(operation.steps),
        *_columns(drafts),
    )
    return bool(waiting)


def _json(failure: Failure | None) -> dict[str, Any] | None:
    return failure.model_dump() if failure else None


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _step_columns(steps: Sequence[Step]) -> list[list[Any]]:
    names = ("name", "title", "state", "started_at", "finished_at", "message")
    return [[getattr(step, name) for step in steps] for name in names]
