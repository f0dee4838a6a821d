"""Rows of operations and their steps: claimed under a lease, written under a fence."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.errors import LeaseLost
from storefleet.core.models import Failure, Operation, Step, Store, utc_now
from storefleet.database import stores
from storefleet.database.pool import Connection, Record

COLUMNS = (
    "id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id, deadline, run_after,"
    " created_at, started_at, finished_at, input"
)

_COLUMN_NAMES = tuple(COLUMNS.split(", "))
_PREFIXED_COLUMNS = ", ".join(f"o.{name} AS o_{name}" for name in _COLUMN_NAMES)
#: Nobody works on the operation `o`.
IS_CLAIMABLE = "(o.state = 'queued' OR (o.state = 'running' AND o.lease_until < now()))"

CANCEL_CHANNEL = "storefleet_cancel"


class DueOperation(NamedTuple):
    """What the scan found: `finding` is due, expired or unannounced."""

    operation: Operation
    finding: str


def make_operation(record: Record, steps: Sequence[Step] = ()) -> Operation:
    return Operation.model_validate({**dict(record), "steps": tuple(steps)})


async def list_steps(conn: Connection, operation_id: str) -> list[Step]:
    records = await conn.fetch(
        "SELECT name, title, state, started_at, finished_at, message FROM steps WHERE operation_id = $1"
        " ORDER BY position",
        operation_id,
    )
    return [Step.model_validate(dict(record)) for record in records]


async def find_operation(
    conn: Connection, *, tenant_id: str, operation_id: str
) -> Operation | None:
    record = await conn.fetchrow(
        f"SELECT {COLUMNS} FROM operations WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        operation_id,
    )
    return make_operation(record, await list_steps(conn, operation_id)) if record else None


async def read_operation(conn: Connection, operation_id: str) -> Operation:
    """The operation as it is written, for whoever has it already."""
    record = await conn.fetchrow(f"SELECT {COLUMNS} FROM operations WHERE id = $1", operation_id)
    return make_operation(record, await list_steps(conn, operation_id))


async def find_latest_by_store(conn: Connection, store_ids: Sequence[str]) -> dict[str, Operation]:
    """The newest operation of each store, with its steps."""
    records = await conn.fetch(
        f"SELECT DISTINCT ON (store_id) {COLUMNS} FROM operations WHERE store_id = ANY($1)"
        " ORDER BY store_id, number DESC",
        list(store_ids),
    )
    steps: dict[str, list[Step]] = {record["id"]: [] for record in records}
    for row in await conn.fetch(
        "SELECT operation_id, name, title, state, started_at, finished_at, message FROM steps"
        " WHERE operation_id = ANY($1) ORDER BY operation_id, position",
        list(steps),
    ):
        steps[row["operation_id"]].append(Step.model_validate(dict(row)))
    return {record["store_id"]: make_operation(record, steps[record["id"]]) for record in records}


async def list_open_operations(conn: Connection, store_id: str) -> list[Operation]:
    """The operations that have not ended, oldest first."""
    records = await conn.fetch(
        f"SELECT {COLUMNS} FROM operations WHERE store_id = $1 AND state IN ('queued', 'running') ORDER BY number",
        store_id,
    )
    return [make_operation(record, await list_steps(conn, record["id"])) for record in records]


async def list_page(
    conn: Connection,
    *,
    tenant_id: str,
    store_id: str | None,
    state: str | None,
    limit: int,
    starting_after: str | None,
) -> tuple[list[Operation], bool]:
    records = await conn.fetch(
        f"SELECT {COLUMNS} FROM operations WHERE tenant_id = $1 AND ($2::text IS NULL OR store_id = $2)"
        " AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR number <"
        " (SELECT number FROM operations WHERE id = $4 AND tenant_id = $1)) ORDER BY number DESC LIMIT $5",
        tenant_id,
        store_id,
        state,
        starting_after,
        limit + 1,
    )
    page = [
        make_operation(record, await list_steps(conn, record["id"])) for record in records[:limit]
    ]
    return page, len(records) > limit


async def add_operation(
    conn: Connection,
    *,
    operation_id: str,
    tenant_id: str,
    store_id: str,
    kind: str,
    request_id: str | None,
    requested_by: str,
    deadline: timedelta,
    dispatched: bool,
    operation_input: dict[str, Any],
) -> Operation:
    """A queued operation; `announced` when its command goes out in the same transaction."""
    record = await conn.fetchrow(
        "INSERT INTO operations (id, tenant_id, store_id, kind, request_id, requested_by, deadline, announced_at,"
        " input) VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval, CASE WHEN $8 THEN now() END, $9)"
        f" RETURNING {COLUMNS}",
        operation_id,
        tenant_id,
        store_id,
        kind,
        request_id,
        requested_by,
        deadline,
        dispatched,
        operation_input,
    )
    return make_operation(record)


async def renew_lease(
    conn: Connection, operation_id: str, *, fence: int, lease_duration: timedelta
) -> bool:
    """Extend the lease; returns whether a cancel was requested; raises LeaseLost."""
    cancel = await conn.fetchval(
        "UPDATE operations SET lease_until = now() + $3::interval WHERE id = $1 AND fence = $2 AND state = 'running'"
        " RETURNING cancel_requested",
        operation_id,
        fence,
        lease_duration,
    )
    if cancel is None:
        raise LeaseLost(operation_id)
    return bool(cancel)


async def find_claimable(
    conn: Connection, operation_id: str, *, store_id: str, kinds: Sequence[str]
) -> tuple[Store, Operation] | None:
    """The operation, as it would be under its next fence, and its store, if it may be claimed now."""
    record = await conn.fetchrow(
        f"SELECT s.*, {_PREFIXED_COLUMNS} FROM operations o JOIN stores s ON s.id = o.store_id"
        " WHERE o.id = $1 AND o.store_id = $2 AND o.kind = ANY($3) AND o.run_after <= now()"
        f" AND {IS_CLAIMABLE} AND NOT EXISTS (SELECT 1 FROM operations earlier WHERE earlier.store_id = o.store_id"
        " AND earlier.number < o.number AND earlier.state IN ('queued', 'running'))",
        operation_id,
        store_id,
        list(kinds),
    )
    if record is None:
        return None
    fields = {column: record[f"o_{column}"] for column in _COLUMN_NAMES}
    steps = (
        await list_steps(conn, operation_id) if fields["fence"] else ()
    )  # only a claim writes steps
    claimed = {
        "state": "running",
        "fence": fields["fence"] + 1,
        "started_at": fields["started_at"] or utc_now(),
        "taken_over": fields["state"] == "running",
    }
    return stores.make_store(record), Operation.model_validate(
        {**fields, **claimed, "steps": tuple(steps)}
    )


async def find_held_store(
    conn: Connection, operation_id: str, *, fence: int, lock: bool = True
) -> tuple[Store, bool]:
    """The store of an operation that runs under this fence, and whether a cancel was requested; raises LeaseLost.

    With `lock` both rows stay as they are until the transaction ends: first the store's, then the operation's.
    """
    record = await conn.fetchrow(
        "SELECT s.*, o.cancel_requested FROM stores s JOIN operations o ON o.store_id = s.id"
        f" WHERE o.id = $1 AND o.fence = $2 AND o.state = 'running'{' FOR UPDATE OF s, o' if lock else ''}",
        operation_id,
        fence,
    )
    if record is None:
        raise LeaseLost(operation_id)
    return stores.make_store(record), record["cancel_requested"]


async def lock_abandoned(conn: Connection, operation_id: str, *, fence: int) -> Operation | None:
    """Lock the row: the operation, if it still waits under this fence, with nobody's valid lease, for its cancel."""
    record = await conn.fetchrow(
        f"SELECT {COLUMNS} FROM operations WHERE id = $1 AND fence = $2 AND state IN ('queued', 'running')"
        " AND cancel_requested AND (lease_until IS NULL OR lease_until < now()) FOR UPDATE",
        operation_id,
        fence,
    )
    return make_operation(record, await list_steps(conn, operation_id)) if record else None


async def save_steps(conn: Connection, operation_id: str, steps: Sequence[Step]) -> None:
    """Write these steps as the operation's steps."""
    await conn.execute(
        """
        INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
        SELECT $1, s.* FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
            $7::timestamptz[], $8::text[]) s
        ON CONFLICT (operation_id, position) DO UPDATE SET name = excluded.name, title = excluded.title,
            state = excluded.state, started_at = excluded.started_at, finished_at = excluded.finished_at,
            message = excluded.message
        WHERE (steps.state, steps.started_at, steps.finished_at, steps.message)
            IS DISTINCT FROM (excluded.state, excluded.started_at, excluded.finished_at, excluded.message)""",
        operation_id,
        list(range(1, len(steps) + 1)),
        [step.name for step in steps],
        [step.title for step in steps],
        [step.state for step in steps],
        [step.started_at for step in steps],
        [step.finished_at for step in steps],
        [step.message for step in steps],
    )


async def end_operation(
    conn: Connection, operation: Operation, *, state: str, error: Failure | None
) -> Operation:
    """Close the operation under its fence; raises LeaseLost."""
    record = await conn.fetchrow(
        "UPDATE operations SET state = $3, error = $4, finished_at = now(), lease_owner = NULL, lease_until = NULL"
        f" WHERE id = $1 AND fence = $2 AND state IN ('queued', 'running') RETURNING {COLUMNS}",
        operation.id,
        operation.fence,
        state,
        error.model_dump() if error else None,
    )
    if record is None:
        raise LeaseLost(operation.id)
    return make_operation(record, operation.steps)


async def requeue_operation(
    conn: Connection, operation: Operation, *, delay: timedelta, attempt: int
) -> Operation:
    """Give the operation back, to be taken after `delay`; raises LeaseLost."""
    record = await conn.fetchrow(
        "UPDATE operations SET state = 'queued', run_after = now() + $3::interval, attempt = $4, announced_at = NULL,"
        " lease_owner = NULL, lease_until = NULL WHERE id = $1 AND fence = $2 AND state = 'running'"
        f" RETURNING {COLUMNS}",
        operation.id,
        operation.fence,
        delay,
        attempt,
    )
    if record is None:
        raise LeaseLost(operation.id)
    return make_operation(record, operation.steps)


async def request_cancel(conn: Connection, operation_id: str) -> None:
    """Ask the worker to stop; it hears at once, or sees it at its next look."""
    await conn.execute("UPDATE operations SET cancel_requested = true WHERE id = $1", operation_id)
    await conn.execute(f"SELECT pg_notify('{CANCEL_CHANNEL}', $1)", operation_id)


async def mark_dispatched(conn: Connection, operation_ids: Sequence[str]) -> None:
    await conn.execute(
        "UPDATE operations SET announced_at = now() WHERE id = ANY($1)", list(operation_ids)
    )


async def find_next_operation(conn: Connection, store_id: str) -> Operation | None:
    """The oldest open operation, which is the one that may run."""
    record = await conn.fetchrow(
        f"SELECT {COLUMNS} FROM operations WHERE store_id = $1 AND state IN ('queued', 'running')"
        " ORDER BY number LIMIT 1",
        store_id,
    )
    return make_operation(record) if record else None


async def lock_due_operations(
    conn: Connection, *, redispatch_after: timedelta, limit: int = 200
) -> list[DueOperation]:
    """Lock what should be running and is not: due again, expired, or announced to nobody."""
    records = await conn.fetch(
        f"""
        SELECT {COLUMNS}, CASE WHEN state = 'running' THEN 'expired'
            WHEN announced_at IS NULL THEN 'due' ELSE 'unannounced' END AS finding
        FROM operations o WHERE (
            (state = 'queued' AND run_after <= now()
                AND (announced_at IS NULL OR announced_at < greatest(run_after, now() - $1::interval)))
            OR (state = 'running' AND lease_until < now()
                AND (announced_at IS NULL OR announced_at < greatest(lease_until, now() - $1::interval))))
          AND NOT EXISTS (SELECT 1 FROM operations earlier WHERE earlier.store_id = o.store_id
              AND earlier.number < o.number AND earlier.state IN ('queued', 'running'))
        ORDER BY run_after LIMIT $2 FOR UPDATE SKIP LOCKED""",
        redispatch_after,
        limit,
    )
    return [DueOperation(make_operation(record), record["finding"]) for record in records]
