"""Leases of operations: which operation may be claimed, who owns it, and whose lease ran out.

`TransitionRepository.claim_operation` writes the claim itself.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Literal, NamedTuple

from storefleet.core.errors import LeaseLost
from storefleet.core.lifecycle import OperationKind
from storefleet.core.models import Operation, Store
from storefleet.database.connection import Connection
from storefleet.database.repositories.operations import COLUMNS, make_operation
from storefleet.database.repositories.stores import make_store
from storefleet.database.statements import load_statement
from storefleet.database.steps import StepRepository

_COLUMN_NAMES = tuple(COLUMNS.split(", "))
_FIND_CLAIMABLE = load_statement("find_claimable_operation")
_LOCK_DUE = load_statement("lock_due_operations")


class DueOperation(NamedTuple):
    """An operation that should be running.

    Attributes:
        operation: The operation without its steps.
        reason: `due` (not dispatched since it became due), `expired` (its lease has expired) or
            `unclaimed` (dispatched, but not claimed).
    """

    operation: Operation
    reason: Literal["due", "expired", "unclaimed"]


class LeaseRepository:
    """Finds operations to claim, renews leases and checks who owns an operation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._steps = StepRepository(connection)

    async def find_claimable(
        self, operation_id: str, *, store_id: str, kinds: Collection[OperationKind]
    ) -> tuple[Store, Operation] | None:
        """Find an operation that may be claimed now.

        Args:
            operation_id: The operation that a command names.
            store_id: The store that the command names.
            kinds: Kinds of operation that the worker has step plans for.

        Returns:
            The store and the operation with its steps; None when the operation is not due, is
            owned, has ended, or waits for an earlier operation of its store.
        """
        record = await self._connection.fetchrow(
            *_FIND_CLAIMABLE.bind(operation_id=operation_id, store_id=store_id, kinds=list(kinds))
        )
        if record is None:
            return None
        fields = {name: record[f"o_{name}"] for name in _COLUMN_NAMES}
        steps = (
            await self._steps.list_of_operation(operation_id)
            if fields["fence"]  # before its first claim an operation has no steps
            else ()
        )
        return make_store(record), Operation.model_validate({**fields, "steps": tuple(steps)})

    async def renew(self, operation_id: str, *, fence: int, lease_duration: timedelta) -> bool:
        """Extend the lease of a running operation.

        Returns:
            Whether a cancellation was requested.

        Raises:
            LeaseLost: The fence has changed, or the operation does not run.
        """
        cancel_requested = await self._connection.fetchval(
            """
            UPDATE operations SET lease_until = now() + $3::interval
            WHERE id = $1 AND fence = $2 AND state = 'running'
            RETURNING cancel_requested""",
            operation_id,
            fence,
            lease_duration,
        )
        if cancel_requested is None:
            raise LeaseLost(operation_id)
        return bool(cancel_requested)

    async def find_held_store(
        self, operation_id: str, *, fence: int, lock: bool = True
    ) -> tuple[Store, bool]:
        """Find the store of an operation that runs under this fence.

        Args:
            operation_id: The running operation.
            fence: The fencing token of the worker.
            lock: Lock both rows until the transaction ends: first the store, then the operation.

        Returns:
            The store, and whether a cancellation was requested.

        Raises:
            LeaseLost: The fence has changed, or the operation does not run.
        """
        record = await self._connection.fetchrow(
            f"""
            SELECT s.*, o.cancel_requested FROM stores s JOIN operations o ON o.store_id = s.id
            WHERE o.id = $1 AND o.fence = $2 AND o.state = 'running'
            {"FOR UPDATE OF s, o" if lock else ""}""",
            operation_id,
            fence,
        )
        if record is None:
            raise LeaseLost(operation_id)
        return make_store(record), record["cancel_requested"]

    async def lock_abandoned(self, operation_id: str, *, fence: int) -> Operation | None:
        """Lock an operation that is to be cancelled and that no worker owns.

        Returns:
            The operation, or None when the fence has changed or a worker holds a valid lease.
        """
        record = await self._connection.fetchrow(
            f"""
            SELECT {COLUMNS} FROM operations
            WHERE id = $1 AND fence = $2 AND state IN ('queued', 'running') AND cancel_requested
              AND (lease_until IS NULL OR lease_until < now())
            FOR UPDATE""",
            operation_id,
            fence,
        )
        if record is None:
            return None
        return make_operation(record, await self._steps.list_of_operation(operation_id))

    async def lock_due(
        self, *, redispatch_after: timedelta, limit: int = 200
    ) -> list[DueOperation]:
        """Lock operations that should be running and are not, oldest first.

        Args:
            redispatch_after: How long a command may stay unclaimed.
            limit: Operations per call.
        """
        records = await self._connection.fetch(
            *_LOCK_DUE.bind(redispatch_after=redispatch_after, limit=limit)
        )
        return [DueOperation(make_operation(record), record["reason"]) for record in records]
