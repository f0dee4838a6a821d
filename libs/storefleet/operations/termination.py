"""What ends an operation before it has come through, or sends it back: by a failure, or by a person.

Whoever calls holds the store's row, then the operation's, in a transaction.
"""

from collections.abc import Sequence

from storefleet.core.models import Failure, Operation, Store
from storefleet.database import operations, outbox, stores, version_changes
from storefleet.database.pool import Connection
from storefleet.observability import metrics
from storefleet.operations.progress import cancelled_failure, close_running, goes_back, turned
from storefleet.runtimes.protocol import RuntimeStep


async def call_off(
    conn: Connection,
    store: Store,
    operation: Operation,
    *,
    back: Sequence[RuntimeStep] | None = None,
) -> Operation:
    """Take an operation back for a person: it ends, or an upgrade that has begun turns back.

    Without the steps that lead `back` nobody works on it, and whoever does later finds them.
    """
    if goes_back(store, operation):
        return await turn_back(conn, store, operation, cancelled_failure("upgrade"), back=back)
    changed = await end_cancelled(conn, operation)
    await settle(conn, store, changed, cancelled_failure())
    return changed


async def turn_back(
    conn: Connection,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    back: Sequence[RuntimeStep] | None,
) -> Operation:
    """The upgrade remembers why it did not come through, and goes on with the way back."""
    steps = turned(operation.steps, failure, back or ())
    changed = operation.model_copy(update={"steps": steps})
    await operations.save_steps(conn, changed.id, changed.steps)
    changed = await version_changes.turn_back(conn, changed, failure, deposed=back is None)
    store = await stores.change(conn, store.id, state="rolling_back")
    drafts = [outbox.event("store.rolling_back", store, changed)]
    if back is None:
        drafts.append(outbox.command(changed))
    await outbox.add(conn, *drafts)
    return changed


async def settle(
    conn: Connection,
    store: Store,
    operation: Operation,
    failure: Failure,
    *,
    unchanged: bool = False,
) -> None:
    """The store shows the failure, unless it is to be deleted anyway, or is as it was; then whatever waits goes on."""
    changes_store = operation.kind in ("upgrade", "rollback")
    if operation.kind != "delete" and store.state == "deleting":
        await outbox.add(conn, outbox.event("store.step", store, operation))
    elif changes_store and (unchanged or store.state == "ready"):
        if store.state != "ready":
            store = await stores.change(conn, store.id, state="ready", failure=None)
        await outbox.add(conn, outbox.event("store.ready", store, operation))
    else:
        store = await stores.change(conn, store.id, state="failed", failure=failure)
        await outbox.add(conn, outbox.event("store.failed", store, operation))
    await announce_next(conn, store.id)


async def end_cancelled(conn: Connection, operation: Operation) -> Operation:
    """Close an operation and the step it stands at; the caller owns it, or knows that nobody does."""
    changed = close_running(operation, "cancelled", "Cancelled")
    await operations.save_steps(conn, changed.id, changed.steps)
    changed = await operations.end(conn, changed, state="cancelled", error=None)
    metrics.OPERATIONS.labels(changed.kind, "cancelled").inc()
    return changed


async def announce_next(conn: Connection, store_id: str) -> None:
    """The operation that waited for the one that has just ended."""
    waiting = await operations.next_of_store(conn, store_id)
    if waiting is not None and waiting.state == "queued":
        await outbox.add(conn, outbox.command(waiting))
        await operations.mark_announced(conn, [waiting.id])
