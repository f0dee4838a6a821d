"""Delete rows whose retention is over, hourly, and count the stores for the metrics.

Each kind of row is deleted in its own transaction, which keeps locks short.
"""

import asyncio
import time
from datetime import timedelta

from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.lifecycle import StoreState
from storefleet.core.observed import StorefrontClass
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

_PURGE_INTERVAL_S = 3600.0
_COUNT_INTERVAL_S = 5.0


class Retention:
    """Deletes sessions, keys, deleted stores and events that are older than their retention."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._retention = timedelta(days=settings.keep_days)
        self._scan_interval_s = settings.scan_interval
        self._purge_at = 0.0
        self._count_at = 0.0

    async def run(self) -> None:
        """Count and delete until cancelled; the first time at once."""
        while True:
            try:
                await self._run_due_tasks()
            except DatabaseUnavailable as error:
                log.warning("retention_postponed", error=str(error.__cause__ or error))
            await asyncio.sleep(self._scan_interval_s)

    async def _run_due_tasks(self) -> None:
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + _COUNT_INTERVAL_S
            await self._count_stores()
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _PURGE_INTERVAL_S
            await self._delete_old_rows()

    async def _count_stores(self) -> None:
        async with self._database.autocommit() as db:
            counts = await db.stores.count_by_state()
            storefronts = await db.observations.count_storefronts()
        for state in StoreState:
            metrics.STORES_BY_STATE.labels(state).set(counts.get(state, 0))
        for storefront in StorefrontClass:
            metrics.STOREFRONTS.labels(storefront).set(storefronts.get(storefront, 0))

    async def _delete_old_rows(self) -> None:
        async with self._database.transaction() as tx:
            await tx.sessions.purge_expired()
            await tx.sign_in_failures.purge()
            await tx.idempotency_keys.purge()
        async with self._database.transaction() as tx:
            stores = await tx.stores.purge_deleted(retention=self._retention)
        async with self._database.transaction() as tx:
            events = await tx.events.purge_published(retention=self._retention)
        if stores or events:
            log.info("old_rows_deleted", stores=stores, events=events)
