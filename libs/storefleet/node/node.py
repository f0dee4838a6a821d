"""The node as a whole: brings every part up in the order that each needs, watches them, takes them down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg

from storefleet.core import async_tasks
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.node import admin, service_processes
from storefleet.node.node_error import NodeError
from storefleet.node.ports import choose_port
from storefleet.node.private_files import create_folder
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers import schema
from storefleet.node.servers.nats_server import NatsServer
from storefleet.node.servers.postgres import PostgresServer
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
)
from storefleet.node.servers.sql import extract_address
from storefleet.node.servers.stream_keeper import StreamKeeper
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import StateFolder
from storefleet.node.stores import environments
from storefleet.node.stores.environments import EngineEnvironment
from storefleet.node.stores.store_processes import StoreProcesses
from storefleet.node.stores.templates import EngineTemplate
from storefleet.node.system_user import SystemAccount
from storefleet.runtimes.local.file_layout import FileLayout

ReportProgress = Callable[[str], None]


class Node:
    """One run of the platform on this machine."""

    def __init__(
        self,
        *,
        settings: Settings,
        state: StateFolder,
        engines: EngineCatalogue,
        account: SystemAccount | None,
        report_progress: ReportProgress,
        services: tuple[str, ...] = SERVICES,
    ) -> None:
        self._settings = settings
        self._state = state
        self._engines = engines
        self._account = account
        self._report_progress = report_progress
        self._services = (
            services  # none: they run elsewhere, and so does whoever set the servers up
        )
        self._file_layout = FileLayout(state.path)
        self._supervisor = Supervisor(
            records_dir=state.records_dir,
            on_status_change=self._handle_status_change,
            max_backoff_s=settings.restart_backoff,
        )
        self._environments: dict[tuple[str, str], EngineEnvironment] = {}
        self._stores: StoreProcesses | None = None
        self._streams: StreamKeeper | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._preparations: list[asyncio.Task[Any]] = []
        self._postgres: PostgresServer | None = None
        self._nats: NatsServer | None = None

    @contextlib.asynccontextmanager
    async def run_platform(self) -> AsyncIterator[dict[str, Any]]:
        """Everything up, and the first sign-in; everything down afterwards, also when coming up failed."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(
                self._supervisor.stop_all
            )  # last: the servers that everything else needs
            try:
                yield await self._start_platform(stack)
            finally:
                await self._stop_platform()

    async def wait_for_failure(self) -> None:
        """Return only by raising what ended a part that must not end."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"{done.pop().get_name()} has ended")

    # coming up ------------------------------------------------------------------------------------------------------

    async def _start_platform(self, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
        self._choose_servers()
        self._run_in_background(self._supervisor.watch_children(), "supervisor")
        preparing = asyncio.create_task(self._prepare_environments())
        self._preparations.append(preparing)
        self._report_progress("starting PostgreSQL and NATS")
        urls = self._make_urls()
        service_processes.write_secrets(self._state, urls)
        await run_concurrently(self._start_database(urls), self._start_messaging(stack))
        database = Database(urls["gateway"]["database_url"], max_connections=3)
        await stack.enter_async_context(database.open_pool())
        self._stores = self._make_store_processes(database, urls)
        self._run_in_background(self._stores.run(), "stores")
        owner, _, made = await run_concurrently(
            self._ensure_owner(database),
            self._start_services(),
            self._prepare_templates(preparing, urls),
        )
        # Stores that ran before are started only now: fifty of them would make the services late.
        self._environments = {
            (environment.engine, environment.version): environment for environment in made
        }
        self._stores.request_reconcile()
        return (
            admin.write_admin_file(owner, settings=self._settings, state=self._state)
            if owner
            else {}
        )

    async def _ensure_owner(self, database: Database) -> dict[str, Any]:
        return await admin.ensure_owner(database, state=self._state) if self._services else {}

    def _choose_servers(self) -> None:
        """Embedded servers unless the settings name others; each keeps its port from run to run."""
        kept = self._state.read_node_file().get("ports", {})
        secrets = create_folder(self._state.secrets_dir("node"))
        ports = {}
        if not self._settings.database_url.get_secret_value():
            ports["postgres"] = choose_port(kept.get("postgres"))
            self._postgres = PostgresServer(
                folder=self._state.path / "postgres",
                secrets_dir=secrets,
                records_dir=self._state.records_dir,
                log_file=self._state.log_file("postgres"),
                port=ports["postgres"],
                account=self._account,
            )
        if not self._settings.nats_url.get_secret_value():
            ports["nats"] = choose_port(kept.get("nats"))
            self._nats = NatsServer(
                folder=self._state.path / "nats",
                secrets_dir=secrets,
                log_file=self._state.log_file("nats"),
                port=ports["nats"],
                account=self._account,
            )
        self._state.write_node_file(
            ports={**kept, **ports}, services=service_processes.list_ports(self._settings)
        )

    def _make_urls(self) -> dict[str, dict[str, str]]:
        """Addresses with passwords, by user; `node` is this process."""
        given = self._settings
        if self._postgres is not None:
            platform = self._postgres.make_url(PLATFORM_ROLE, PLATFORM_DATABASE)
            stores = self._postgres.make_url(STORES_ROLE, MAINTENANCE_DATABASE)
        else:
            platform = given.database_url.get_secret_value()
            stores = given.stores_database_url.get_secret_value() or platform
        users: dict[str, dict[str, str]] = {}
        for user in (*SERVICES, "node"):
            bus = (
                self._nats.make_url(user)
                if self._nats is not None
                else given.nats_url.get_secret_value()
            )
            users[user] = {"database_url": platform, "nats_url": bus}
            if user in ("provisioner", "reaper", "node"):
                users[user]["stores_database_url"] = stores
        return users

    async def _start_database(self, urls: dict[str, dict[str, str]]) -> None:
        url = urls["node"]["database_url"]
        if self._postgres is not None:
            await self._postgres.prepare_cluster()
            self._supervisor.start(self._postgres.make_child())
            await self._postgres.wait_until_ready(lambda: self._supervisor.get_status("postgres"))
            await self._postgres.ensure_roles()
        try:
            await schema.ensure_schema(
                url,
                env=service_processes.make_environment(
                    "gateway", settings=self._settings, state=self._state, account=None
                ),
                records_dir=self._state.records_dir,
                log_file=self._state.log_file("migrate"),
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NodeError(
                f"The database at {extract_address(url)} does not answer as it should: {error}. Check address, user, password."
            ) from None

    async def _start_messaging(self, stack: contextlib.AsyncExitStack) -> None:
        if self._nats is not None:
            self._nats.write_configuration()
            self._supervisor.start(self._nats.make_child())
            await self._nats.wait_until_ready(lambda: self._supervisor.get_status("nats"))
        url = (
            self._nats.make_url("node")
            if self._nats is not None
            else self._settings.nats_url.get_secret_value()
        )
        self._streams = StreamKeeper(url, replicas=self._settings.stream_replicas)
        await stack.enter_async_context(self._streams.open_connection())
        await self._streams.create_streams()
        self._run_in_background(self._streams.run(), "streams")

    def _make_store_processes(
        self, database: Database, urls: dict[str, dict[str, str]]
    ) -> StoreProcesses:
        return StoreProcesses(
            database=database,
            supervisor=self._supervisor,
            engines=self._engines,
            find_environment=lambda engine, version: self._environments.get((engine, version)),
            file_layout=self._file_layout,
            stores_url=urls["node"]["stores_database_url"],
            account=self._account,
        )

    async def _start_services(self) -> None:
        if self._services:
            self._report_progress("starting the services")
        for service in self._services:
            self._supervisor.start(
                service_processes.make_child(
                    service, settings=self._settings, state=self._state, account=self._account
                )
            )
        await run_concurrently(*(self._wait_for_service(service) for service in self._services))

    async def _wait_for_service(self, service: str) -> None:
        await service_processes.wait_until_ready(
            service,
            settings=self._settings,
            log_file=self._state.log_file(service),
            get_status=lambda: self._supervisor.get_status(service),
        )

    async def _prepare_environments(self) -> list[EngineEnvironment]:
        if self._settings.runtime != "local":
            return []
        made = []
        for engine in self._engines:
            for version in (
                version.version for version in engine.versions if engine.local is not None
            ):
                environment = await asyncio.to_thread(
                    environments.locate_environment,
                    engine,
                    version,
                    engines_dir=self._state.engines_dir,
                )
                await environments.build_environment(
                    engine,
                    environment,
                    records_dir=self._state.records_dir,
                    log_file=self._state.log_file(f"engine-{engine.name}"),
                    account=self._account,
                    report_progress=self._report_progress,
                )
                made.append(environment)
        return made

    async def _prepare_templates(
        self, preparing: asyncio.Task[list[EngineEnvironment]], urls: dict[str, dict[str, str]]
    ) -> list[EngineEnvironment]:
        made, url = await preparing, urls["node"]["stores_database_url"]
        for environment in made:
            engine = self._engines.get_offered(environment.engine)
            template = EngineTemplate(
                engine,
                environment,
                url=url,
                records_dir=self._state.records_dir,
                log_file=self._state.log_file(f"engine-{engine.name}"),
                account=self._account,
            )
            await template.ensure(
                self._report_progress,
                record_file=self._file_layout.template_record_file(
                    environment.engine, environment.version
                ),
            )
            environments.publish_template(environment, file_layout=self._file_layout)
            await template.delete_outdated()
        return made

    # while it runs --------------------------------------------------------------------------------------------------

    def _handle_status_change(self, name: str) -> None:
        if self._stores is not None:
            self._stores.handle_status_change(name)
        status = self._supervisor.get_status(name)
        if (
            name == "nats"
            and self._streams is not None
            and status is not None
            and status.state == "running"
        ):
            self._streams.request_check()

    def _run_in_background(self, work: Awaitable[None], name: str) -> None:
        self._tasks.append(asyncio.ensure_future(work))
        self._tasks[-1].set_name(name)

    # going down -----------------------------------------------------------------------------------------------------

    async def _stop_platform(self) -> None:
        """Services first, while the stores still answer them; then the stores."""
        self._report_progress("stopping")
        admin.delete_admin_file(self._state)
        await asyncio.gather(*(self._supervisor.stop(service) for service in self._services))
        await async_tasks.cancel_and_wait((*self._tasks, *self._preparations))
        if self._stores is not None:
            await self._stores.cancel_tasks()
        await self._supervisor.stop_all(min_rank=1)


async def run_concurrently(*awaitables: Awaitable[Any]) -> list[Any]:
    """Run all at once; the first failure ends the others and is raised itself."""
    parts = [asyncio.ensure_future(part) for part in awaitables]
    try:
        return list(await asyncio.gather(*parts))
    finally:
        await async_tasks.cancel_and_wait(parts)
