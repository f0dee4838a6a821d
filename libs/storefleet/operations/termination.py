"""What ends an operation before it has come through, or sends it back: by a failure, or by a person.

Whoever calls holds the store's row, then the operation's, in a transaction.
"""

from collections.abc import Sequence

from storefleet.core.models import Failure, Operation, Store
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.repositories import Repositories
from storefleet.observability import metrics
from storefleet.operations.progress import (
    can_roll_back_automatically,
    close_running_step,
    make_cancellation_failure,
    switch_steps_to_rollback,
)
from storefleet.runtimes.protocol import RuntimeStep


async def cancel_operation(
    tx: Repositories,
    store: Store,
    operation: Operation,
    *,
    rollback_steps: Sequence[RuntimeStep] | None = None,
) -> Operation:
    """Take an operation back for a person: it ends, or an upgrade that has begun turns back.

    Without the steps that lead `back` nobody works on it, and whoever does later finds them.
    """
    if can_roll_back_automatically(store, operation):
        return await start_automatic_rollback(
            tx,
            store,
            operation,
            make_cancellation_failure("upgrade"),
            rollback_steps=rollback_steps,
        )
    changed = await mark_cancelled(tx, operation)
    await record_store_failure(tx, store, changed, make_cancellation_failure())
    return changed


async def start_automatic_rollback(
    tx: Repositories,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    rollback_steps: Sequence[RuntimeStep] | None,
) -> Operation:
    """The upgrade remembers why it did not come through, and goes on with the way back."""
    steps = switch_steps_to_rollback(operation.steps, failure, rollback_steps or ())
    changed = operation.model_copy(update={"steps": steps})
    await tx.operations.save_steps(changed.id, changed.steps)
    changed = await tx.operations.start_automatic_rollback(
        changed, failure, release_lease=rollback_steps is None
    )
    store = await tx.stores.update(store.id, state="rolling_back")
    drafts = [make_event("store.rolling_back", store, changed)]
    if rollback_steps is None:
        drafts.append(make_command(changed))
    await tx.outbox.add(*drafts)
    return changed


async def record_store_failure(
    tx: Repositories,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    store_unchanged: bool = False,
) -> None:
    """The store shows the failure, unless it is to be deleted anyway, or is as it was; then whatever waits goes on."""
    changes_store = operation.kind in ("upgrade", "rollback")
    if operation.kind != "delete" and store.state == "deleting":
        await tx.outbox.add(make_event("store.step", store, operation))
    elif changes_store and (store_unchanged or store.state == "ready"):
        if store.state != "ready":
            store = await tx.stores.update(store.id, state="ready", failure=None)
        await tx.outbox.add(make_event("store.ready", store, operation))
    else:
        store = await tx.stores.update(store.id, state="failed", failure=failure)
        await tx.outbox.add(make_event("store.failed", store, operation))
    await dispatch_next_operation(tx, store.id)


async def mark_cancelled(tx: Repositories, operation: Operation) -> Operation:
    """Close an operation and the step it stands at; the caller owns it, or knows that nobody does."""
    changed = close_running_step(operation, "cancelled", "Cancelled")
    await tx.operations.save_steps(changed.id, changed.steps)
    changed = await tx.operations.end(changed, state="cancelled", error=None)
    metrics.OPERATIONS_ENDED.labels(changed.kind, "cancelled").inc()
    return changed


async def dispatch_next_operation(tx: Repositories, store_id: str) -> None:
    """The operation that waited for the one that has just ended."""
    waiting = await tx.operations.find_next(store_id)
    if waiting is not None and waiting.state == "queued":
        await tx.outbox.add(make_command(waiting))
        await tx.operations.mark_dispatched([waiting.id])
