"""Rows of operations: add, read and end them. `leases.py` claims them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from storefleet.core.errors import LeaseLost
from storefleet.core.lifecycle import OperationKind, OperationState
from storefleet.core.models import Failure, Operation, Step
from storefleet.database.connection import Connection, Record, fetch_one
from storefleet.database.statements import load_statement
from storefleet.database.steps import StepRepository

COLUMNS = (
    "id, tenant_id, store_id, kind, state, error, attempt, cancel_requested, fence, request_id,"
    " deadline, run_after, created_at, started_at, finished_at, input, baseline"
)
CANCEL_CHANNEL = "storefleet_cancel"

_ADD = load_statement("add_operation")
_START_AUTOMATIC_ROLLBACK = load_statement("start_automatic_rollback")


def make_operation(record: Record, steps: Sequence[Step] = ()) -> Operation:
    """Make an operation from a row that has at least the columns of `COLUMNS`."""
    return Operation.model_validate({**dict(record), "steps": tuple(steps)})


class OperationRepository:
    """Reads operations with their steps, and writes them under their fence."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._steps = StepRepository(connection)

    async def find(self, *, tenant_id: str, operation_id: str) -> Operation | None:
        """Find a tenant's operation with its steps."""
        record = await self._connection.fetchrow(
            f"SELECT {COLUMNS} FROM operations WHERE tenant_id = $1 AND id = $2",
            tenant_id,
            operation_id,
        )
        return await self._load_steps(record) if record else None

    async def read(self, operation_id: str) -> Operation:
        """Read the current row of an operation that exists, with its steps."""
        record = await fetch_one(
            self._connection, f"SELECT {COLUMNS} FROM operations WHERE id = $1", operation_id
        )
        return await self._load_steps(record)

    async def find_latest_by_store(self, store_ids: Sequence[str]) -> dict[str, Operation]:
        """Find the newest operation of each store, with its steps.

        Returns:
            Operations by store id; two queries for any number of stores.
        """
        records = await self._connection.fetch(
            f"""
            SELECT DISTINCT ON (store_id) {COLUMNS} FROM operations WHERE store_id = ANY($1)
            ORDER BY store_id, number DESC""",
            list(store_ids),
        )
        steps = await self._steps.list_of_operations([record["id"] for record in records])
        return {
            record["store_id"]: make_operation(record, steps[record["id"]]) for record in records
        }

    async def list_open(self, store_id: str) -> list[Operation]:
        """List the operations of a store that are queued or running, oldest first."""
        records = await self._connection.fetch(
            f"""
            SELECT {COLUMNS} FROM operations
            WHERE store_id = $1 AND state IN ('queued', 'running') ORDER BY number""",
            store_id,
        )
        return [await self._load_steps(record) for record in records]

    async def list_page(
        self,
        *,
        tenant_id: str,
        store_id: str | None,
        state: OperationState | None,
        limit: int,
        starting_after: str | None,
    ) -> tuple[list[Operation], bool]:
        """List a page of a tenant's operations, newest first.

        Args:
            tenant_id: The tenant.
            store_id: Only operations of this store.
            state: Only operations in this state.
            limit: Operations per page.
            starting_after: The id of the last operation of the page before.

        Returns:
            The page, and whether there are more operations after it.
        """
        records = await self._connection.fetch(
            f"""
            SELECT {COLUMNS} FROM operations
            WHERE tenant_id = $1 AND ($2::text IS NULL OR store_id = $2)
              AND ($3::text IS NULL OR state = $3)
              AND ($4::text IS NULL OR number < (
                  SELECT number FROM operations WHERE id = $4 AND tenant_id = $1))
            ORDER BY number DESC LIMIT $5""",
            tenant_id,
            store_id,
            state,
            starting_after,
            limit + 1,
        )
        page = [await self._load_steps(record) for record in records[:limit]]
        return page, len(records) > limit

    async def find_oldest_open(self, store_id: str) -> Operation | None:
        """Find a store's oldest open operation, the only one that may run, without its steps."""
        record = await self._connection.fetchrow(
            f"""
            SELECT {COLUMNS} FROM operations
            WHERE store_id = $1 AND state IN ('queued', 'running') ORDER BY number LIMIT 1""",
            store_id,
        )
        return make_operation(record) if record else None

    async def add(
        self,
        *,
        operation_id: str,
        tenant_id: str,
        store_id: str,
        kind: OperationKind,
        request_id: str | None,
        requested_by: str,
        deadline: timedelta,
        dispatched: bool,
        operation_input: dict[str, Any],
        baseline: dict[str, Any] | None = None,
    ) -> Operation:
        """Add a queued operation.

        Args:
            operation_id: Its id.
            tenant_id: The owner of the store.
            store_id: The store it works on.
            kind: What it does to the store.
            request_id: The id of the HTTP request, if it came with one.
            requested_by: The id of the user or token that requested it.
            deadline: Time from now after which a transient failure ends it.
            dispatched: Whether its command is written in the same transaction.
            operation_input: What was requested, such as the versions of an upgrade.
            baseline: The baseline of an earlier operation that it continues or undoes.
        """
        record = await fetch_one(
            self._connection,
            *_ADD.bind(
                operation_id=operation_id,
                tenant_id=tenant_id,
                store_id=store_id,
                kind=kind,
                request_id=request_id,
                requested_by=requested_by,
                deadline=deadline,
                dispatched=dispatched,
                operation_input=operation_input,
                baseline=baseline,
            ),
        )
        return make_operation(record)

    async def save_steps(self, operation_id: str, steps: Sequence[Step]) -> None:
        """Write the steps of an operation; unchanged rows are not touched."""
        await self._steps.save(operation_id, steps)

    async def end(
        self, operation: Operation, *, state: OperationState, error: Failure | None
    ) -> Operation:
        """End an operation in a final state.

        Raises:
            LeaseLost: The fence has changed, or the operation has ended already.
        """
        record = await self._connection.fetchrow(
            f"""
            UPDATE operations SET state = $3, error = $4, finished_at = now(),
                lease_owner = NULL, lease_until = NULL
            WHERE id = $1 AND fence = $2 AND state IN ('queued', 'running')
            RETURNING {COLUMNS}""",
            operation.id,
            operation.fence,
            state,
            error.model_dump() if error else None,
        )
        if record is None:
            raise LeaseLost(operation.id)
        return make_operation(record, operation.steps)

    async def requeue(self, operation: Operation, *, delay: timedelta, attempt: int) -> Operation:
        """Put a running operation back into the queue, to be claimed after `delay`.

        Raises:
            LeaseLost: The fence has changed, or the operation does not run.
        """
        record = await self._connection.fetchrow(
            f"""
            UPDATE operations SET state = 'queued', run_after = now() + $3::interval, attempt = $4,
                announced_at = NULL, lease_owner = NULL, lease_until = NULL
            WHERE id = $1 AND fence = $2 AND state = 'running'
            RETURNING {COLUMNS}""",
            operation.id,
            operation.fence,
            delay,
            attempt,
        )
        if record is None:
            raise LeaseLost(operation.id)
        return make_operation(record, operation.steps)

    async def start_automatic_rollback(
        self, operation: Operation, failure: Failure, *, release_lease: bool
    ) -> Operation:
        """Switch an upgrade to its automatic rollback, with a new deadline of the same duration.

        Args:
            operation: The upgrade, with the steps of its rollback.
            failure: Why the upgrade did not succeed.
            release_lease: Take the lease from its owner, so that any worker may claim the
                operation; the caller dispatches it in the same transaction.

        Raises:
            LeaseLost: The fence has changed, or the operation has ended.
        """
        record = await self._connection.fetchrow(
            *_START_AUTOMATIC_ROLLBACK.bind(
                operation_id=operation.id,
                fence=operation.fence,
                failure=failure.model_dump(),
                release_lease=release_lease,
            )
        )
        if record is None:
            raise LeaseLost(operation.id)
        return make_operation(record, operation.steps)

    async def request_cancel(self, operation_id: str) -> None:
        """Request the cancellation; the owner is notified when the transaction commits."""
        await self._connection.execute(
            "UPDATE operations SET cancel_requested = true WHERE id = $1", operation_id
        )
        await self._connection.execute(f"SELECT pg_notify('{CANCEL_CHANNEL}', $1)", operation_id)

    async def mark_dispatched(self, operation_ids: Sequence[str]) -> None:
        """Record that commands for these operations are written in this transaction."""
        await self._connection.execute(
            "UPDATE operations SET announced_at = now() WHERE id = ANY($1)", list(operation_ids)
        )

    async def _load_steps(self, record: Record) -> Operation:
        return make_operation(record, await self._steps.list_of_operation(record["id"]))
