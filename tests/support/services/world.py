"""One test's platform: database, services in process or as processes, clients, listeners."""

import asyncio
import importlib
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from storefleet.auth.tenants import NewTenant
from storefleet.core.identifiers import EVENT_PREFIX, generate_id
from storefleet.core.messages import make_event_subject
from storefleet.core.settings import Settings
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.pool import Database
from storefleet.messaging import MessageBus
from storefleet.operations.step_plans import StepPlan, StepPlans
from storefleet.operations.worker import Worker
from tests.support.http.browser import Browser
from tests.support.http.client import Api
from tests.support.http.websocket_listener import Listener, open_listener
from tests.support.services.polling import eventually
from tests.support.services.ports import Ports
from tests.support.services.processes import Process
from tests.support.services.proxy import Proxy
from tests.support.services.servers import Servers

ENGINES = Path(__file__).parents[2] / "fixtures" / "engines" / "simulated"
ALL = ("gateway", "provisioner", "reaper", "notifier")

#: Short intervals and timeouts, so that tests wait milliseconds instead of minutes.
QUICK: dict[str, Any] = {
    "runtime": "simulated",
    "engines_path": (ENGINES,),
    "default_engine": "shop",
    "lease": 1.5,
    "redispatch_after": 0.5,
    "scan_interval": 0.1,
    "shutdown_grace": 1,
    "retry_delays": (0.05, 0.1),
    "operation_deadline": 60,
    "stores_per_hour": 1000,
    "stores_per_tenant": 1000,
}


class World:
    """One test's platform, created by the `world` fixture."""

    def __init__(
        self, servers: Servers, *, database_name: str, folder: Path, stack: AsyncExitStack
    ) -> None:
        self.servers = servers
        self.folder = folder
        self.database_name = database_name
        self.ports = Ports()
        self.port = {service: self.ports.take() for service in ALL}
        self.base: dict[str, Any] = dict(QUICK)
        self.database = Database(servers.database_url(database_name), max_connections=4)
        self._stack = stack
        self._runners: dict[str, web.AppRunner] = {}
        self._session: aiohttp.ClientSession | None = None
        self._processes = 0
        self._told: dict[str, int] = {}

    def settings(self, service: str = "gateway", **overrides: Any) -> Settings:
        """Return a service's settings; `database_port` and `nats_port` may lead to a proxy."""
        database_port, nats_port = (
            overrides.pop("database_port", None),
            overrides.pop("nats_port", None),
        )
        chosen = {
            **self.base,
            "state_dir": self.folder,
            "database_url": self.servers.database_url(self.database_name, database_port),
            "nats_url": self.servers.nats_url(service, nats_port),
            **{f"{name}_port": port for name, port in self.port.items()},
            **overrides,
        }
        return Settings(**chosen)

    @property
    def admin(self) -> NewTenant:
        return self.servers.admin

    @property
    def other(self) -> NewTenant:
        return self.servers.other

    async def start(self, *services: str, **overrides: Any) -> None:
        """Start services in this process: the named ones or all four."""
        for service in services or ALL:
            module = importlib.import_module(f"services.{service}.app")
            settings = self.settings(service, **overrides)
            runner = web.AppRunner(module.create_app(settings), access_log=None, shutdown_timeout=1)
            await runner.setup()
            self._runners[service] = runner
            await web.TCPSite(runner, "127.0.0.1", self.port[service]).start()

    async def stop(self, *services: str) -> None:
        for service in services or tuple(self._runners):
            if runner := self._runners.pop(service, None):
                await runner.cleanup()

    async def process(
        self,
        module: str,
        *,
        service: str,
        extra: Mapping[str, str] | None = None,
        port: int | None = None,
        **overrides: Any,
    ) -> Process:
        """Start `python -m <module>` and stop it after the test."""
        self._processes += 1
        log = self.folder / f"{service}-{self._processes}.log"
        if port is not None:
            overrides[f"{service}_port"] = port
        process = Process(module, self.settings(service, **overrides), log=log, extra=extra)
        self._stack.push_async_callback(process.end)
        return process

    async def service(self, service: str, **overrides: Any) -> Process:
        """Start a service as a process and wait until it is ready."""
        port = overrides.pop("port", None) or self.port[service]
        process = await self.process(f"services.{service}", service=service, port=port, **overrides)
        await process.ready(port)
        return process

    @asynccontextmanager
    async def worker(
        self,
        plan: StepPlan | StepPlans,
        *,
        service: str = "provisioner",
        kind: str = "create",
        **overrides: Any,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Run a worker with scripted steps in place of the service for these operations."""
        settings = self.settings(service, **overrides)
        database = Database(settings.database_url.get_secret_value())
        bus = MessageBus(settings.nats_url.get_secret_value(), name=service)
        worker = Worker(
            service=service,
            step_plans=plan if isinstance(plan, Mapping) else {kind: plan},
            database=database,
            bus=bus,
            settings=settings,
        )
        async with database.open_pool(), bus.open_connection():
            await eventually(lambda: bus.is_connected)
            task = asyncio.create_task(worker.run())
            try:
                yield task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def sign_in(self, tenant: NewTenant | None = None) -> Browser:
        """Sign in at the gateway and return the session."""
        person = tenant or self.admin
        browser = Browser(self.session, self.url)
        answer = await browser.post("/login", {"email": person.email, "password": person.password})
        assert answer.status == 303, answer.text
        return browser

    async def proxy(self, target: int) -> tuple[int, Proxy]:
        """Start a proxy to `target`; return its port and the proxy."""
        port = self.ports.take()
        proxy = Proxy(port, target)
        await proxy.mend()
        self._stack.push_async_callback(proxy.cut)
        return port, proxy

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port['gateway']}"

    @property
    def live_url(self) -> str:
        return f"ws://127.0.0.1:{self.port['notifier']}/api/v1/events"

    @property
    def api(self) -> Api:
        """Return a client of the first tenant's owner, who is the operator."""
        return Api(self.session, self.url, self.admin.token)

    @property
    def other_api(self) -> Api:
        """Return a client of the other tenant's owner."""
        return Api(self.session, self.url, self.other.token)

    @asynccontextmanager
    async def listener(
        self, *, token: str | None = None, after: int | None = None, **more: Any
    ) -> AsyncIterator[Listener]:
        """Open a websocket as the first tenant's owner, with the token in the header."""
        headers = {"Authorization": f"Bearer {token or self.admin.token}"}
        url = self.live_url if after is None else f"{self.live_url}?after={after}"
        async with open_listener(self.session, url, headers=headers, **more) as heard:
            yield heard

    async def fetch(self, statement: str, *args: Any) -> list[dict[str, Any]]:
        async with self.database.autocommit() as db:
            return [dict(record) for record in await db.connection.fetch(statement, *args)]

    async def value(self, statement: str, *args: Any) -> Any:
        async with self.database.autocommit() as db:
            return await db.connection.fetchval(statement, *args)

    async def execute(self, statement: str, *args: Any) -> None:
        async with self.database.autocommit() as db:
            await db.connection.execute(statement, *args)

    async def write_events(
        self,
        count: int,
        *,
        tenant_id: str | None = None,
        store_id: str = "sto_aaaaaaaaaaaaaaaa",
        padding: int = 0,
    ) -> None:
        """Write numbered events of one store in one transaction, as the recorder does."""
        tenant = tenant_id or self.admin.tenant_id
        begin = self._told.get(store_id, 0)
        self._told[store_id] = begin + count
        drafts = [
            OutboxRow(
                id=generate_id(EVENT_PREFIX),
                kind="event",
                subject=make_event_subject(tenant, store_id, "store.step"),
                type="store.step",
                tenant_id=tenant,
                store_id=store_id,
                operation_id=None,
                data={"number": number, "padding": "x" * padding},
            )
            for number in range(begin + 1, begin + count + 1)
        ]
        async with self.database.transaction() as tx:
            await tx.outbox.add(*drafts)

    async def last_seq(self) -> int:
        return int(await self.value("SELECT last_seq FROM relay"))

    async def count_unpublished(self) -> int:
        """Return the number of outbox rows that are not published."""
        return int(
            await self.value(
                "SELECT (SELECT count(*) FROM outbox) + (SELECT last_seq - published_seq FROM "
                "relay)"
            )
        )

    async def all_sent(self) -> bool:
        return await self.count_unpublished() == 0

    async def wait_until_settled(self, *, within: float = 20) -> int:
        """Wait until no operation is open and all is published; return the last number."""

        async def look() -> bool:
            open_ = await self.value(
                "SELECT count(*) FROM operations WHERE state IN ('queued', 'running')"
            )
            waiting = await self.count_unpublished()
            assert (open_, waiting) == (0, 0), (
                f"{open_} operations are open, {waiting} messages wait"
            )
            return True

        await eventually(look, within=within)
        return await self.last_seq()


@asynccontextmanager
async def open_world(servers: Servers, folder: Path) -> AsyncIterator[World]:
    """Create a world without running services; stop everything afterwards."""
    assert not servers.taken, (
        "one world at a time: the streams are the same for all (`world` beside `platform`?)"
    )
    servers.taken = True
    deaths: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: deaths.append(number))
    name = await servers.new_database()
    await servers.empty_streams()
    try:
        async with AsyncExitStack() as stack:
            world = World(servers, database_name=name, folder=folder, stack=stack)
            stack.callback(world.ports.close)
            await stack.enter_async_context(world.database.open_pool())
            world._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=70),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            stack.push_async_callback(world.session.close)
            stack.push_async_callback(world.stop)
            yield world
    finally:
        signal.signal(signal.SIGTERM, before)
        servers.taken = False
        await servers.drop_database(name)
    assert not deaths, "a background task has died (see the log)"
