"""Keeps the stores' processes equal to their rows in `placements`, and writes what it sees into them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from storefleet.core import async_tasks
from storefleet.core.errors import DatabaseUnavailable
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories, placements
from storefleet.database.repositories.placements import Placement
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.node.ports import is_free
from storefleet.node.private_files import change_tree_owner, read_json, write_json
from storefleet.node.processes.launcher import ChildProcess, read_last_line
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.stores.environments import EngineEnvironment
from storefleet.node.system_user import SystemAccount
from storefleet.observability import logs
from storefleet.runtimes.local.file_layout import FileLayout

log = logs.get_logger(__name__)

POLL_INTERVAL_S = 2.0
#: Starting a shop is a second of work for one core: more at once only makes each of them late.
MAX_CONCURRENT_STARTS = max(2, os.cpu_count() or 2)
START_TIMEOUT_S = 20.0
STORE_RANK = 1

FindEnvironment = Callable[[str, str], EngineEnvironment | None]


class StoreProcesses:
    """One `_Store` for every row; rows are read again at every notification and every two seconds."""

    def __init__(
        self,
        *,
        database: Database,
        supervisor: Supervisor,
        engines: EngineCatalogue,
        find_environment: FindEnvironment,
        file_layout: FileLayout,
        stores_url: str,
        account: SystemAccount | None,
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._reconcile_requested = asyncio.Event()
        self._stores: dict[str, _StoreProcess] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_STARTS)
        self._child_factory = _ChildFactory(
            engines=engines,
            find_environment=find_environment,
            file_layout=file_layout,
            stores_url=stores_url,
            account=account,
        )

    async def run(self) -> None:
        """Keep them, until cancelled; the processes stay as they are then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._database.listen(
                    placements.DESIRED_CHANNEL, lambda _payload: self.request_reconcile()
                )
            )
            group.create_task(self._reconcile_until_cancelled())

    def request_reconcile(self) -> None:
        """Something may have changed: compare at once."""
        self._reconcile_requested.set()

    def handle_status_change(self, name: str) -> None:
        """The supervisor's word that a child's status is another one."""
        store = self._stores.get(name.removeprefix("store-"))
        if store is not None:
            store.handle_status_change()
            self.request_reconcile()

    async def cancel_tasks(self) -> None:
        """Stop wanting anything; processes are the supervisor's to end."""
        await async_tasks.cancel_and_wait(store.task for store in self._stores.values())

    async def _reconcile_until_cancelled(self) -> None:
        while True:
            self._reconcile_requested.clear()
            try:
                await self.reconcile()
            except DatabaseUnavailable as error:
                log.warning("placements_unknown", error=str(error))
                await asyncio.sleep(0.3)
                self.request_reconcile()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    POLL_INTERVAL_S
                ):  # wait_for swallows a cancel that comes together with the event
                    await self._reconcile_requested.wait()

    async def reconcile(self) -> None:
        """Compare rows and processes once, both ways; raises DatabaseUnavailable."""
        async with self._database.autocommit() as db:
            rows = {row.store_id: row for row in await db.placements.list_all()}
            for store_id, row in rows.items():
                store = self._stores.get(store_id) or self._add_store(row)
                store.set_placement(row)
                await self._record_observed_state(db, row, store)
        for store_id, store in list(self._stores.items()):
            if store_id not in rows and store.request_stop():
                del self._stores[store_id]

    def _add_store(self, row: Placement) -> "_StoreProcess":
        store = _StoreProcess(
            row,
            supervisor=self._supervisor,
            slots=self._slots,
            child_factory=self._child_factory,
            request_reconcile=self.request_reconcile,
        )
        self._stores[row.store_id] = store
        return store

    async def _record_observed_state(
        self, db: Repositories, row: Placement, store: "_StoreProcess"
    ) -> None:
        observed, pid, restarts, message = store.get_observed_state()
        if (row.observed, row.pid, row.restarts, row.message) != (observed, pid, restarts, message):
            await db.placements.record_observed_state(
                row.store_id, observed=observed, pid=pid, restarts=restarts, message=message
            )


class _StoreProcess:
    """One store's process: a task that carries out the latest wish, one start or stop at a time."""

    def __init__(
        self,
        row: Placement,
        *,
        supervisor: Supervisor,
        slots: asyncio.Semaphore,
        child_factory: "_ChildFactory",
        request_reconcile: Callable[[], None],
    ) -> None:
        self._row = row
        self._should_run = False
        self._name = f"store-{row.store_id}"
        self._supervisor = supervisor
        self._slots = slots
        self._child_factory = child_factory
        self._request_reconcile = request_reconcile
        self._problem = ""
        self._answering_pid: int | None = None
        self._probe: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._follow_desired_state(), name=self._name)

    def set_placement(self, row: Placement) -> None:
        self._row = row
        self._set_desired(row.desired == "running")

    def request_stop(self) -> bool:
        """The row is gone: stop; whether there is nothing left to stop."""
        self._set_desired(should_run=False)
        if self._supervisor.get_status(self._name) is not None:
            return False
        self.task.cancel()
        return True

    def _set_desired(self, should_run: bool) -> None:
        # a wish that could not be fulfilled (engine still being prepared) is looked at again with every poll
        if should_run != self._should_run or (should_run and self._problem):
            self._should_run, self._problem = should_run, self._problem if should_run else ""
            self._wake.set()

    def handle_status_change(self) -> None:
        status = self._supervisor.get_status(self._name)
        if status is not None and status.state == "running" and status.pid is not None:
            if self._probe is not None:
                self._probe.cancel()
            self._probe = asyncio.create_task(self._wait_for_port(status.pid))

    def get_observed_state(self) -> tuple[str, int | None, int, str]:
        """`observed, pid, restarts, message` as they belong into the row."""
        status = self._supervisor.get_status(self._name)
        if status is None or status.state == "stopped":
            return ("starting" if self._should_run else "stopped"), None, 0, self._problem
        if status.state == "waiting":
            last = read_last_line(self._child_factory.get_log_file(self._row.store_id))
            return "crashing", None, status.restarts, f"{status.message}; last line: {last}"[:400]
        answering = status.pid is not None and status.pid == self._answering_pid
        return ("running" if answering else "starting"), status.pid, status.restarts, ""

    async def _follow_desired_state(self) -> None:
        while True:
            self._wake.clear()
            kept = self._supervisor.get_status(self._name) is not None
            if self._should_run and not kept:
                await self._start_process()
            elif not self._should_run and kept:
                await self._supervisor.stop(self._name)
                self._answering_pid = None
                self._request_reconcile()
            else:
                await self._wake.wait()
                continue
            if self._problem:
                await self._wake.wait()

    async def _start_process(self) -> None:
        async with self._slots:
            if not self._should_run:
                return
            before = self._problem
            child, self._problem = self._child_factory.make_child(self._row)
            if child is None:
                if (
                    self._problem != before
                ):  # told again and again, it would make the next look come at once
                    self._request_reconcile()
                return
            self._supervisor.start(child)
            await self._wait_until_settled()

    async def _wait_until_settled(self) -> None:
        """Hold the slot while the start is work: until it answers, ends, is not wanted any more or takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._should_run and self._answering_pid is None:
                    status = self._supervisor.get_status(self._name)
                    if status is None or status.restarts:
                        return
                    await asyncio.sleep(0.05)

    async def _wait_for_port(self, pid: int) -> None:
        while (status := self._supervisor.get_status(self._name)) is not None and status.pid == pid:
            if await _is_port_open(self._row.port):
                self._answering_pid = pid
                self._request_reconcile()
                return
            await asyncio.sleep(0.03)


class _ChildFactory:
    """Makes the process of a store out of its row and its files."""

    def __init__(
        self,
        *,
        engines: EngineCatalogue,
        find_environment: FindEnvironment,
        file_layout: FileLayout,
        stores_url: str,
        account: SystemAccount | None,
    ) -> None:
        self._engines = engines
        self._find_environment = find_environment
        self._file_layout = file_layout
        self._stores_url = stores_url
        self._account = account

    def get_log_file(self, store_id: str) -> Path:
        return self._file_layout.log_file(store_id)

    def make_child(self, row: Placement) -> tuple[ChildProcess | None, str]:
        """The child, or None and the reason why it cannot be run now."""
        engine = self._engines.find(row.engine)
        environment = self._find_environment(row.engine, row.engine_version)
        if engine is None or engine.local is None or environment is None:
            return (
                None,
                f"The engine {row.engine} {row.engine_version} is not ready on this machine (yet).",
            )
        folder = self._file_layout.store_dir(row.store_id)
        if not self._file_layout.config_file(row.store_id).is_file():
            return None, "The store has no configuration."
        variables = environment.make_variables(
            STORE_CONFIG=str(self._file_layout.config_file(row.store_id)),
            STORE_ID=row.store_id,
            STORE_OPERATION_ID=row.operation_id,
            HOME=str(folder),
        )

        async def before() -> None:
            await asyncio.to_thread(self._prepare_start, row)

        child = ChildProcess(
            name=f"store-{row.store_id}",
            argv=environment.make_command(engine.local.serve),
            cwd=self._file_layout.files_dir(row.store_id),
            log_file=self._file_layout.log_file(row.store_id),
            env=variables,
            rank=STORE_RANK,
            account=self._account,
            readable_paths=(folder, *environment.readable_paths),
            stop_signals=((signal.SIGTERM, 6.0),),
            prepare=before,
        )
        return child, ""

    def _prepare_start(self, row: Placement) -> None:
        if not is_free(row.port):
            raise OSError(f"port {row.port} is taken by another program")
        self._update_database_address(row.store_id)
        folder = self._file_layout.store_dir(row.store_id)
        owned = (
            folder,
            self._file_layout.config_file(row.store_id),
            self._file_layout.files_dir(row.store_id),
        )
        if self._account and any(path.lstat().st_uid != self._account.uid for path in owned):
            change_tree_owner(folder, self._account)

    def _update_database_address(self, store_id: str) -> None:
        """The embedded server may have another port than when the store was made."""
        path = self._file_layout.config_file(store_id)
        config, server = read_json(path), urlsplit(self._stores_url)
        place = {"host": server.hostname or "127.0.0.1", "port": server.port or 5432}
        if config and place.items() - config["database"].items():
            write_json(
                path, {**config, "database": {**config["database"], **place}}, owner=self._account
            )


async def _is_port_open(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
