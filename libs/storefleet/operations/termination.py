"""Terminate an operation early: fail it, cancel it, or switch an upgrade to automatic rollback.

`core/lifecycle.py` decides which of the three it is. Every function works inside a transaction in
which the caller has locked the store's row, then the operation's.
"""

from collections.abc import Sequence

from storefleet.core.lifecycle import (
    Occurrence,
    OperationState,
    StepState,
    StoreEvent,
    StoreState,
    Transition,
    find_transition,
)
from storefleet.core.models import Failure, Operation, Store
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.repositories import Repositories
from storefleet.observability import metrics
from storefleet.operations.state_changes import make_cancellation_failure
from storefleet.operations.steps import close_running_step, switch_steps_to_rollback
from storefleet.runtimes.protocol import RuntimeStep


async def cancel_owned(
    tx: Repositories, store: Store, operation: Operation, rollback_steps: Sequence[RuntimeStep]
) -> Operation:
    """Cancel an operation for the worker that owns it.

    Args:
        tx: The transaction.
        store: The store, locked.
        operation: The operation, locked, with its steps.
        rollback_steps: The steps to continue with if an automatic rollback starts.

    Returns:
        The operation: ended, or running with its automatic rollback.
    """
    transition = find_transition(store.state, operation.activity, Occurrence.CANCELLED)
    failure = make_cancellation_failure(operation.activity)
    if transition.starts_automatic_rollback:
        return await continue_with_rollback(tx, store, operation, failure, rollback_steps)
    return await _end_cancelled(tx, store, operation, failure, transition)


async def cancel_unowned(tx: Repositories, store: Store, operation: Operation) -> Operation:
    """Cancel an operation that no worker owns: it is queued, or its worker's lease has expired.

    Args:
        tx: The transaction.
        store: The store, locked.
        operation: The operation, locked, with its steps.

    Returns:
        The operation: ended, or queued for its automatic rollback.
    """
    transition = find_transition(store.state, operation.activity, Occurrence.CANCELLED)
    failure = make_cancellation_failure(operation.activity)
    if transition.starts_automatic_rollback:
        return await queue_rollback(tx, store, operation, failure)
    return await _end_cancelled(tx, store, operation, failure, transition)


async def continue_with_rollback(
    tx: Repositories,
    store: Store,
    operation: Operation,
    failure: Failure,
    rollback_steps: Sequence[RuntimeStep],
) -> Operation:
    """Switch an upgrade to its automatic rollback; its worker continues under the same fence.

    Args:
        tx: The transaction.
        store: The store, locked.
        operation: The upgrade with its steps.
        failure: Why the upgrade did not succeed.
        rollback_steps: The steps of the rollback.

    Returns:
        The upgrade; it runs, and so does the first step of its rollback.
    """
    steps = switch_steps_to_rollback(operation.steps, failure, rollback_steps)
    changed = operation.model_copy(update={"steps": steps})
    await tx.operations.save_steps(changed.id, changed.steps)
    changed = await tx.operations.start_automatic_rollback(changed, failure, release_lease=False)
    store = await tx.stores.update(store.id, state=StoreState.ROLLING_BACK)
    await tx.outbox.add(make_event(StoreEvent.ROLLING_BACK, store, changed))
    return changed


async def queue_rollback(
    tx: Repositories, store: Store, operation: Operation, failure: Failure
) -> Operation:
    """Switch an upgrade that no worker owns to its automatic rollback, and dispatch it.

    The fence is incremented, so that a worker whose lease has expired cannot write any more. The
    worker that claims the operation adds the steps of the rollback.

    Args:
        tx: The transaction.
        store: The store, locked.
        operation: The upgrade with its steps.
        failure: Why the upgrade did not succeed.

    Returns:
        The upgrade, queued.
    """
    steps = switch_steps_to_rollback(operation.steps, failure, ())
    changed = operation.model_copy(update={"steps": steps})
    await tx.operations.save_steps(changed.id, changed.steps)
    changed = await tx.operations.start_automatic_rollback(changed, failure, release_lease=True)
    store = await tx.stores.update(store.id, state=StoreState.ROLLING_BACK)
    await tx.outbox.add(make_event(StoreEvent.ROLLING_BACK, store, changed), make_command(changed))
    return changed


async def write_termination(
    tx: Repositories, store: Store, operation: Operation, failure: Failure, transition: Transition
) -> None:
    """Write the store's state and event after an operation has ended; dispatch the next operation.

    Args:
        tx: The transaction.
        store: The store, locked.
        operation: The ended operation.
        failure: The failure that the store shows if its state becomes `failed`.
        transition: The transition of the lifecycle.
    """
    if transition.changes_state:
        shown = failure if transition.target == StoreState.FAILED else None
        store = await tx.stores.update(store.id, state=transition.target, failure=shown)
    await tx.outbox.add(make_event(transition.event, store, operation))
    await dispatch_next_operation(tx, store.id)


async def mark_cancelled(tx: Repositories, operation: Operation) -> Operation:
    """End an operation and its running step as cancelled; the caller updates the store.

    Args:
        tx: The transaction.
        operation: An operation that the caller owns, or that no worker owns.

    Returns:
        The ended operation.
    """
    changed = close_running_step(operation, StepState.CANCELLED, "Cancelled")
    await tx.operations.save_steps(changed.id, changed.steps)
    changed = await tx.operations.end(changed, state=OperationState.CANCELLED, error=None)
    metrics.OPERATIONS_ENDED.labels(changed.kind, changed.state).inc()
    return changed


async def dispatch_next_operation(tx: Repositories, store_id: str) -> None:
    """Dispatch the oldest queued operation of a store, if another one's end has unblocked it."""
    waiting = await tx.operations.find_oldest_open(store_id)
    if waiting is not None and waiting.state == OperationState.QUEUED:
        await tx.outbox.add(make_command(waiting))
        await tx.operations.mark_dispatched([waiting.id])


async def _end_cancelled(
    tx: Repositories, store: Store, operation: Operation, failure: Failure, transition: Transition
) -> Operation:
    ended = await mark_cancelled(tx, operation)
    await write_termination(tx, store, ended, failure, transition)
    return ended
