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
from storefleet.node.ports import keep_or_choose
from storefleet.node.private_files import make_folder
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers import schema
from storefleet.node.servers.nats_server import NatsServer
from storefleet.node.servers.postgres import Postgres
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
)
from storefleet.node.servers.sql import place_of
from storefleet.node.servers.stream_keeper import Streams
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import State
from storefleet.node.stores import environments
from storefleet.node.stores.environments import Environment
from storefleet.node.stores.store_processes import Stores
from storefleet.node.stores.templates import Template
from storefleet.node.system_user import Account
from storefleet.runtimes.local.file_layout import FileLayout

Say = Callable[[str], None]


class Node:
    """One run of the platform on this machine."""

    def __init__(
        self,
        *,
        settings: Settings,
        state: State,
        engines: EngineCatalogue,
        account: Account | None,
        say: Say,
        services: tuple[str, ...] = SERVICES,
    ) -> None:
        self._settings = settings
        self._state = state
        self._engines = engines
        self._account = account
        self._say = say
        self._services = (
            services  # none: they run elsewhere, and so does whoever set the servers up
        )
        self._places = FileLayout(state.folder)
        self._supervisor = Supervisor(
            records=state.records, changed=self._saw, backoff=settings.restart_backoff
        )
        self._environments: dict[tuple[str, str], Environment] = {}
        self._stores: Stores | None = None
        self._streams: Streams | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._helpers: list[asyncio.Task[Any]] = []
        self._postgres: Postgres | None = None
        self._nats: NatsServer | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Everything up, and the first sign-in; everything down afterwards, also when coming up failed."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(
                self._supervisor.stop_all
            )  # last: the servers that everything else needs
            try:
                yield await self._start(stack)
            finally:
                await self._stop_work()

    async def watch(self) -> None:
        """Return only by raising what ended a part that must not end."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"{done.pop().get_name()} has ended")

    # coming up ------------------------------------------------------------------------------------------------------

    async def _start(self, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
        self._choose_servers()
        self._background(self._supervisor.watch(), "supervisor")
        preparing = asyncio.create_task(self._prepare_environments())
        self._helpers.append(preparing)
        self._say("starting PostgreSQL and NATS")
        urls = self._urls()
        service_processes.write_secrets(self._state, urls)
        await together(self._start_database(urls), self._start_bus(stack))
        database = Database(urls["gateway"]["database_url"], max_connections=3)
        await stack.enter_async_context(database.open_pool())
        self._stores = self._keep_stores(database, urls)
        self._background(self._stores.run(), "stores")
        owner, _, made = await together(
            self._ensure_owner(database),
            self._start_services(),
            self._prepare_templates(preparing, urls),
        )
        # Stores that ran before are started only now: fifty of them would make the services late.
        self._environments = {
            (environment.engine, environment.version): environment for environment in made
        }
        self._stores.look()
        return admin.tell(owner, settings=self._settings, state=self._state) if owner else {}

    async def _ensure_owner(self, database: Database) -> dict[str, Any]:
        return await admin.ensure_owner(database, state=self._state) if self._services else {}

    def _choose_servers(self) -> None:
        """Embedded servers unless the settings name others; each keeps its port from run to run."""
        kept = self._state.read_node().get("ports", {})
        secrets = make_folder(self._state.secrets("node"))
        ports = {}
        if not self._settings.database_url.get_secret_value():
            ports["postgres"] = keep_or_choose(kept.get("postgres"))
            self._postgres = Postgres(
                folder=self._state.folder / "postgres",
                secrets=secrets,
                records=self._state.records,
                log=self._state.log("postgres"),
                port=ports["postgres"],
                account=self._account,
            )
        if not self._settings.nats_url.get_secret_value():
            ports["nats"] = keep_or_choose(kept.get("nats"))
            self._nats = NatsServer(
                folder=self._state.folder / "nats",
                secrets=secrets,
                log=self._state.log("nats"),
                port=ports["nats"],
                account=self._account,
            )
        self._state.write_node(
            ports={**kept, **ports}, services=service_processes.ports(self._settings)
        )

    def _urls(self) -> dict[str, dict[str, str]]:
        """Addresses with passwords, by user; `node` is this process."""
        given = self._settings
        if self._postgres is not None:
            platform = self._postgres.url(PLATFORM_ROLE, PLATFORM_DATABASE)
            stores = self._postgres.url(STORES_ROLE, MAINTENANCE_DATABASE)
        else:
            platform = given.database_url.get_secret_value()
            stores = given.stores_database_url.get_secret_value() or platform
        users: dict[str, dict[str, str]] = {}
        for user in (*SERVICES, "node"):
            bus = (
                self._nats.url(user)
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
            await self._postgres.prepare()
            self._supervisor.start(self._postgres.child())
            await self._postgres.ready(lambda: self._supervisor.status("postgres"))
            await self._postgres.ensure_roles()
        try:
            await schema.ensure(
                url,
                env=service_processes.environment(
                    "gateway", settings=self._settings, state=self._state, account=None
                ),
                records=self._state.records,
                log=self._state.log("migrate"),
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NodeError(
                f"The database at {place_of(url)} does not answer as it should: {error}. Check address, user, password."
            ) from None

    async def _start_bus(self, stack: contextlib.AsyncExitStack) -> None:
        if self._nats is not None:
            self._nats.prepare()
            self._supervisor.start(self._nats.child())
            await self._nats.ready(lambda: self._supervisor.status("nats"))
        url = (
            self._nats.url("node")
            if self._nats is not None
            else self._settings.nats_url.get_secret_value()
        )
        self._streams = Streams(url, replicas=self._settings.stream_replicas)
        await stack.enter_async_context(self._streams.opened())
        await self._streams.first()
        self._background(self._streams.run(), "streams")

    def _keep_stores(self, database: Database, urls: dict[str, dict[str, str]]) -> Stores:
        return Stores(
            database=database,
            supervisor=self._supervisor,
            engines=self._engines,
            environment=lambda engine, version: self._environments.get((engine, version)),
            places=self._places,
            stores_url=urls["node"]["stores_database_url"],
            account=self._account,
        )

    async def _start_services(self) -> None:
        if self._services:
            self._say("starting the services")
        for service in self._services:
            self._supervisor.start(
                service_processes.make_child(
                    service, settings=self._settings, state=self._state, account=self._account
                )
            )
        await together(*(self._service_ready(service) for service in self._services))

    async def _service_ready(self, service: str) -> None:
        await service_processes.wait_until_ready(
            service,
            settings=self._settings,
            log=self._state.log(service),
            status=lambda: self._supervisor.status(service),
        )

    async def _prepare_environments(self) -> list[Environment]:
        if self._settings.runtime != "local":
            return []
        made = []
        for engine in self._engines:
            for version in (
                version.version for version in engine.versions if engine.local is not None
            ):
                environment = await asyncio.to_thread(
                    environments.find, engine, version, folder=self._state.engines
                )
                await environments.build(
                    engine,
                    environment,
                    records=self._state.records,
                    log=self._state.log(f"engine-{engine.name}"),
                    account=self._account,
                    progress=self._say,
                )
                made.append(environment)
        return made

    async def _prepare_templates(
        self, preparing: asyncio.Task[list[Environment]], urls: dict[str, dict[str, str]]
    ) -> list[Environment]:
        made, url = await preparing, urls["node"]["stores_database_url"]
        for environment in made:
            engine = self._engines.get_offered(environment.engine)
            template = Template(
                engine,
                environment,
                url=url,
                records=self._state.records,
                log=self._state.log(f"engine-{engine.name}"),
                account=self._account,
            )
            await template.ensure(
                self._say,
                record=self._places.template_record_file(environment.engine, environment.version),
            )
            environments.publish(environment, places=self._places)
            await template.forget_outdated()
        return made

    # while it runs --------------------------------------------------------------------------------------------------

    def _saw(self, name: str) -> None:
        if self._stores is not None:
            self._stores.saw(name)
        status = self._supervisor.status(name)
        if (
            name == "nats"
            and self._streams is not None
            and status is not None
            and status.state == "running"
        ):
            self._streams.lost()

    def _background(self, work: Awaitable[None], name: str) -> None:
        self._tasks.append(asyncio.ensure_future(work))
        self._tasks[-1].set_name(name)

    # going down -----------------------------------------------------------------------------------------------------

    async def _stop_work(self) -> None:
        """Services first, while the stores still answer them; then the stores."""
        self._say("stopping")
        admin.untell(self._state)
        await asyncio.gather(*(self._supervisor.stop(service) for service in self._services))
        await async_tasks.cancel_and_wait((*self._tasks, *self._helpers))
        if self._stores is not None:
            await self._stores.close()
        await self._supervisor.stop_all(least_rank=1)


async def together(*work: Awaitable[Any]) -> list[Any]:
    """Run all at once; the first failure ends the others and is raised itself."""
    parts = [asyncio.ensure_future(part) for part in work]
    try:
        return list(await asyncio.gather(*parts))
    finally:
        await async_tasks.cancel_and_wait(parts)
