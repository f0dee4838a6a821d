"""The reaper's clock: every second it sends again what is due, expired or unclaimed; hourly it forgets the old."""

import asyncio
import time
from datetime import timedelta

from storefleet.core.errors import DatabaseUnavailable, LeaseLost
from storefleet.core.lifecycle import StoreState
from storefleet.core.settings import Settings
from storefleet.database.leases import DueOperation
from storefleet.database.outbox_rows import make_command
from storefleet.database.pool import Database
from storefleet.observability import logs, metrics
from storefleet.operations.recorder import OperationRecorder

log = logs.get_logger(__name__)

_PURGE_INTERVAL_S = 3600.0
_COUNT_INTERVAL_S = 5.0


class DueOperations:
    """Any number of reapers may run it: rows that another one holds are passed over."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._recorder = OperationRecorder(database)
        self._purge_at = 0.0
        self._count_at = 0.0

    async def run(self) -> None:
        while True:
            try:
                for late in await self._redispatch_due():
                    await self._cancel_abandoned(late)
                await self._run_periodic_tasks()
            except DatabaseUnavailable as error:
                log.warning("sweep_waits", error=str(error.__cause__ or error))
            await asyncio.sleep(self._settings.scan_interval)

    async def _redispatch_due(self) -> list[DueOperation]:
        """Send the commands again; returns what waits for its cancel instead: its worker is gone."""
        async with self._database.transaction() as tx:
            found = await tx.leases.lock_due(
                redispatch_after=timedelta(seconds=self._settings.redispatch_after)
            )
            cancelled = [due for due in found if due.operation.cancel_requested]
            again = [due for due in found if not due.operation.cancel_requested]
            if again:
                await tx.outbox.add(*(make_command(due.operation) for due in again))
                await tx.operations.mark_dispatched([due.operation.id for due in again])
        for due in again:
            metrics.OPERATIONS_REDISPATCHED.labels(due.finding).inc()
            operation = due.operation
            log.info(
                "announced_again",
                finding=due.finding,
                store_id=operation.store_id,
                operation_id=operation.id,
            )
        return cancelled

    async def _cancel_abandoned(self, due: DueOperation) -> None:
        try:
            await self._recorder.cancel_abandoned(due.operation)
        except LeaseLost:
            return  # its worker has come back and ended it
        log.info(
            "cancelled_without_worker",
            store_id=due.operation.store_id,
            operation_id=due.operation.id,
        )

    async def _run_periodic_tasks(self) -> None:
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + _COUNT_INTERVAL_S
            await self._count_stores()
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _PURGE_INTERVAL_S
            await self._delete_old_rows()

    async def _count_stores(self) -> None:
        async with self._database.autocommit() as db:
            counts = await db.stores.count_by_state()
        for state in StoreState:
            metrics.STORES_BY_STATE.labels(state).set(counts.get(state, 0))

    async def _delete_old_rows(self) -> None:
        age = timedelta(days=self._settings.keep_days)
        async with self._database.transaction() as tx:
            await tx.sessions.purge_expired()
            await tx.sign_in_failures.purge()
            await tx.idempotency_keys.purge()
        async with self._database.transaction() as tx:
            forgotten = await tx.stores.purge_deleted(retention=age)
        async with self._database.transaction() as tx:
            rows = await tx.events.purge_published(retention=age)
        if forgotten or rows:
            log.info("purged", stores=forgotten, outbox_rows=rows)
