"""Write the frequent transitions of stores and operations, each in one statement.

Round trips are their cost, so callers do not lock rows first. A statement compares the version and
the fence that were read, and writes nothing when another process has changed the rows since. The
caller notifies the relay after the commit: `database.autocommit(notify=OUTBOX_CHANNEL)`.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import Any

from storefleet.core.models import Failure, Operation, Store
from storefleet.database import outbox_rows, steps
from storefleet.database.connection import Connection
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.statements import load_statement

_ADD_STORE = load_statement("add_store")
_CLAIM_OPERATION = load_statement("claim_operation")
_WRITE_TRANSITION = load_statement("write_transition")


class AddStoreResult(Enum):
    """The result of adding a store."""

    ADDED = "added"
    NAME_TAKEN = "name_taken"
    LIMIT_MAY_BE_REACHED = "limit_may_be_reached"


_ADD_STORE_RESULTS = {
    True: AddStoreResult.ADDED,
    False: AddStoreResult.NAME_TAKEN,
    None: AddStoreResult.LIMIT_MAY_BE_REACHED,
}


class TransitionRepository:
    """Writes store, operation, steps and outbox rows together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_store(
        self,
        store: Store,
        operation: Operation,
        *rows: OutboxRow,
        requested_by: str,
        max_created: int | None = None,
    ) -> AddStoreResult:
        """Add a store with its dispatched create operation and their messages.

        Args:
            store: The new store.
            operation: Its create operation.
            rows: The event and the command.
            requested_by: The id of the user or token.
            max_created: Add nothing when the tenant has created this many stores in total, because
                its limits must then be counted. None when the caller has counted them.

        Returns:
            `NAME_TAKEN` when a live store has the name; `LIMIT_MAY_BE_REACHED` when nothing was
            written because of `max_created`.
        """
        added: bool | None = await self._connection.fetchval(
            *_ADD_STORE.bind(
                store_id=store.id,
                tenant_id=store.tenant_id,
                name=store.name,
                engine=store.engine,
                engine_version=store.engine_version,
                parameters=store.parameters,
                state=store.state,
                created_at=store.created_at,
                plan=store.plan,
                operation_id=operation.id,
                kind=operation.kind,
                request_id=operation.request_id,
                requested_by=requested_by,
                deadline=operation.deadline,
                max_created=max_created,
                **outbox_rows.make_column_arguments(rows),
            )
        )
        return _ADD_STORE_RESULTS[added]

    async def claim_operation(
        self,
        before: Store,
        store: Store,
        operation: Operation,
        *rows: OutboxRow,
        owner: str,
        lease_duration: timedelta,
    ) -> int | None:
        """Claim an operation, increment its fence and write what the claim changes.

        Args:
            before: The store as it was read.
            store: The store after the transition.
            operation: The operation after the transition, with its fence as it was read.
            rows: The messages of the transition.
            owner: The worker that becomes the owner.
            lease_duration: How long the lease lasts from now.

        Returns:
            The operation's new fence; None, with nothing written, when operation or store differ
            from what was read.
        """
        fence: int | None = await self._connection.fetchval(
            *_CLAIM_OPERATION.bind(
                owner=owner,
                lease_duration=lease_duration,
                operation_started_at=operation.started_at,
                **_make_arguments(before, store, operation, rows),
            )
        )
        return fence

    async def write(
        self,
        before: Store,
        store: Store,
        operation: Operation,
        *rows: OutboxRow,
        stop_on_cancel: bool,
    ) -> bool:
        """Write a transition of a running operation.

        Args:
            before: The store as it was read.
            store: The store after the transition.
            operation: The operation with its steps after the transition.
            rows: The messages of the transition.
            stop_on_cancel: Write nothing when a cancellation was requested.

        Returns:
            Whether it was written. It was not when the operation or the store differ from what
            was read, or because of `stop_on_cancel`.
        """
        written = await self._connection.fetchval(
            *_WRITE_TRANSITION.bind(
                stop_on_cancel=stop_on_cancel,
                baseline=operation.baseline,
                **_make_arguments(before, store, operation, rows),
            )
        )
        return bool(written)


def _make_arguments(
    before: Store, store: Store, operation: Operation, rows: Sequence[OutboxRow]
) -> dict[str, Any]:
    return {
        "store_id": store.id,
        "version_read": before.version,
        "store_state": store.state,
        "url": store.url,
        "admin_url": store.admin_url,
        "store_failure": _dump_failure(store.failure),
        "ready_at": store.ready_at,
        "deleted_at": store.deleted_at,
        "version": store.version,
        "engine_version": store.engine_version,
        "operation_id": operation.id,
        "operation_state": operation.state,
        "operation_error": _dump_failure(operation.error),
        "operation_finished_at": operation.finished_at,
        "fence": operation.fence,
        **steps.make_column_arguments(operation.steps),
        **outbox_rows.make_column_arguments(tuple(rows)),
    }


def _dump_failure(failure: Failure | None) -> dict[str, Any] | None:
    return failure.model_dump() if failure else None
