"""Stores as plain processes on this machine: no isolation, and it says so.

The runtime writes files, databases and the desired state; the node (`storefleet up`) runs the processes and says what
it sees.
"""

import asyncio
import json
import os
import pwd
import secrets
import shutil
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from storefleet.core.errors import PermanentError, TransientError, Wait
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.database.placements import Placement
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.observability.failpoints import effect
from storefleet.runtimes.local.file_layout import (
    FileLayout,
    StoreTemplate,
    make_database_name,
    read_json,
)
from storefleet.runtimes.local.store_databases import StoreDatabases
from storefleet.runtimes.protocol import Address, RuntimeStep, StepContext, StepResult
from storefleet.runtimes.single_version import SingleVersionRuntime
from storefleet.runtimes.storefront_check import StorefrontCheck

_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0
_MAX_CRASHES = 3
_CRASH_GRACE_PERIOD_S = (
    10.0  # seconds: a database that is being started again takes the shop with it until then
)


class LocalRuntime(SingleVersionRuntime):
    """Makes and removes stores next to the services."""

    def __init__(self, *, settings: Settings, database: Database, engines: EngineCatalogue) -> None:
        self._settings = settings
        self._database = database
        self._engines = engines
        self._layout = FileLayout(settings.state_dir)
        self._databases = StoreDatabases(settings.stores_database_url.get_secret_value())
        self._storefront_check = StorefrontCheck()

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["LocalRuntime"]:
        async with self._storefront_check.open_resources():
            yield self

    async def check_available(self) -> None:
        await self._databases.check_available()

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("reserve", "Reserve an address and generate the secrets", self._reserve),
            RuntimeStep("copy", "Copy the shop's database and files", self._copy),
            RuntimeStep("start", "Start the shop", self._start),
            RuntimeStep("verify", "Visit the storefront and the admin", self._prove_ready),
        )

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("stop", "Stop the shop", self._stop),
            RuntimeStep("database", "Drop the database and its role", self._drop),
            RuntimeStep("files", "Erase files and credentials", self._erase),
            RuntimeStep("verify", "Prove that nothing is left", self._prove_gone),
        )

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        config = await asyncio.to_thread(read_json, self._layout.config_file(store.id))
        if config is None or store.admin_url is None:
            return None
        return AdminCredentials(
            store.admin_url, config["admin"]["username"], config["admin"]["password"]
        )

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        return await asyncio.to_thread(_tail, self._layout.log_file(store.id), tail)

    # create ---------------------------------------------------------------------------------------------------------

    async def _reserve(self, work: StepContext) -> StepResult:
        engine = self._engine(work.store)
        placement = await self._place(work)
        address = self._address(engine, work.store, placement.port)
        await work.check_ownership()
        with effect("write_config"):
            await asyncio.to_thread(self._write_config, engine, work.store, placement.port, address)
        return StepResult(f"Address {address.url}", address)

    async def _place(self, work: StepContext) -> Placement:
        """The row that holds the port; ports that another program listens on are passed over."""
        store = work.store
        ports = range(self._settings.store_port_first, self._settings.store_port_last + 1)
        async with self._database.autocommit() as db:
            taken = {placement.port for placement in await db.placements.list_all()}
        free = await asyncio.to_thread(
            lambda: [p for p in ports if p not in taken and _bindable(p)][:64]
        )
        await work.check_ownership()
        with effect("place"):
            async with self._database.transaction() as tx:
                placement = await tx.placements.add(
                    store_id=store.id,
                    operation_id=work.operation_id,
                    engine=store.engine,
                    engine_version=store.engine_version,
                    ports=free,
                )
        if placement is None:
            raise TransientError(
                "no_free_port",
                f"No free port between {ports[0]} and {ports[-1]}.",
                next_step="Delete a store, or widen STOREFLEET_STORE_PORT_FIRST … STOREFLEET_STORE_PORT_LAST.",
            )
        return placement

    def _write_config(self, engine: Engine, store: Store, port: int, address: Address) -> None:
        """Everything the store process needs; secrets that an earlier run generated stay as they are."""
        path = self._layout.config_file(store.id)
        kept = read_json(path) or {}
        host = f"{store.name}.{self._settings.store_domain}"
        database = make_database_name(store.id)
        config = {
            "store_id": store.id,
            "name": store.name,
            "host": host,
            "address": self._settings.store_address,
            "port": port,
            "url": address.url,
            "database": {
                "host": self._databases.host,
                "port": self._databases.port,
                "name": database,
                "user": database,
                "password": kept.get("database", {}).get("password") or secrets.token_urlsafe(24),
            },
            "secret_key": kept.get("secret_key") or secrets.token_urlsafe(48),
            "admin": {
                "username": engine.admin.username.format(host=host),
                "password": kept.get("admin", {}).get("password") or secrets.token_urlsafe(15),
            },
            "parameters": engine.complete_parameters(store.parameters),
            "data_dir": str(self._layout.files_dir(store.id)),
            "mail_dir": str(self._layout.mail_dir(store.id)),
        }
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._layout.mail_dir(store.id).mkdir(mode=0o700, exist_ok=True)
        _write_private(path, config)
        self._give(path.parent)

    async def _copy(self, work: StepContext) -> StepResult:
        store = work.store
        template = self._layout.read_template(store.engine, store.engine_version)
        if template is None:
            raise Wait(
                f"The engine {store.engine} {store.engine_version} is still being prepared.",
                delay=1,
            )
        config = read_json(self._layout.config_file(store.id))
        if config is None:
            raise TransientError(
                "config_missing", "The store's configuration is missing.", next_step="Retry."
            )
        async with self._databases.lock_store(make_database_name(store.id)) as session:
            await work.check_ownership()
            await session.ensure_role(config["database"]["password"])
            await session.clone_template(template)
        await work.check_ownership()
        with effect("copy_files"):
            await asyncio.to_thread(self._copy_files, store, template)
        return StepResult("Copied from the template")

    def _copy_files(self, store: Store, template: StoreTemplate) -> None:
        files = self._layout.files_dir(store.id)
        if files.exists():
            return
        partial = files.with_name("files.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(template.files, partial)
        self._give(partial)
        partial.rename(files)

    async def _start(self, work: StepContext) -> StepResult:
        await work.check_ownership()
        with effect("desire_running"):
            async with self._database.transaction() as tx:
                await tx.placements.set_desired_state(work.store.id, "running")
        placement = await self._await(work, "running", _START_TIMEOUT_S)
        return StepResult(f"Process {placement.pid}" if placement else "")

    async def _await(self, work: StepContext, observed: str, timeout: float) -> Placement | None:
        """Wait until the node has seen it; None when there is no such row (any more)."""
        deadline, certain = time.monotonic() + timeout, time.monotonic() + _CRASH_GRACE_PERIOD_S
        pause = 0.05
        while True:
            async with self._database.autocommit() as db:
                placement = await db.placements.find(work.store.id)
            if placement is None or placement.observed == observed:
                return placement
            crashing = placement.observed == "crashing" and placement.restarts >= _MAX_CRASHES
            if observed == "running" and crashing and time.monotonic() > certain:
                raise await self._crashed(work.store, placement)
            if time.monotonic() > deadline:
                raise Wait(
                    f"The node has not made the store {observed} yet; it says: {placement.message or 'nothing'}"
                )
            await asyncio.sleep(pause)
            pause = min(0.25, pause * 1.2)

    async def _crashed(self, store: Store, placement: Placement) -> PermanentError:
        last = " | ".join(await self.read_logs(store, tail=3))[-600:]
        return PermanentError(
            "store_crashes",
            f"The store's process ended {placement.restarts} times. Last lines: {last or placement.message}",
            next_step="Read the store's log, mend the cause, then retry; or delete the store.",
        )

    async def _prove_ready(self, work: StepContext) -> StepResult:
        engine = self._engine(work.store)
        async with self._database.autocommit() as db:
            placement = await db.placements.find(work.store.id)
        if placement is None:
            raise TransientError(
                "placement_missing", "The store has lost its place.", next_step="Retry."
            )
        address = self._address(engine, work.store, placement.port)
        host = f"{work.store.name}.{self._settings.store_domain}:{placement.port}"
        await self._storefront_check.wait_until_healthy(
            work, engine, server=f"http://127.0.0.1:{placement.port}", host=host
        )
        return StepResult("The storefront shows its products, the admin sign-in answers", address)

    # delete ---------------------------------------------------------------------------------------------------------

    async def _stop(self, work: StepContext) -> StepResult:
        await work.check_ownership()
        with effect("desire_stopped"):
            async with self._database.transaction() as tx:
                known = await tx.placements.set_desired_state(work.store.id, "stopped")
        if not known:
            return StepResult("It never ran")
        await self._await(work, "stopped", _STOP_TIMEOUT_S)
        return StepResult("Stopped")

    async def _drop(self, work: StepContext) -> StepResult:
        async with self._databases.lock_store(make_database_name(work.store.id)) as session:
            await work.check_ownership()
            await session.drop_database_and_role()
        return StepResult("Dropped")

    async def _erase(self, work: StepContext) -> StepResult:
        await work.check_ownership()
        with effect("erase_files"):
            await asyncio.to_thread(self._erase_files, work.store)
        return StepResult("Erased")

    def _erase_files(self, store: Store) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._layout.store_dir(store.id))
        for path in self._layout.list_log_files(store.id):
            path.unlink(missing_ok=True)

    async def _prove_gone(self, work: StepContext) -> StepResult:
        """Look everywhere; only then is the place given back."""
        store = work.store
        async with self._databases.lock_store(make_database_name(store.id)) as session:
            left = await session.list_leftovers()
        left += [
            str(p.name)
            for p in (self._layout.store_dir(store.id), *self._layout.list_log_files(store.id))
            if p.exists()
        ]
        async with self._database.autocommit() as db:
            placement = await db.placements.find(store.id)
        if placement is not None and await asyncio.to_thread(_answers, placement.port):
            left.append(f"a listener on port {placement.port}")
        if left:
            raise TransientError(
                "leftovers", f"Still there: {', '.join(left)}.", next_step="Retry the deletion."
            )
        with effect("give_place_back"):
            async with self._database.transaction() as tx:
                await tx.placements.delete(store.id)
        return StepResult("No process, database, role or file is left")

    # shared ---------------------------------------------------------------------------------------------------------

    def _engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None or engine.local is None:
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} does not run on the local runtime.",
                next_step="Delete the store and create it with another engine.",
            )
        return engine

    def _address(self, engine: Engine, store: Store, port: int) -> Address:
        base = f"http://{store.name}.{self._settings.store_domain}:{port}"
        return Address(f"{base}/", base + engine.admin.path)

    def _give(self, path: Path) -> None:
        """To the system user that stores run as, when the services run as root."""
        if user := self._settings.stores_user:
            entry = pwd.getpwnam(user)
            for _, folders, files, descriptor in os.fwalk(path):
                for name in (
                    ".",
                    *folders,
                    *files,
                ):  # a store's code may have left links here: never followed
                    os.chown(
                        name, entry.pw_uid, entry.pw_gid, dir_fd=descriptor, follow_symlinks=False
                    )


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    """Whether somebody listens; a port that an outgoing connection happens to use is no listener."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, and never readable by others."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _tail(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 512 * 1024))
            return list(
                deque((raw.decode(errors="replace").rstrip("\n") for raw in file), maxlen=lines)
            )
    except FileNotFoundError:
        return []
