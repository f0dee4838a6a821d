"""Redispatch operations that should be running and are not: due, expired or unclaimed.

The scan covers lost commands, lost workers and pauses between attempts that are over.
Any number of reapers may run it, because rows that another one has locked are skipped.
"""

import asyncio
from datetime import timedelta

from storefleet.core.errors import DatabaseUnavailable, LeaseLost
from storefleet.core.settings import Settings
from storefleet.database.outbox_rows import make_command
from storefleet.database.pool import Database
from storefleet.database.repositories.leases import DueOperation
from storefleet.observability import logs, metrics
from storefleet.operations.interruptions import cancel_abandoned_operation

log = logs.get_logger(__name__)


class DueOperations:
    """Scans for due operations every `settings.scan_interval` seconds."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Scan until cancelled."""
        while True:
            try:
                for abandoned in await self._redispatch_due():
                    await self._cancel_abandoned(abandoned)
            except DatabaseUnavailable as error:
                log.warning("scan_postponed", error=str(error.__cause__ or error))
            await asyncio.sleep(self._settings.scan_interval)

    async def _redispatch_due(self) -> list[DueOperation]:
        """Redispatch due operations; return those that are to be cancelled instead."""
        async with self._database.transaction() as tx:
            found = await tx.leases.lock_due(
                redispatch_after=timedelta(seconds=self._settings.redispatch_after)
            )
            abandoned = [due for due in found if due.operation.cancel_requested]
            redispatched = [due for due in found if not due.operation.cancel_requested]
            if redispatched:
                await tx.outbox.add(*(make_command(due.operation) for due in redispatched))
                await tx.operations.mark_dispatched([due.operation.id for due in redispatched])
        for due in redispatched:
            metrics.OPERATIONS_REDISPATCHED.labels(due.reason).inc()
            log.info(
                "operation_redispatched",
                reason=due.reason,
                store_id=due.operation.store_id,
                operation_id=due.operation.id,
            )
        return abandoned

    async def _cancel_abandoned(self, due: DueOperation) -> None:
        try:
            await cancel_abandoned_operation(self._database, due.operation)
        except LeaseLost:
            return  # its worker has resumed and ended it
        log.info(
            "abandoned_operation_cancelled",
            store_id=due.operation.store_id,
            operation_id=due.operation.id,
        )
