"""Write the frequent transitions of a running operation: its claim and each of its steps.

One statement writes the store, the operation, its steps and the event. No row is locked beforehand:
the statement compares the version and the fence that were read, and writes nothing when they
differ. `interruptions.py` writes the rare transitions, which lock rows. `run.py` decides when a
transition happens, and `core/lifecycle.py` which one it is.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from storefleet.core.errors import CancelRequested, LeaseLost
from storefleet.core.lifecycle import OperationKind, StepState
from storefleet.core.models import Operation, Store, utc_now
from storefleet.database.outbox_rows import make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.observability.failpoints import effect
from storefleet.operations.interruptions import cancel_abandoned_operation
from storefleet.operations.state_changes import (
    StateChange,
    apply_claim,
    apply_progress,
    apply_success,
)
from storefleet.operations.step_plans import StepPlan, StepPlans
from storefleet.operations.steps import merge_step_plan, start_next_step, update_step
from storefleet.operations.written_stores import WrittenStores
from storefleet.runtimes.protocol import StepResult


class OperationRecorder:
    """Claims operations, renews their leases and records their steps.

    Every method but `claim` raises `LeaseLost`, and writes nothing, when the operation's fence has
    changed, and `DatabaseUnavailable` when PostgreSQL does not answer.
    """

    def __init__(self, *, database: Database, written_stores: WrittenStores) -> None:
        """Create a recorder.

        Args:
            database: The database of the platform.
            written_stores: The worker's cache, which its `InterruptionRecorder` shares.
        """
        self._database = database
        self._written_stores = written_stores

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
                    store, unclaimed = found
                    if unclaimed.cancel_requested:
                        break  # cancelled below, in a transaction of its own
                    claimed = await self._try_claim(
                        db,
                        store,
                        unclaimed,
                        owner=owner,
                        lease_duration=lease_duration,
                        step_plan=step_plans[unclaimed.kind],
                    )
                    if claimed is not None:
                        return claimed
                    # The rows have changed since they were read: read them again.
                else:
                    return None
        with suppress(LeaseLost):  # another worker or a reaper has cancelled it meanwhile
            await cancel_abandoned_operation(self._database, unclaimed)
        return None

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
            message: What the step waits for, as a text for people.

        Returns:
            The operation as written.
        """
        changed = update_step(operation, position, message=message)
        return await self._write_transition(operation, lambda store: apply_progress(store, changed))

    async def record_step_start(self, operation: Operation, position: int) -> Operation:
        """Record that a step has started.

        Args:
            operation: The operation under the worker's fence.
            position: The step's position, counted from 0.

        Returns:
            The operation as written.
        """
        changed = update_step(operation, position, state=StepState.RUNNING, started_at=utc_now())
        return await self._write_transition(operation, lambda store: apply_progress(store, changed))

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
        fields: dict[str, object] = {"steps": start_next_step(changed.steps)}
        if result.baseline is not None:
            fields["baseline"] = result.baseline.model_dump(mode="json")
        changed = changed.model_copy(update=fields)
        address: dict[str, str] = {}
        if result.address is not None:
            address = {"url": result.address.url, "admin_url": result.address.admin_url}

        def make_change(store: Store) -> StateChange:
            if is_last:
                return apply_success(store, changed, address, warning=result.warning)
            return apply_progress(store, changed, address)

        with effect(f"record_{operation.steps[position].name}"):
            return await self._write_transition(
                operation, make_change, stop_on_cancel=operation.kind != OperationKind.DELETE
            )

    async def _try_claim(
        self,
        db: Repositories,
        before: Store,
        unclaimed: Operation,
        *,
        owner: str,
        lease_duration: timedelta,
        step_plan: StepPlan,
    ) -> tuple[Store, Operation] | None:
        """Write a claim; return None when the rows have changed since they were read."""
        steps = start_next_step(merge_step_plan(unclaimed, step_plan(before, unclaimed)))
        store, operation, event = apply_claim(before, unclaimed.model_copy(update={"steps": steps}))
        fence = await db.transitions.claim_operation(
            before,
            store,
            operation,
            make_event(event, store, operation),
            owner=owner,
            lease_duration=lease_duration,
        )
        if fence is None:
            return None
        self._written_stores.put(operation.id, store)
        return store, operation.model_copy(update={"fence": fence})

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
            before = self._written_stores.take(operation.id)
            while True:
                if before is None:
                    before, cancel_requested = await db.leases.find_held_store(
                        operation.id, fence=operation.fence, lock=False
                    )
                    if cancel_requested and stop_on_cancel:
                        raise CancelRequested
                store, changed, event = make_change(before)
                if await db.transitions.write(
                    before,
                    store,
                    changed,
                    make_event(event, store, changed),
                    stop_on_cancel=stop_on_cancel,
                ):
                    self._written_stores.put(operation.id, store)
                    return changed
                # Outdated, or a cancellation was requested: read the row.
                before = None
