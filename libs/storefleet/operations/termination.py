"""What ends an operation before it has come through, or sends it back: by a failure, or by a person.

Whoever calls holds the store's row, then the operation's, in a transaction.
"""

from collections.abc import Sequence

from storefleet.core.models import Failure, Operation, Store
from storefleet.database import operations, outbox, stores, version_changes
from storefleet.database.pool import Connection
from storefleet.observability import metrics
from storefleet.operations.progress import (
    can_roll_back_automatically,
    close_running_step,
    make_cancellation_failure,
    switch_steps_to_rollback,
)
from storefleet.runtimes.protocol import RuntimeStep


async def cancel_operation(
    conn: Connection,
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
            conn,
            store,
            operation,
            make_cancellation_failure("upgrade"),
            rollback_steps=rollback_steps,
        )
    changed = await mark_cancelled(conn, operation)
    await record_store_failure(conn, store, changed, make_cancellation_failure())
    return changed


async def start_automatic_rollback(
    conn: Connection,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    rollback_steps: Sequence[RuntimeStep] | None,
) -> Operation:
    """The upgrade remembers why it did not come through, and goes on with the way back."""
    steps = switch_steps_to_rollback(operation.steps, failure, rollback_steps or ())
    changed = operation.model_copy(update={"steps": steps})
    await operations.save_steps(conn, changed.id, changed.steps)
    changed = await version_changes.start_automatic_rollback(
        conn, changed, failure, release_lease=rollback_steps is None
    )
    store = await stores.update_store(conn, store.id, state="rolling_back")
    drafts = [outbox.make_event("store.rolling_back", store, changed)]
    if rollback_steps is None:
        drafts.append(outbox.make_command(changed))
    await outbox.add_rows(conn, *drafts)
    return changed


async def record_store_failure(
    conn: Connection,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    store_unchanged: bool = False,
) -> None:
    """The store shows the failure, unless it is to be deleted anyway, or is as it was; then whatever waits goes on."""
    changes_store = operation.kind in ("upgrade", "rollback")
    if operation.kind != "delete" and store.state == "deleting":
        await outbox.add_rows(conn, outbox.make_event("store.step", store, operation))
    elif changes_store and (store_unchanged or store.state == "ready"):
        if store.state != "ready":
            store = await stores.update_store(conn, store.id, state="ready", failure=None)
        await outbox.add_rows(conn, outbox.make_event("store.ready", store, operation))
    else:
        store = await stores.update_store(conn, store.id, state="failed", failure=failure)
        await outbox.add_rows(conn, outbox.make_event("store.failed", store, operation))
    await dispatch_next_operation(conn, store.id)


async def mark_cancelled(conn: Connection, operation: Operation) -> Operation:
    """Close an operation and the step it stands at; the caller owns it, or knows that nobody does."""
    changed = close_running_step(operation, "cancelled", "Cancelled")
    await operations.save_steps(conn, changed.id, changed.steps)
    changed = await operations.end_operation(conn, changed, state="cancelled", error=None)
    metrics.OPERATIONS_ENDED.labels(changed.kind, "cancelled").inc()
    return changed


async def dispatch_next_operation(conn: Connection, store_id: str) -> None:
    """The operation that waited for the one that has just ended."""
    waiting = await operations.find_next_operation(conn, store_id)
    if waiting is not None and waiting.state == "queued":
        await outbox.add_rows(conn, outbox.make_command(waiting))
        await operations.mark_dispatched(conn, [waiting.id])
