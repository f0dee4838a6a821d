"""Every transition of an operation, each one transaction: operation, steps, store, event, the next command.

The store's row is locked first, everywhere, so that transitions of one store follow each other and never deadlock. The
frequent ones read without a lock, and write in one statement that changes nothing when the rows are not those any more.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from storefleet import metrics
from storefleet.database import dead_letters, operations, outbox, stores, transitions
from storefleet.database.pool import Connection, Database
from storefleet.errors import CancelRequested, LeaseLost
from storefleet.failpoints import effect
from storefleet.models import Failure, Operation, Step, Store, now
from storefleet.runtimes.base import Outcome, RuntimeStep

#: A store and its operation as they become, and the event that tells it.
Move = tuple[Store, Operation, str]
Plans = Mapping[str, Callable[[Store], Sequence[RuntimeStep]]]


def cancelled_failure() -> Failure:
    """What a store shows whose creation was taken back."""
    return Failure(
        code="cancelled",
        detail="The creation was cancelled before it was complete.",
        next="Retry to go on from there, or delete the store.",
    )


class Ledger:
    """Writes what a worker does. Every method but `claim` raises LeaseLost when the fence has moved on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Store] = {}  # by operation, as it was written here last

    async def claim(
        self, operation_id: str, *, store_id: str, owner: str, lease: timedelta, plans: Plans
    ) -> tuple[Store, Operation] | None:
        """Take the operation if it is to be worked on now; None when there is nothing to do."""
        with effect("claim"):
            async with self._database.connection(tells=outbox.CHANNEL) as conn:
                while found := await operations.claimable(conn, operation_id, store_id=store_id, kinds=list(plans)):
                    before, operation = found
                    if operation.cancel_requested:
                        break
                    planned = _planned(operation.steps, plans[operation.kind](before))
                    operation = operation.model_copy(update={"steps": _begin_next(planned)})
                    store, event = before, "store.step"
                    if operation.kind == "create" and store.state != "provisioning":
                        store, event = store.changed(state="provisioning", failure=None), "store.provisioning"
                    draft = outbox.event(event, store, operation)
                    if await transitions.claim(conn, before, store, operation, draft, owner=owner, lease=lease):
                        self._known[operation.id] = store
                        return store, operation
        if found:
            with suppress(LeaseLost):  # somebody else has seen it, too
                await self.cancelled_without_worker(found[1].model_copy(update={"fence": found[1].fence - 1}))
        return None

    def forget(self, operation: Operation) -> None:
        """Whoever claimed it is through with it."""
        self._known.pop(operation.id, None)

    async def renew(self, operation: Operation, lease: timedelta) -> bool:
        """Extend the lease; returns whether a cancel was requested."""
        async with self._database.connection() as conn:
            return await operations.renew(conn, operation.id, fence=operation.fence, lease=lease)

    async def say(self, operation: Operation, position: int, message: str) -> Operation:
        """Show what the running step waits for."""
        changed = _with_step(operation, position, message=message)
        return await self._move(operation, lambda store: (store, changed, "store.step"))

    async def step_started(self, operation: Operation, position: int) -> Operation:
        changed = _with_step(operation, position, state="running", started_at=now())
        return await self._move(operation, lambda store: (store, changed, "store.step"))

    async def step_done(self, operation: Operation, position: int, outcome: Outcome, *, last: bool) -> Operation:
        """Close a step and open the next one, or, after the last, the whole operation; raises CancelRequested."""
        changed = _with_step(operation, position, state="succeeded", finished_at=now(), message=outcome.message)
        changed = changed.model_copy(update={"steps": _begin_next(changed.steps)})
        address = (
            {"url": outcome.address.url, "admin_url": outcome.address.admin_url} if outcome.address is not None else {}
        )

        def move(store: Store) -> Move:
            if last:
                return _succeeded(store, changed, address)
            return store.changed(**address), changed, "store.step"

        with effect(f"record_{operation.steps[position].name}"):
            return await self._move(operation, move, heed_cancel=operation.kind == "create")

    async def failed(self, operation: Operation, failure: Failure, *, dead_letter: bool) -> Operation:
        """Close the operation with its reason; one that gave up becomes a dead letter too."""
        with effect("fail_operation"):
            async with self._database.transaction() as conn:
                store = await self._hold(conn, operation)
                changed = _close_running(operation, "failed", failure.detail)
                await operations.save_steps(conn, changed.id, changed.steps)
                changed = await operations.end(conn, changed, state="failed", error=failure)
                await self._store_failed(conn, store, changed, failure)
                if dead_letter:
                    metrics.DEAD_LETTERS.labels("exhausted").inc()
                    await dead_letters.add(
                        conn,
                        reason="exhausted",
                        detail=f"{failure.code}: {failure.detail}",
                        subject=outbox.command(changed).subject,
                        payload=b"",
                        tenant_id=changed.tenant_id,
                        store_id=changed.store_id,
                        operation_id=changed.id,
                    )
                return changed

    async def cancelled(self, operation: Operation) -> Operation:
        """Close the operation because a person took it back."""
        with effect("cancel_operation"):
            async with self._database.transaction() as conn:
                store = await self._hold(conn, operation)
                return await self._cancel(conn, store, operation)

    async def cancelled_without_worker(self, operation: Operation) -> None:
        """Close a cancelled operation whose worker let its lease expire; raises LeaseLost when it is back."""
        async with self._database.transaction() as conn:
            store = await stores.locked(conn, operation.store_id)
            if store is None or not await operations.abandoned(conn, operation.id, fence=operation.fence):
                raise LeaseLost(operation.id)
            steps = tuple(await operations.steps_of(conn, operation.id))
            await self._cancel(conn, store, operation.model_copy(update={"steps": steps}))

    async def give_back(
        self,
        operation: Operation,
        *,
        delay: float,
        message: str | None = None,
        failed_attempt: bool = False,
        announce: bool = False,
    ) -> Operation:
        """Back into the queue, to be taken again after `delay` seconds."""
        async with self._database.transaction() as conn:
            store = await self._hold(conn, operation)
            position = next((n for n, s in enumerate(operation.steps) if s.state == "running"), None)
            changed = operation
            if message is not None and position is not None:
                changed = _with_step(operation, position, message=message)
                await operations.save_steps(conn, changed.id, changed.steps)
            attempt = operation.attempt + (1 if failed_attempt else 0)
            changed = await operations.requeue(conn, changed, delay=timedelta(seconds=delay), attempt=attempt)
            if message is not None:
                await outbox.add(conn, outbox.event("store.step", store, changed))
            if announce:
                await outbox.add(conn, outbox.command(changed))
                await operations.mark_announced(conn, [changed.id])
            return changed

    async def _hold(self, conn: Connection, operation: Operation) -> Store:
        store, _ = await operations.held(conn, operation.id, fence=operation.fence)
        return store

    async def _move(
        self, operation: Operation, move: Callable[[Store], Move], *, heed_cancel: bool = False
    ) -> Operation:
        """Write what `move` makes of the store as it was known; when it is not so any more, of the store as it is.

        Raises CancelRequested.
        """
        async with self._database.connection(tells=outbox.CHANNEL) as conn:
            written, before = False, self._known.pop(operation.id, None)
            while not written:
                if before is None:
                    before, cancel = await operations.held(conn, operation.id, fence=operation.fence, lock=False)
                    if cancel and heed_cancel:
                        raise CancelRequested
                store, changed, event = move(before)
                draft = outbox.event(event, store, changed)
                written = await transitions.write(conn, before, store, changed, draft, heed_cancel=heed_cancel)
                before = None
            self._known[operation.id] = store
        return changed

    async def _cancel(self, conn: Connection, store: Store, operation: Operation) -> Operation:
        changed = await end_cancelled(conn, operation)
        await self._store_failed(conn, store, changed, cancelled_failure())
        return changed

    async def _store_failed(self, conn: Connection, store: Store, operation: Operation, failure: Failure) -> None:
        """The store shows the failure, unless it is to be deleted anyway; then whatever waits goes on."""
        if operation.kind == "create" and store.state == "deleting":
            await outbox.add(conn, outbox.event("store.step", store, operation))
        else:
            store = await stores.change(conn, store.id, state="failed", failure=failure)
            await outbox.add(conn, outbox.event("store.failed", store, operation))
        await announce_next(conn, store.id)


async def end_cancelled(conn: Connection, operation: Operation) -> Operation:
    """Close an operation and the step it stands at; the caller owns it, or knows that nobody does."""
    changed = _close_running(operation, "cancelled", "Cancelled")
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


def _succeeded(store: Store, operation: Operation, address: Mapping[str, str]) -> Move:
    """The end of an operation; none of the same store waits, since whoever makes one asks a running one to cancel."""
    operation = operation.model_copy(update={"state": "succeeded", "finished_at": now()})
    if operation.kind == "create":
        return store.changed(state="ready", ready_at=now(), failure=None, **address), operation, "store.ready"
    return store.changed(state="deleted", deleted_at=now(), failure=None), operation, "store.deleted"


def _planned(kept: Sequence[Step], plan: Sequence[RuntimeStep]) -> tuple[Step, ...]:
    """The plan's steps, with the state that earlier runs have left."""
    known = {step.name: step for step in kept}
    return tuple(known.get(step.name) or Step(name=step.name, title=step.title) for step in plan)


def _begin_next(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Mark the first unfinished step as running."""
    changed = list(steps)
    for position, step in enumerate(changed):
        if step.state != "succeeded":
            changed[position] = step.model_copy(
                update={"state": "running", "started_at": step.started_at or now(), "finished_at": None}
            )
            break
    return tuple(changed)


def _with_step(operation: Operation, position: int, **fields: object) -> Operation:
    steps = list(operation.steps)
    steps[position] = steps[position].model_copy(update=fields)
    return operation.model_copy(update={"steps": tuple(steps)})


def _close_running(operation: Operation, state: str, message: str) -> Operation:
    steps = tuple(
        step.model_copy(update={"state": state, "finished_at": now(), "message": message})
        if step.state == "running"
        else step
        for step in operation.steps
    )
    return operation.model_copy(update={"steps": steps})
