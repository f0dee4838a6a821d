"""Write every transition of a running operation: row, steps, store, event and next command.

Each transition is one transaction. The rare ones lock the store's row first, then the operation's,
so that transitions of one store follow each other and never deadlock. The frequent ones read
without a lock and write in one statement, which changes nothing when the rows differ from what was
read. What a transition is, `core/lifecycle.py` decides; when it happens, `operations/run.py`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from storefleet.core.errors import CancelRequested, LeaseLost
from storefleet.core.lifecycle import (
    Occurrence,
    OperationKind,
    OperationState,
    StepState,
    choose_failure,
    find_transition,
)
from storefleet.core.models import Failure, Operation, Store, utc_now
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.observability import metrics
from storefleet.observability.failpoints import effect
from storefleet.operations.state_changes import (
    StateChange,
    begin_operation,
    complete_operation,
    describe_failed_rollback,
    record_progress,
)
from storefleet.operations.step_plans import StepPlans
from storefleet.operations.steps import (
    close_running_step,
    find_running_step,
    merge_step_plan,
    start_next_step,
    update_step,
)
from storefleet.operations.termination import (
    apply_termination,
    cancel_owned,
    cancel_unowned,
    continue_with_rollback,
)
from storefleet.operations.written_stores import WrittenStores
from storefleet.runtimes.protocol import RuntimeStep, StepResult


class OperationRecorder:
    """Writes what a worker does to its operations.

    Every method but `claim` raises `LeaseLost`, and writes nothing, when the operation's fence has
    moved on, and `DatabaseUnavailable` when PostgreSQL does not answer.
    """

    def __init__(self, database: Database) -> None:
        """Create a recorder.

        Args:
            database: The database of the platform.
        """
        self._database = database
        self._written_stores = WrittenStores()

    async def claim(
        self,
        operation_id: str,
        *,
        store_id: str,
        owner: str,
        lease_duration: timedelta,
        step_plans: StepPlans,
    ) -> tuple[Store, Operation] | None:
        """Claim an operation and start its lease.

        An abandoned operation whose cancellation was requested is cancelled instead.

        Args:
            operation_id: The operation that a command names.
            store_id: The store that the command names.
            owner: The worker that becomes the owner.
            lease_duration: How long the lease lasts from now.
            step_plans: The step plans of the kinds of operation that the worker runs.

        Returns:
            The store and the running operation; None when there is nothing to do.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        with effect("claim"):
            async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
                while found := await db.leases.find_claimable(
                    operation_id, store_id=store_id, kinds=list(step_plans)
                ):
                    before, unclaimed = found
                    if unclaimed.cancel_requested:
                        break
                    plan = step_plans[unclaimed.kind](before, unclaimed)
                    steps = start_next_step(merge_step_plan(unclaimed, plan))
                    store, operation, event = begin_operation(
                        before, unclaimed.model_copy(update={"steps": steps})
                    )
                    fence = await db.transitions.claim_operation(
                        before,
                        store,
                        operation,
                        make_event(event, store, operation),
                        owner=owner,
                        lease_duration=lease_duration,
                    )
                    if fence is not None:
                        self._written_stores.put(operation.id, store)
                        return store, operation.model_copy(update={"fence": fence})
        if found:
            with suppress(LeaseLost):  # another worker or a reaper has cancelled it meanwhile
                await self.cancel_abandoned(unclaimed)
        return None

    def discard_cached_store(self, operation: Operation) -> None:
        """Discard what is cached for an operation whose claim is over."""
        self._written_stores.take(operation.id)

    async def renew_lease(self, operation: Operation, lease_duration: timedelta) -> bool:
        """Extend the lease of a running operation.

        Args:
            operation: The operation under the worker's fence.
            lease_duration: How long the lease lasts from now.

        Returns:
            Whether a cancellation was requested.
        """
        async with self._database.autocommit() as db:
            return await db.leases.renew(
                operation.id, fence=operation.fence, lease_duration=lease_duration
            )

    async def record_message(self, operation: Operation, position: int, message: str) -> Operation:
        """Record the status message of a step.

        Args:
            operation: The operation under the worker's fence.
            position: The step's position, counted from 0.
            message: What the step waits for, for people.

        Returns:
            The operation as written.
        """
        changed = update_step(operation, position, message=message)
        return await self._write_transition(
            operation, lambda store: record_progress(store, changed)
        )

    async def record_step_start(self, operation: Operation, position: int) -> Operation:
        """Record that a step has started.

        Args:
            operation: The operation under the worker's fence.
            position: The step's position, counted from 0.

        Returns:
            The operation as written.
        """
        changed = update_step(operation, position, state=StepState.RUNNING, started_at=utc_now())
        return await self._write_transition(
            operation, lambda store: record_progress(store, changed)
        )

    async def record_step_result(
        self, operation: Operation, position: int, result: StepResult, *, is_last: bool
    ) -> Operation:
        """Close a step and start the next one, or end the operation after its last step.

        Args:
            operation: The operation under the worker's fence.
            position: The step's position, counted from 0.
            result: What the step returned.
            is_last: Whether it is the last step.

        Returns:
            The operation as written.

        Raises:
            CancelRequested: A cancellation was requested; a deletion ignores that.
        """
        changed = update_step(
            operation,
            position,
            state=StepState.SUCCEEDED,
            finished_at=utc_now(),
            message=result.message,
        )
        changed = changed.model_copy(update={"steps": start_next_step(changed.steps)})
        address: dict[str, str] = {}
        if result.address is not None:
            address = {"url": result.address.url, "admin_url": result.address.admin_url}

        def make_change(store: Store) -> StateChange:
            if is_last:
                return complete_operation(store, changed, address)
            return record_progress(store, changed, address)

        with effect(f"record_{operation.steps[position].name}"):
            return await self._write_transition(
                operation, make_change, stop_on_cancel=operation.kind != OperationKind.DELETE
            )

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
            dead_letter: Whether an operation that ends becomes a dead letter, too: its deadline
                was reached.
            nothing_changed: Whether its step stopped before any effect.
            rollback_steps: The steps of an automatic rollback, should there be one.

        Returns:
            The operation as written: failed, or running with its automatic rollback.
        """
        with effect("fail_operation"):
            async with self._database.transaction() as tx:
                self._written_stores.take(operation.id)
                store, _ = await tx.leases.find_held_store(operation.id, fence=operation.fence)
                written = await tx.operations.read(operation.id)
                if written.is_rolling_back and not operation.is_rolling_back:
                    return written  # it was switched before; only the answer was lost
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
                await apply_termination(tx, store, changed, failure, transition)
                if dead_letter:
                    await _add_dead_letter(tx, changed, failure)
                return changed

    async def record_cancellation(
        self, operation: Operation, *, rollback_steps: Sequence[RuntimeStep] = ()
    ) -> Operation:
        """End an operation whose cancellation was requested, or switch it to automatic rollback.

        Args:
            operation: The operation under the worker's fence.
            rollback_steps: The steps of an automatic rollback, should there be one.

        Returns:
            The operation as written. It is unchanged when the request no longer stands.
        """
        with effect("cancel_operation"):
            async with self._database.transaction() as tx:
                self._written_stores.take(operation.id)
                store, cancel_requested = await tx.leases.find_held_store(
                    operation.id, fence=operation.fence
                )
                written = await tx.operations.read(operation.id)
                if not cancel_requested:
                    return written
                return await cancel_owned(tx, store, written, rollback_steps)

    async def cancel_abandoned(self, operation: Operation) -> None:
        """Cancel an operation whose worker let its lease expire before it saw the request.

        Args:
            operation: The operation with its fence as it was read.

        Raises:
            LeaseLost: Its worker is back, or it was cancelled meanwhile.
        """
        async with self._database.transaction() as tx:
            store = await tx.stores.lock(operation.store_id)
            abandoned = await tx.leases.lock_abandoned(operation.id, fence=operation.fence)
            if store is None or abandoned is None:
                raise LeaseLost(operation.id)
            await cancel_unowned(tx, store, abandoned)

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
            failed_attempt: Whether this counts as an attempt.
            dispatch: Whether to dispatch it now, because the worker shuts down.

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

    async def _write_transition(
        self,
        operation: Operation,
        make_change: Callable[[Store], StateChange],
        *,
        stop_on_cancel: bool = False,
    ) -> Operation:
        """Write a transition, starting from the cached store, else from the row.

        Raises:
            CancelRequested: A cancellation was requested, and `stop_on_cancel` is set.
        """
        async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
            written, before = False, self._written_stores.take(operation.id)
            while not written:
                if before is None:
                    before, cancel_requested = await db.leases.find_held_store(
                        operation.id, fence=operation.fence, lock=False
                    )
                    if cancel_requested and stop_on_cancel:
                        raise CancelRequested
                store, changed, event = make_change(before)
                written = await db.transitions.write(
                    before,
                    store,
                    changed,
                    make_event(event, store, changed),
                    stop_on_cancel=stop_on_cancel,
                )
                before = None
            self._written_stores.put(operation.id, store)
        return changed


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
