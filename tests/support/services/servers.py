"""PostgreSQL and nats-server for one test session, started by the node's own code."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import nats
from nats.aio.client import Client

from storefleet.auth.tenants import NewTenant, create_tenant
from storefleet.core.errors import MessagingUnavailable
from storefleet.core.messages import COMMAND_STREAM, DEAD_LETTER_STREAM, EVENT_STREAM
from storefleet.database.migrate import migrate_database
from storefleet.database.pool import Database
from storefleet.messaging import MessageBus
from storefleet.node.private_files import create_folder
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.nats_server import NatsServer
from storefleet.node.servers.postgres import PostgresServer
from storefleet.node.servers.roles import MAINTENANCE_DATABASE, PLATFORM_ROLE, SUPERUSER
from storefleet.node.system_user import ensure_account
from tests.support.services.polling import eventually
from tests.support.services.ports import Ports

TEMPLATE = "tests_template"
_NUMBERS = itertools.count(1)


class Servers:
    """Both servers, a migrated template database with two tenants, and the streams."""

    #: The first tenant's owner, who is the operator; and the owner of another tenant.
    admin: NewTenant
    other: NewTenant

    def __init__(self, folder: Path) -> None:
        account = ensure_account()
        self.folder = folder
        self.taken = False
        self._ports = Ports()
        secrets = create_folder(folder / "secrets")
        records = create_folder(folder / "pids")
        self._supervisor = Supervisor(records_dir=records)
        self.postgres_port = self._ports.take()
        self.nats_port = self._ports.take()
        self._postgres = PostgresServer(
            folder=folder / "postgres",
            secrets_dir=secrets,
            records_dir=records,
            log_file=folder / "postgres.log",
            port=self.postgres_port,
            account=account,
        )
        self._nats = NatsServer(
            folder=folder / "nats",
            secrets_dir=secrets,
            log_file=folder / "nats.log",
            port=self.nats_port,
            account=account,
        )

    async def start(self) -> None:
        await self._postgres.prepare_cluster()
        self._supervisor.start(self._postgres.make_child())
        self._nats.write_configuration()
        await self.start_nats()
        await self._postgres.wait_until_ready(lambda: self._supervisor.get_status("postgres"))
        await self._postgres.ensure_roles()
        for setting in (
            "fsync",
            "full_page_writes",
        ):  # power cuts are not tested here, so fsync is off for speed
            await self._administer(f"ALTER SYSTEM SET {setting} = off")
        await self._administer("SELECT pg_reload_conf()")
        await self._make_template()

    async def stop(self) -> None:
        await self._supervisor.stop_all()
        self._ports.close()

    def nats_url(self, user: str, port: int | None = None) -> str:
        url = self._nats.make_url(user)
        return url if port is None else url.replace(f":{self.nats_port}", f":{port}")

    async def start_nats(self) -> None:
        self._supervisor.start(self._nats.make_child())
        await self._nats.wait_until_ready(lambda: self._supervisor.get_status("nats"))
        await self.ensure_streams()

    async def stop_nats(self) -> None:
        await self._supervisor.stop("nats")

    async def restart_nats(self) -> None:
        await self.stop_nats()
        await self.start_nats()

    async def ensure_streams(self) -> None:
        """Create missing streams, as the node does."""

        async def made() -> bool:
            with suppress(MessagingUnavailable):
                await bus.ensure_streams()
                return True
            return False

        bus = MessageBus(self.nats_url("node"), name="node")
        async with bus.open_connection():
            await eventually(made, within=20)

    @asynccontextmanager
    async def nats_client(self, user: str) -> AsyncIterator[Client]:
        client = await nats.connect(self.nats_url(user), inbox_prefix=f"_INBOX_{user}".encode())
        try:
            yield client
        finally:
            await client.close()

    async def empty_streams(self) -> None:
        async with self.nats_client("node") as client:
            js = client.jetstream(timeout=5)
            for stream in (COMMAND_STREAM, EVENT_STREAM, DEAD_LETTER_STREAM):
                await js.purge_stream(stream)

    async def count(self, stream: str) -> int:
        """Return the number of messages in the stream."""
        async with self.nats_client("node") as client:
            info = await client.jetstream(timeout=5).stream_info(stream)
            return info.state.messages

    async def delete_streams(self) -> None:
        async with self.nats_client("node") as client:
            js = client.jetstream(timeout=5)
            for stream in (COMMAND_STREAM, EVENT_STREAM, DEAD_LETTER_STREAM):
                await js.delete_stream(stream)

    def database_url(self, database: str, port: int | None = None) -> str:
        url = self._postgres.make_url(PLATFORM_ROLE, database)
        return url if port is None else url.replace(f":{self.postgres_port}/", f":{port}/")

    async def new_database(self) -> str:
        """Create a copy of the template database and return its name."""
        name = f"tests_{next(_NUMBERS)}"
        await self._administer(
            f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {PLATFORM_ROLE} STRATEGY file_copy"
        )
        return name

    async def drop_database(self, name: str) -> None:
        await self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _make_template(self) -> None:
        await self._administer(f"CREATE DATABASE {TEMPLATE} OWNER {PLATFORM_ROLE}")
        url = self.database_url(TEMPLATE)
        await migrate_database(url)
        async with Database(url).open_pool() as database:
            self.admin = await create_tenant(
                database, name="First", email="admin@example.com", is_operator=True
            )
            self.other = await create_tenant(database, name="Second", email="other@example.com")
        await self._administer(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")

    async def _administer(self, statement: str) -> None:
        connection: Any = await asyncpg.connect(
            self._postgres.make_url(SUPERUSER, MAINTENANCE_DATABASE)
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def open_servers() -> AsyncIterator[Servers]:
    """Start the servers; stop them afterwards and delete their files."""
    folder = Path(tempfile.mkdtemp(prefix="storefleet-tests-"))
    folder.chmod(0o711)  # for the system user that runs the servers
    servers = Servers(folder)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
