"""Admit requests about stores and their operations: create, delete, retry, cancel.

Changes of the engine version are in `versions.py`, new stores in `creation.py`. `core/lifecycle.py`
decides which state a request leads to.
"""

from collections.abc import Callable

from storefleet.admission.acceptance import (
    Accepted,
    Replayed,
    add_audit_entry,
    add_operation,
    lock_store,
)
from storefleet.admission.creation import Quota, StoreCreation
from storefleet.admission.requests import CancelOperation, CreateStore, DeleteStore, RetryOperation
from storefleet.core.errors import Conflict, NotFound
from storefleet.core.lifecycle import (
    RETRY_KINDS,
    Activity,
    CancelObstacle,
    Occurrence,
    OperationKind,
    OperationState,
    StoreState,
    find_cancel_obstacle,
    find_transition,
)
from storefleet.core.models import Operation, Principal, Store
from storefleet.core.operation_inputs import DeleteInput, OperationInput, RollbackInput
from storefleet.core.settings import Settings
from storefleet.database.outbox_rows import OutboxRow, make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.observability import logs
from storefleet.operations.termination import cancel_unowned, mark_cancelled

log = logs.get_logger(__name__)


class StoreAdmission:
    """Decides on requests about stores and records what it accepts."""

    def __init__(
        self,
        *,
        database: Database,
        engines: EngineCatalogue,
        settings: Settings,
        dispatch_command: Callable[[OutboxRow], None] = lambda _command: None,
    ) -> None:
        """Create the admission.

        Args:
            database: The database of the platform.
            engines: The engines that can be requested.
            settings: Limits, deadlines and retention.
            dispatch_command: Publishes the command of a new store as soon as it is committed.
        """
        self._database = database
        self._settings = settings
        self._creation = StoreCreation(
            database=database, engines=engines, settings=settings, dispatch_command=dispatch_command
        )

    async def create_store(
        self,
        principal: Principal,
        request: CreateStore,
        *,
        request_id: str | None,
        idempotency_key: str | None = None,
    ) -> Accepted | Replayed:
        """Create a store; see `StoreCreation.create_store`."""
        return await self._creation.create_store(
            principal, request, request_id=request_id, idempotency_key=idempotency_key
        )

    async def read_quota(self, principal: Principal) -> Quota:
        """Read how much of its limits the principal's tenant has left."""
        return await self._creation.read_quota(principal)

    async def delete_store(
        self, principal: Principal, request: DeleteStore, *, request_id: str | None
    ) -> Accepted:
        """Delete a store in any state; its running operation is cancelled first.

        Args:
            principal: Who requested it.
            request: The store to delete.
            request_id: The id of the HTTP request.

        Returns:
            The store and its delete operation; the same one for a repeated request.

        Raises:
            NotFound: The tenant has no such store.
        """
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, request.store_ref, self._settings)
            pending = await tx.operations.list_open(store.id)
            deletions = [each for each in pending if each.kind == OperationKind.DELETE]
            if deletions:
                return Accepted(store, deletions[0])
            if store.state == StoreState.DELETED:
                return Accepted(store, await _read_latest_operation(tx, store))
            is_running = await _cancel_pending(tx, pending)
            transition = find_transition(store.state, Activity.DELETE, Occurrence.REQUESTED)
            store = await tx.stores.update(store.id, state=transition.target, failure=None)
            operation = await add_operation(
                tx,
                principal,
                store,
                OperationKind.DELETE,
                DeleteInput(),
                settings=self._settings,
                request_id=request_id,
                dispatched=not is_running,
            )
            rows = [make_event(transition.event, store, operation)]
            if not is_running:  # otherwise it is dispatched when the running operation ends
                rows.append(make_command(operation))
            await tx.outbox.add(*rows)
            await add_audit_entry(tx, principal, "store.delete", store.id, request_id)
        log.info("store_deletion_requested", store_id=store.id, operation_id=operation.id)
        return Accepted(store, operation)

    async def retry_operation(
        self, principal: Principal, request: RetryOperation, *, request_id: str | None
    ) -> Accepted:
        """Run the failed operation of a store again; effects of earlier attempts are kept.

        Args:
            principal: Who requested it.
            request: The failed store.
            request_id: The id of the HTTP request.

        Returns:
            The store and the new operation. A failed upgrade is retried as a rollback.

        Raises:
            NotFound: The tenant has no such store.
            Conflict: The store is not failed, or an operation of it is open.
        """
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, request.store_ref, self._settings)
            pending = await tx.operations.list_open(store.id)
            if store.state != StoreState.FAILED or pending:
                raise Conflict(
                    f"The store is {store.state}. Only a failed store can be retried.",
                    code="not_failed",
                )
            latest = await _read_latest_operation(tx, store)
            kind = RETRY_KINDS[latest.kind]
            transition = find_transition(store.state, Activity(kind), Occurrence.RETRIED)
            store = await tx.stores.update(store.id, state=transition.target, failure=None)
            operation = await add_operation(
                tx,
                principal,
                store,
                kind,
                _make_retry_input(store, latest),
                settings=self._settings,
                request_id=request_id,
                baseline=latest.baseline,
            )
            await tx.outbox.add(
                make_event(transition.event, store, operation), make_command(operation)
            )
            await add_audit_entry(tx, principal, "store.retry", store.id, request_id)
        return Accepted(store, operation)

    async def cancel_operation(
        self, principal: Principal, request: CancelOperation, *, request_id: str | None
    ) -> Operation:
        """Cancel an operation; a running one is stopped by its worker.

        Args:
            principal: Who requested it.
            request: The operation to cancel.
            request_id: The id of the HTTP request.

        Returns:
            The operation: cancelled, rolling back, running with the request recorded, or
            unchanged when it has ended.

        Raises:
            NotFound: The tenant has no such operation.
            Conflict: The operation cannot be cancelled, or not any more.
        """
        async with self._database.transaction() as tx:
            operation = await _find_operation(tx, principal, request)
            store = await tx.stores.find(
                tenant_id=principal.tenant_id, store_ref=operation.store_id, lock=True
            )
            if store is None:
                raise NotFound("Operation not found.")
            # Read again under the lock: a worker may have changed the operation meanwhile.
            operation = await _find_operation(tx, principal, request)
            if operation.done:
                return operation
            if reason := _explain_not_cancellable(store, operation):
                raise Conflict(reason, code="not_cancellable")
            if operation.state == OperationState.QUEUED:
                operation = await cancel_unowned(tx, store, operation)
            else:
                await tx.operations.request_cancel(operation.id)
                operation = operation.model_copy(update={"cancel_requested": True})
            await add_audit_entry(tx, principal, "operation.cancel", operation.id, request_id)
        return operation


async def _find_operation(
    tx: Repositories, principal: Principal, request: CancelOperation
) -> Operation:
    operation = await tx.operations.find(
        tenant_id=principal.tenant_id, operation_id=request.operation_id
    )
    if operation is None:
        raise NotFound("Operation not found.")
    return operation


async def _read_latest_operation(tx: Repositories, store: Store) -> Operation:
    return (await tx.operations.find_latest_by_store([store.id]))[store.id]


async def _cancel_pending(tx: Repositories, pending: list[Operation]) -> bool:
    """Cancel the operations that a deletion supersedes; return whether one is still running."""
    is_running = False
    for operation in pending:
        if operation.state == OperationState.QUEUED:
            await mark_cancelled(tx, operation)
        else:
            await tx.operations.request_cancel(operation.id)
            is_running = True
    return is_running


def _make_retry_input(store: Store, latest: Operation) -> OperationInput:
    """Make the input of the operation that retries the latest one of a failed store."""
    if latest.kind != OperationKind.UPGRADE:
        return latest.input
    return RollbackInput(
        from_version=latest.versions.to_version, to_version=store.engine_version, dump=latest.id
    )


def _explain_not_cancellable(store: Store, operation: Operation) -> str | None:
    match find_cancel_obstacle(operation.activity, store.state):
        case None:
            return None
        case CancelObstacle.DELETION:
            return "A deletion cannot be cancelled. Wait for it, then create the store again."
        case CancelObstacle.AUTOMATIC_ROLLBACK:
            return (
                f"The upgrade is already rolling back to {operation.versions.from_version}."
                " Wait for it."
            )
        case CancelObstacle.ROLLBACK_STARTED:
            return (
                "A rollback that has started cannot be cancelled. Wait for it, then upgrade again."
            )
