"""Reconcile the stores' processes with the table `placements`, and record what is observed.

The local runtime writes the desired state, this module the observed one.
"""

import asyncio
import contextlib
import os

from storefleet.core import async_tasks
from storefleet.core.errors import DatabaseUnavailable
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories, placements
from storefleet.database.repositories.placements import Placement
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.stores.store_child import StoreChildFactory
from storefleet.node.stores.store_process import StoreProcess
from storefleet.observability import logs

log = logs.get_logger(__name__)

POLL_INTERVAL_S = 2.0
#: A start keeps one core busy for a second, so more concurrent starts only delay each other.
MAX_CONCURRENT_STARTS = max(2, os.cpu_count() or 2)


class StoreProcesses:
    """Keeps one `StoreProcess` for every placement.

    Placements are read again at every notification and every two seconds.

    Args:
        database: The platform's database.
        supervisor: Runs the processes.
        child_factory: Describes the processes.
    """

    def __init__(
        self, *, database: Database, supervisor: Supervisor, child_factory: StoreChildFactory
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._child_factory = child_factory
        self._reconcile_requested = asyncio.Event()
        self._stores: dict[str, StoreProcess] = {}
        self._start_slots = asyncio.Semaphore(MAX_CONCURRENT_STARTS)

    async def run(self) -> None:
        """Reconcile until cancelled; the processes keep running then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._database.listen(
                    placements.DESIRED_CHANNEL, lambda _payload: self.request_reconcile()
                )
            )
            group.create_task(self._reconcile_until_cancelled())

    def request_reconcile(self) -> None:
        """Reconcile at once, because something may have changed."""
        self._reconcile_requested.set()

    def handle_status_change(self, name: str) -> None:
        """Handle the supervisor's report that the status of a child has changed."""
        store = self._stores.get(name.removeprefix("store-"))
        if store is not None:
            store.handle_status_change()
            self.request_reconcile()

    async def cancel_tasks(self) -> None:
        """Stop following the placements; the supervisor stops the processes."""
        await async_tasks.cancel_and_wait(store.task for store in self._stores.values())

    async def reconcile(self) -> None:
        """Compare placements and processes once, in both directions.

        Raises:
            DatabaseUnavailable: The placements cannot be read or written.
        """
        async with self._database.autocommit() as db:
            rows = {row.store_id: row for row in await db.placements.list_all()}
            for store_id, row in rows.items():
                store = self._stores.get(store_id) or self._add_store(row)
                store.set_placement(row)
                await self._record_observed_state(db, row, store)
        for store_id, store in list(self._stores.items()):
            if store_id not in rows and store.request_stop():
                del self._stores[store_id]

    async def _reconcile_until_cancelled(self) -> None:
        while True:
            self._reconcile_requested.clear()
            try:
                await self.reconcile()
            except DatabaseUnavailable as error:
                log.warning("placement_read_failed", error=str(error))
                await asyncio.sleep(0.3)
                self.request_reconcile()
            with contextlib.suppress(TimeoutError):
                # wait_for swallows a cancellation that arrives together with the event
                async with asyncio.timeout(POLL_INTERVAL_S):
                    await self._reconcile_requested.wait()

    def _add_store(self, row: Placement) -> StoreProcess:
        store = StoreProcess(
            row,
            supervisor=self._supervisor,
            start_slots=self._start_slots,
            child_factory=self._child_factory,
            request_reconcile=self.request_reconcile,
        )
        self._stores[row.store_id] = store
        return store

    async def _record_observed_state(
        self, db: Repositories, row: Placement, store: StoreProcess
    ) -> None:
        observed, pid, restarts, message = store.get_observed_state()
        if (row.observed, row.pid, row.restarts, row.message) != (observed, pid, restarts, message):
            await db.placements.record_observed_state(
                row.store_id, observed=observed, pid=pid, restarts=restarts, message=message
            )
