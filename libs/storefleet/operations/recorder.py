"""Every transition of an operation, each one transaction: operation, steps, store, event, the next command.

The store's row is locked first, everywhere, so that transitions of one store follow each other and never deadlock. The
frequent ones read without a lock, and write in one statement that changes nothing when the rows are not those any more.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from storefleet.core.errors import CancelRequested, LeaseLost
from storefleet.core.models import Failure, Operation, Store, utc_now
from storefleet.database.outbox import OUTBOX_CHANNEL
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.observability import metrics
from storefleet.observability.failpoints import effect
from storefleet.operations.progress import (
    Transition,
    begin_operation,
    can_roll_back_automatically,
    close_running_step,
    complete_operation,
    describe_failed_rollback,
    merge_step_plan,
    start_next_step,
    update_step,
)
from storefleet.operations.step_plans import StepPlans
from storefleet.operations.termination import (
    cancel_operation,
    record_store_failure,
    start_automatic_rollback,
)
from storefleet.runtimes.protocol import RuntimeStep, StepResult


class OperationRecorder:
    """Writes what a worker does. Every method but `claim` raises LeaseLost when the fence has moved on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_written: dict[str, Store] = {}  # by operation, as it was written here last

    async def claim(
        self,
        operation_id: str,
        *,
        store_id: str,
        owner: str,
        lease_duration: timedelta,
        step_plans: StepPlans,
    ) -> tuple[Store, Operation] | None:
        """Take the operation if it is to be worked on now; None when there is nothing to do."""
        with effect("claim"):
            async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
                while found := await db.leases.find_claimable(
                    operation_id, store_id=store_id, kinds=list(step_plans)
                ):
                    before, operation = found
                    if operation.cancel_requested:
                        break
                    steps = start_next_step(
                        merge_step_plan(operation, step_plans[operation.kind](before, operation))
                    )
                    operation = operation.model_copy(update={"steps": steps})
                    store, event = begin_operation(before, operation)
                    draft = make_event(event, store, operation)
                    if await db.transitions.claim_operation(
                        before,
                        store,
                        operation,
                        draft,
                        owner=owner,
                        lease_duration=lease_duration,
                    ):
                        self._last_written[operation.id] = store
                        return store, operation
        if found:
            with suppress(LeaseLost):  # somebody else has seen it, too
                await self.cancel_abandoned(
                    found[1].model_copy(update={"fence": found[1].fence - 1})
                )
        return None

    def discard_cached_store(self, operation: Operation) -> None:
        """Whoever claimed it is through with it."""
        self._last_written.pop(operation.id, None)

    async def renew_lease(self, operation: Operation, lease_duration: timedelta) -> bool:
        """Extend the lease; returns whether a cancel was requested."""
        async with self._database.autocommit() as db:
            return await db.leases.renew(
                operation.id, fence=operation.fence, lease_duration=lease_duration
            )

    async def record_message(self, operation: Operation, position: int, message: str) -> Operation:
        """Show what the running step waits for."""
        changed = update_step(operation, position, message=message)
        return await self._write_transition(operation, lambda store: (store, changed, "store.step"))

    async def record_step_start(self, operation: Operation, position: int) -> Operation:
        changed = update_step(operation, position, state="running", started_at=utc_now())
        return await self._write_transition(operation, lambda store: (store, changed, "store.step"))

    async def record_step_result(
        self, operation: Operation, position: int, result: StepResult, *, is_last: bool
    ) -> Operation:
        """Close a step and open the next one, or, after the last, the whole operation; raises CancelRequested."""
        changed = update_step(
            operation, position, state="succeeded", finished_at=utc_now(), message=result.message
        )
        changed = changed.model_copy(update={"steps": start_next_step(changed.steps)})
        address = (
            {"url": result.address.url, "admin_url": result.address.admin_url}
            if result.address is not None
            else {}
        )

        def make_transition(store: Store) -> Transition:
            if is_last:
                return complete_operation(store, changed, address)
            return store.copy_with(**address), changed, "store.step"

        with effect(f"record_{operation.steps[position].name}"):
            return await self._write_transition(
                operation, make_transition, stop_on_cancel=operation.kind != "delete"
            )

    async def record_failure(
        self,
        operation: Operation,
        failure: Failure,
        *,
        dead_letter: bool,
        store_unchanged: bool = False,
        rollback_steps: Sequence[RuntimeStep] = (),
    ) -> Operation:
        """Close the operation with its reason; one that gave up becomes a dead letter too.

        An upgrade goes on instead, with the steps that lead `back`, unless the store is still as it was: `unchanged`.
        """
        with effect("fail_operation"):
            async with self._database.transaction() as tx:
                self._last_written.pop(operation.id, None)
                store = await self._lock_store(tx, operation)
                written = await tx.operations.read(operation.id)
                if written.error and not operation.error:
                    return written  # it has turned back already, only the answer was lost
                if can_roll_back_automatically(store, operation) and not store_unchanged:
                    return await start_automatic_rollback(
                        tx, store, operation, failure, rollback_steps=rollback_steps
                    )
                changed = close_running_step(operation, "failed", failure.detail)
                failure = describe_failed_rollback(operation, failure)
                await tx.operations.save_steps(changed.id, changed.steps)
                changed = await tx.operations.end(changed, state="failed", error=failure)
                await record_store_failure(
                    tx, store, changed, failure, store_unchanged=store_unchanged
                )
                if dead_letter:
                    metrics.DEAD_LETTERS.labels("exhausted").inc()
                    await tx.dead_letters.add(
                        reason="exhausted",
                        detail=f"{failure.code}: {failure.detail}",
                        subject=make_command(changed).subject,
                        payload=b"",
                        tenant_id=changed.tenant_id,
                        store_id=changed.store_id,
                        operation_id=changed.id,
                    )
                return changed

    async def record_cancellation(
        self, operation: Operation, *, rollback_steps: Sequence[RuntimeStep] = ()
    ) -> Operation:
        """Close the operation because a person took it back, or let it go on with the steps that lead `back`."""
        with effect("cancel_operation"):
            async with self._database.transaction() as tx:
                self._last_written.pop(operation.id, None)
                store, cancel = await tx.leases.find_held_store(operation.id, fence=operation.fence)
                written = await tx.operations.read(operation.id)
                return (
                    await cancel_operation(tx, store, written, rollback_steps=rollback_steps)
                    if cancel
                    else written
                )

    async def cancel_abandoned(self, operation: Operation) -> None:
        """Call off a cancelled operation whose worker let its lease expire; raises LeaseLost when it is back."""
        async with self._database.transaction() as tx:
            store = await tx.stores.lock(operation.store_id)
            abandoned = await tx.leases.lock_abandoned(operation.id, fence=operation.fence)
            if store is None or abandoned is None:
                raise LeaseLost(operation.id)
            await cancel_operation(tx, store, abandoned)

    async def requeue(
        self,
        operation: Operation,
        *,
        delay_s: float,
        message: str | None = None,
        failed_attempt: bool = False,
        dispatch: bool = False,
    ) -> Operation:
        """Back into the queue, to be taken again after `delay` seconds."""
        async with self._database.transaction() as tx:
            store = await self._lock_store(tx, operation)
            position = next(
                (n for n, s in enumerate(operation.steps) if s.state == "running"), None
            )
            changed = operation
            if message is not None and position is not None:
                changed = update_step(operation, position, message=message)
                await tx.operations.save_steps(changed.id, changed.steps)
            attempt = operation.attempt + (1 if failed_attempt else 0)
            changed = await tx.operations.requeue(
                changed, delay=timedelta(seconds=delay_s), attempt=attempt
            )
            if message is not None:
                await tx.outbox.add(make_event("store.step", store, changed))
            if dispatch:
                await tx.outbox.add(make_command(changed))
                await tx.operations.mark_dispatched([changed.id])
            return changed

    async def _lock_store(self, tx: Repositories, operation: Operation) -> Store:
        store, _ = await tx.leases.find_held_store(operation.id, fence=operation.fence)
        return store

    async def _write_transition(
        self,
        operation: Operation,
        make_transition: Callable[[Store], Transition],
        *,
        stop_on_cancel: bool = False,
    ) -> Operation:
        """Write what `move` makes of the store as it was known; when it is not so any more, of the store as it is.

        Raises CancelRequested.
        """
        async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
            written, before = False, self._last_written.pop(operation.id, None)
            while not written:
                if before is None:
                    before, cancel = await db.leases.find_held_store(
                        operation.id, fence=operation.fence, lock=False
                    )
                    if cancel and stop_on_cancel:
                        raise CancelRequested
                store, changed, event = make_transition(before)
                draft = make_event(event, store, changed)
                written = await db.transitions.write(
                    before, store, changed, draft, stop_on_cancel=stop_on_cancel
                )
                before = None
            self._last_written[operation.id] = store
        return changed
