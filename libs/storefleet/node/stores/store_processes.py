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
from storefleet.node.private_files import give_tree, read_json, write_json
from storefleet.node.processes.launcher import Child, last_line
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.stores.environments import Environment
from storefleet.node.system_user import Account
from storefleet.observability import logs
from storefleet.runtimes.local.file_layout import FileLayout

log = logs.get_logger(__name__)

POLL = 2.0
#: Starting a shop is a second of work for one core: more at once only makes each of them late.
STARTS_AT_ONCE = max(2, os.cpu_count() or 2)
START_PATIENCE = 20.0
RANK = 1

Find = Callable[[str, str], Environment | None]


class Stores:
    """One `_Store` for every row; rows are read again at every notification and every two seconds."""

    def __init__(
        self,
        *,
        database: Database,
        supervisor: Supervisor,
        engines: EngineCatalogue,
        environment: Find,
        places: FileLayout,
        stores_url: str,
        account: Account | None,
    ) -> None:
        self._database = database
        self._supervisor = supervisor
        self._changed = asyncio.Event()
        self._stores: dict[str, _Store] = {}
        self._slots = asyncio.Semaphore(STARTS_AT_ONCE)
        self._children = _Children(
            engines=engines,
            environment=environment,
            places=places,
            stores_url=stores_url,
            account=account,
        )

    async def run(self) -> None:
        """Keep them, until cancelled; the processes stay as they are then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._database.listen(placements.DESIRED_CHANNEL, lambda _payload: self.look())
            )
            group.create_task(self._keep())

    def look(self) -> None:
        """Something may have changed: compare at once."""
        self._changed.set()

    def saw(self, name: str) -> None:
        """The supervisor's word that a child's status is another one."""
        store = self._stores.get(name.removeprefix("store-"))
        if store is not None:
            store.saw()
            self.look()

    async def close(self) -> None:
        """Stop wanting anything; processes are the supervisor's to end."""
        await async_tasks.cancel_and_wait(store.task for store in self._stores.values())

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.reconcile()
            except DatabaseUnavailable as error:
                log.warning("placements_unknown", error=str(error))
                await asyncio.sleep(0.3)
                self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    POLL
                ):  # wait_for swallows a cancel that comes together with the event
                    await self._changed.wait()

    async def reconcile(self) -> None:
        """Compare rows and processes once, both ways; raises DatabaseUnavailable."""
        async with self._database.autocommit() as db:
            rows = {row.store_id: row for row in await db.placements.list_all()}
            for store_id, row in rows.items():
                store = self._stores.get(store_id) or self._add(row)
                store.want(row)
                await self._write(db, row, store)
        for store_id, store in list(self._stores.items()):
            if store_id not in rows and store.finish():
                del self._stores[store_id]

    def _add(self, row: Placement) -> "_Store":
        store = _Store(
            row,
            supervisor=self._supervisor,
            slots=self._slots,
            children=self._children,
            changed=self.look,
        )
        self._stores[row.store_id] = store
        return store

    async def _write(self, db: Repositories, row: Placement, store: "_Store") -> None:
        observed, pid, restarts, message = store.observed()
        if (row.observed, row.pid, row.restarts, row.message) != (observed, pid, restarts, message):
            await db.placements.record_observed_state(
                row.store_id, observed=observed, pid=pid, restarts=restarts, message=message
            )


class _Store:
    """One store's process: a task that carries out the latest wish, one start or stop at a time."""

    def __init__(
        self,
        row: Placement,
        *,
        supervisor: Supervisor,
        slots: asyncio.Semaphore,
        children: "_Children",
        changed: Callable[[], None],
    ) -> None:
        self._row = row
        self._wanted = False
        self._name = f"store-{row.store_id}"
        self._supervisor = supervisor
        self._slots = slots
        self._children = children
        self._changed = changed
        self._problem = ""
        self._answering: int | None = None
        self._probe: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._live(), name=self._name)

    def want(self, row: Placement) -> None:
        self._row = row
        self._set(row.desired == "running")

    def finish(self) -> bool:
        """The row is gone: stop; whether there is nothing left to stop."""
        self._set(wanted=False)
        if self._supervisor.status(self._name) is not None:
            return False
        self.task.cancel()
        return True

    def _set(self, wanted: bool) -> None:
        # a wish that could not be fulfilled (engine still being prepared) is looked at again with every poll
        if wanted != self._wanted or (wanted and self._problem):
            self._wanted, self._problem = wanted, self._problem if wanted else ""
            self._wake.set()

    def saw(self) -> None:
        status = self._supervisor.status(self._name)
        if status is not None and status.state == "running" and status.pid is not None:
            if self._probe is not None:
                self._probe.cancel()
            self._probe = asyncio.create_task(self._watch_port(status.pid))

    def observed(self) -> tuple[str, int | None, int, str]:
        """`observed, pid, restarts, message` as they belong into the row."""
        status = self._supervisor.status(self._name)
        if status is None or status.state == "stopped":
            return ("starting" if self._wanted else "stopped"), None, 0, self._problem
        if status.state == "waiting":
            last = last_line(self._children.log(self._row.store_id))
            return "crashing", None, status.restarts, f"{status.message}; last line: {last}"[:400]
        answering = status.pid is not None and status.pid == self._answering
        return ("running" if answering else "starting"), status.pid, status.restarts, ""

    async def _live(self) -> None:
        while True:
            self._wake.clear()
            kept = self._supervisor.status(self._name) is not None
            if self._wanted and not kept:
                await self._start()
            elif not self._wanted and kept:
                await self._supervisor.stop(self._name)
                self._answering = None
                self._changed()
            else:
                await self._wake.wait()
                continue
            if self._problem:
                await self._wake.wait()

    async def _start(self) -> None:
        async with self._slots:
            if not self._wanted:
                return
            before = self._problem
            child, self._problem = self._children.make(self._row)
            if child is None:
                if (
                    self._problem != before
                ):  # told again and again, it would make the next look come at once
                    self._changed()
                return
            self._supervisor.start(child)
            await self._settled()

    async def _settled(self) -> None:
        """Hold the slot while the start is work: until it answers, ends, is not wanted any more or takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_PATIENCE):
                while self._wanted and self._answering is None:
                    status = self._supervisor.status(self._name)
                    if status is None or status.restarts:
                        return
                    await asyncio.sleep(0.05)

    async def _watch_port(self, pid: int) -> None:
        while (status := self._supervisor.status(self._name)) is not None and status.pid == pid:
            if await _answers(self._row.port):
                self._answering = pid
                self._changed()
                return
            await asyncio.sleep(0.03)


class _Children:
    """Makes the process of a store out of its row and its files."""

    def __init__(
        self,
        *,
        engines: EngineCatalogue,
        environment: Find,
        places: FileLayout,
        stores_url: str,
        account: Account | None,
    ) -> None:
        self._engines = engines
        self._environment = environment
        self._places = places
        self._stores_url = stores_url
        self._account = account

    def log(self, store_id: str) -> Path:
        return self._places.log_file(store_id)

    def make(self, row: Placement) -> tuple[Child | None, str]:
        """The child, or None and the reason why it cannot be run now."""
        engine = self._engines.find(row.engine)
        environment = self._environment(row.engine, row.engine_version)
        if engine is None or engine.local is None or environment is None:
            return (
                None,
                f"The engine {row.engine} {row.engine_version} is not ready on this machine (yet).",
            )
        folder = self._places.store_dir(row.store_id)
        if not self._places.config_file(row.store_id).is_file():
            return None, "The store has no configuration."
        variables = environment.environment(
            STORE_CONFIG=str(self._places.config_file(row.store_id)),
            STORE_ID=row.store_id,
            STORE_OPERATION_ID=row.operation_id,
            HOME=str(folder),
        )

        async def before() -> None:
            await asyncio.to_thread(self._make_ready, row)

        child = Child(
            name=f"store-{row.store_id}",
            argv=environment.command(engine.local.serve),
            cwd=self._places.files_dir(row.store_id),
            log=self._places.log_file(row.store_id),
            env=variables,
            rank=RANK,
            account=self._account,
            reach=(folder, *environment.reach),
            endings=((signal.SIGTERM, 6.0),),
            before=before,
        )
        return child, ""

    def _make_ready(self, row: Placement) -> None:
        if not is_free(row.port):
            raise OSError(f"port {row.port} is taken by another program")
        self._place_server(row.store_id)
        folder = self._places.store_dir(row.store_id)
        owned = (
            folder,
            self._places.config_file(row.store_id),
            self._places.files_dir(row.store_id),
        )
        if self._account and any(path.lstat().st_uid != self._account.uid for path in owned):
            give_tree(folder, self._account)

    def _place_server(self, store_id: str) -> None:
        """The embedded server may have another port than when the store was made."""
        path = self._places.config_file(store_id)
        config, server = read_json(path), urlsplit(self._stores_url)
        place = {"host": server.hostname or "127.0.0.1", "port": server.port or 5432}
        if config and place.items() - config["database"].items():
            write_json(
                path, {**config, "database": {**config["database"], **place}}, owner=self._account
            )


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
