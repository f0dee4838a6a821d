"""Write what interrupts a running operation: a failure, a cancellation, or a return to the queue.

These transitions are rare. Each is a transaction that locks the store's row first, then the
operation's, so that the transitions of one store follow each other and never deadlock.
`recorder.py` writes the frequent transitions, and `termination.py` the parts that admission shares.
"""

from collections.abc import Sequence
from datetime import timedelta

from storefleet.core.errors import LeaseLost
from storefleet.core.lifecycle import (
    Occurrence,
    OperationState,
    StepState,
    choose_failure,
    find_transition,
)
from storefleet.core.models import Failure, Operation
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.observability import metrics
from storefleet.observability.failpoints import effect
from storefleet.operations.state_changes import describe_failed_rollback
from storefleet.operations.steps import close_running_step, find_running_step, update_step
from storefleet.operations.termination import (
    cancel_owned,
    cancel_unowned,
    continue_with_rollback,
    write_termination,
)
from storefleet.operations.written_stores import WrittenStores
from storefleet.runtimes.protocol import RuntimeStep


class InterruptionRecorder:
    """Records why a worker stops the steps of an operation that it owns.

    Every method raises `LeaseLost`, and writes nothing, when the operation's fence has changed,
    and `DatabaseUnavailable` when PostgreSQL does not answer.
    """

    def __init__(self, *, database: Database, written_stores: WrittenStores) -> None:
        """Create a recorder.

        Args:
            database: The database of the platform.
            written_stores: The cache of the worker's `OperationRecorder`. A failure or a
                cancellation discards the operation's entry, because it changes the store's row.
        """
        self._database = database
        self._written_stores = written_stores

    async def record_failure(
        self,
        operation: Operation,
        failure: Failure,
        *,
        dead_letter: bool,
        nothing_changed: bool = False,
        rollback_steps: Sequence[RuntimeStep] = (),
    ) -> Operation:
        """End a failed operation, or switch an upgrade to its automatic rollback.

        Args:
            operation: The operation under the worker's fence.
            failure: Why it failed.
            dead_letter: Whether a dead letter is added when the operation ends: its deadline was
                reached.
            nothing_changed: Whether the step stopped before any external effect.
            rollback_steps: The steps to continue with if an automatic rollback starts.

        Returns:
            The operation as written: failed, or running with its automatic rollback.
        """
        with effect("fail_operation"):
            async with self._database.transaction() as tx:
                self._written_stores.discard(operation.id)
                store, _ = await tx.leases.find_held_store(operation.id, fence=operation.fence)
                written = await tx.operations.read(operation.id)
                if written.is_rolling_back and not operation.is_rolling_back:
                    return written  # the switch is committed; only its answer was lost
                occurrence = choose_failure(operation.activity, nothing_changed=nothing_changed)
                transition = find_transition(store.state, operation.activity, occurrence)
                if transition.starts_automatic_rollback:
                    return await continue_with_rollback(
                        tx, store, operation, failure, rollback_steps
                    )
                changed = close_running_step(operation, StepState.FAILED, failure.detail)
                failure = describe_failed_rollback(operation, failure)
                await tx.operations.save_steps(changed.id, changed.steps)
                changed = await tx.operations.end(
                    changed, state=OperationState.FAILED, error=failure
                )
                await write_termination(tx, store, changed, failure, transition)
                if dead_letter:
                    await _add_dead_letter(tx, changed, failure)
                return changed

    async def record_cancellation(
        self, operation: Operation, *, rollback_steps: Sequence[RuntimeStep] = ()
    ) -> Operation:
        """End an operation whose cancellation was requested, or switch it to automatic rollback.

        Args:
            operation: The operation under the worker's fence.
            rollback_steps: The steps to continue with if an automatic rollback starts.

        Returns:
            The operation as written; unchanged when the request was handled before.
        """
        with effect("cancel_operation"):
            async with self._database.transaction() as tx:
                self._written_stores.discard(operation.id)
                store, cancel_requested = await tx.leases.find_held_store(
                    operation.id, fence=operation.fence
                )
                written = await tx.operations.read(operation.id)
                if not cancel_requested:
                    return written
                return await cancel_owned(tx, store, written, rollback_steps)

    async def requeue(
        self,
        operation: Operation,
        *,
        delay_s: float,
        message: str | None = None,
        failed_attempt: bool = False,
        dispatch: bool = False,
    ) -> Operation:
        """Put a running operation back into the queue.

        Args:
            operation: The operation under the worker's fence.
            delay_s: Seconds until it may be claimed again.
            message: The status message of its running step.
            failed_attempt: Whether an attempt is consumed.
            dispatch: Whether it is dispatched at once, because the worker shuts down.

        Returns:
            The queued operation.
        """
        async with self._database.transaction() as tx:
            store, _ = await tx.leases.find_held_store(operation.id, fence=operation.fence)
            position = find_running_step(operation)
            changed = operation
            if message is not None and position is not None:
                changed = update_step(operation, position, message=message)
                await tx.operations.save_steps(changed.id, changed.steps)
            attempt = operation.attempt + (1 if failed_attempt else 0)
            changed = await tx.operations.requeue(
                changed, delay=timedelta(seconds=delay_s), attempt=attempt
            )
            if message is not None:
                transition = find_transition(
                    store.state, operation.activity, Occurrence.STEP_RECORDED
                )
                await tx.outbox.add(make_event(transition.event, store, changed))
            if dispatch:
                await tx.outbox.add(make_command(changed))
                await tx.operations.mark_dispatched([changed.id])
            return changed


async def cancel_abandoned_operation(database: Database, operation: Operation) -> None:
    """Cancel an operation whose lease expired before its worker read the request.

    Args:
        database: The database of the platform.
        operation: The operation with its fence as it was read.

    Raises:
        LeaseLost: The worker has renewed its lease, or the operation was cancelled meanwhile.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with database.transaction() as tx:
        store = await tx.stores.lock(operation.store_id)
        abandoned = await tx.leases.lock_abandoned(operation.id, fence=operation.fence)
        if store is None or abandoned is None:
            raise LeaseLost(operation.id)
        await cancel_unowned(tx, store, abandoned)


async def _add_dead_letter(tx: Repositories, operation: Operation, failure: Failure) -> None:
    metrics.DEAD_LETTERS.labels("exhausted").inc()
    await tx.dead_letters.add(
        reason="exhausted",
        detail=f"{failure.code}: {failure.detail}",
        subject=make_command(operation).subject,
        payload=b"",
        tenant_id=operation.tenant_id,
        store_id=operation.store_id,
        operation_id=operation.id,
    )
