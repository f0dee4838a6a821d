"""The local node as a whole: start every part in the order of its dependencies, watch, stop.

PostgreSQL and NATS start first, then the services together with the engines' templates, then the
stores that ran before. `up.py` is the command around it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from storefleet.core import async_tasks
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.node import admin, service_processes
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers import schema
from storefleet.node.servers.platform_servers import PlatformServers
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import StateFolder
from storefleet.node.stores.engine_preparation import EnginePreparation
from storefleet.node.stores.environments import EngineEnvironment, ReportProgress
from storefleet.node.stores.store_child import STORE_RANK, StoreChildFactory
from storefleet.node.stores.store_processes import StoreProcesses
from storefleet.node.system_user import SystemAccount
from storefleet.runtimes.local.file_layout import FileLayout


class Node:
    """One run of the platform on this machine.

    Args:
        settings: The platform's settings.
        state: The state folder, locked by this process.
        engines: The engines.
        account: The system account of the servers and stores; None is the current user.
        report_progress: Receives status messages.
        services: The services to run. If empty, they run elsewhere, and this node does not create
            the first owner.
    """

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
        self._services = services
        self._supervisor = Supervisor(
            records_dir=state.records_dir,
            on_status_change=self._handle_status_change,
            max_backoff_s=settings.restart_backoff,
        )
        self._environments: dict[tuple[str, str], EngineEnvironment] = {}
        self._servers: PlatformServers | None = None
        self._stores: StoreProcesses | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._preparations: list[asyncio.Task[Any]] = []

    @contextlib.asynccontextmanager
    async def run_platform(self) -> AsyncIterator[dict[str, Any]]:
        """Start everything; stop everything on exit, also after a failed start.

        Yields:
            The content of `admin.json`; empty if this node runs no services.

        Raises:
            NodeError: A part does not start.
        """
        async with contextlib.AsyncExitStack() as stack:
            # Exit callbacks run in reverse order, so the servers stop last: all else needs them.
            stack.push_async_callback(self._supervisor.stop_all)
            try:
                yield await self._start_platform(stack)
            finally:
                await self._stop_platform()

    async def wait_for_failure(self) -> None:
        """Wait until a background task ends, which none of them should, and raise its error.

        Raises:
            RuntimeError: A task ended without an error.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"The background task {done.pop().get_name()} has ended.")

    async def _start_platform(self, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
        servers = self._servers = PlatformServers(
            settings=self._settings,
            state=self._state,
            account=self._account,
            supervisor=self._supervisor,
        )
        self._run_in_background(self._supervisor.watch_children(), "supervisor")
        preparation = EnginePreparation(
            settings=self._settings,
            state=self._state,
            engines=self._engines,
            account=self._account,
            report_progress=self._report_progress,
        )
        environments_task = asyncio.create_task(preparation.build_environments())
        self._preparations.append(environments_task)
        self._report_progress("starting PostgreSQL and NATS")
        urls = servers.make_urls()
        service_processes.write_secrets(self._state, urls)
        node_urls = urls["node"]
        await run_concurrently(
            self._start_database(servers, node_urls["database_url"]),
            self._start_messaging(servers, stack),
        )
        database = Database(urls["gateway"]["database_url"], max_connections=3)
        await stack.enter_async_context(database.open_pool())
        stores_url = node_urls["stores_database_url"]
        stores = self._stores = self._make_store_processes(database, stores_url)
        self._run_in_background(stores.run(), "stores")
        owner, _, built = await run_concurrently(
            self._ensure_owner(database),
            self._start_services(),
            preparation.build_templates(environments_task, stores_url=stores_url),
        )
        # A store starts only with its environment. So the stores that ran before start only now:
        # fifty of them would delay the services.
        self._environments = {
            (environment.engine, environment.version): environment for environment in built
        }
        stores.request_reconcile()
        if not owner:
            return {}
        return admin.write_admin_file(owner, settings=self._settings, state=self._state)

    async def _start_database(self, servers: PlatformServers, database_url: str) -> None:
        await servers.start_postgres()
        await schema.ensure_schema(
            database_url,
            env=service_processes.make_environment(
                "gateway", settings=self._settings, state=self._state, account=None
            ),
            records_dir=self._state.records_dir,
            log_file=self._state.log_file("migrate"),
        )

    async def _start_messaging(
        self, servers: PlatformServers, stack: contextlib.AsyncExitStack
    ) -> None:
        stream_keeper = await servers.start_nats(stack)
        self._run_in_background(stream_keeper.run(), "streams")

    def _make_store_processes(self, database: Database, stores_url: str) -> StoreProcesses:
        return StoreProcesses(
            database=database,
            supervisor=self._supervisor,
            child_factory=StoreChildFactory(
                engines=self._engines,
                find_environment=lambda engine, version: self._environments.get((engine, version)),
                file_layout=FileLayout(self._state.path),
                stores_url=stores_url,
                account=self._account,
            ),
        )

    async def _ensure_owner(self, database: Database) -> dict[str, Any]:
        return await admin.ensure_owner(database, state=self._state) if self._services else {}

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

    def _handle_status_change(self, name: str) -> None:
        if self._stores is not None:
            self._stores.handle_status_change(name)
        if self._servers is not None:
            self._servers.handle_status_change(name)

    def _run_in_background(self, work: Awaitable[None], name: str) -> None:
        self._tasks.append(asyncio.ensure_future(work))
        self._tasks[-1].set_name(name)

    async def _stop_platform(self) -> None:
        """Stop the services while the stores still answer them, then the stores."""
        self._report_progress("stopping")
        admin.delete_admin_file(self._state)
        await asyncio.gather(*(self._supervisor.stop(service) for service in self._services))
        await async_tasks.cancel_and_wait((*self._tasks, *self._preparations))
        if self._stores is not None:
            await self._stores.cancel_tasks()
        await self._supervisor.stop_all(min_rank=STORE_RANK)


async def run_concurrently(*awaitables: Awaitable[Any]) -> list[Any]:
    """Run awaitables concurrently; the first failure cancels the others and is raised.

    Returns:
        The results in the order of the awaitables.
    """
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await async_tasks.cancel_and_wait(tasks)
