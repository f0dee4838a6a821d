"""The template that the stores of an engine's version are copies of: a database that refuses connections, and files."""

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from storefleet.engines.descriptor import Engine
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import give_folder, give_tree, read_json, write_json
from storefleet.node.processes.launcher import Child, last_line, run_to_end
from storefleet.node.servers.sql import Connection, connect, run
from storefleet.node.stores.environments import Environment, Progress, outdated, template_name
from storefleet.node.system_user import Account

TIMEOUT = 300.0


class Template:
    """Made once per environment, as the role that owns the stores' databases."""

    def __init__(
        self,
        engine: Engine,
        environment: Environment,
        *,
        url: str,
        records: Path,
        log: Path,
        account: Account | None,
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._url = url
        self._records = records
        self._log = log
        self._account = account
        self._folder = environment.folder / "template"

    async def ensure(self, progress: Progress, *, record: Path) -> None:
        """Make the template unless database and files are complete; begun ones are made anew.

        `record` tells the runtime of a complete template: it goes away first when there is none (any more).
        """
        connection = await _connect(self._url)
        try:
            if await self._complete(connection):
                return
            await asyncio.to_thread(record.unlink, missing_ok=True)
            progress(f"preparing the template of {self._engine.title} (once)")
            password = await self._fresh_database(connection)
            await self._fill(password)
            await self._seal(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise NodeError(
                f"The template of the engine {self._engine.name} could not be made: {error}."
            ) from None
        finally:
            await connection.close()

    async def forget_outdated(self) -> None:
        """Remove what was built from an older content of the same version; stores have copies of their own."""
        for folder in outdated(self._environment):
            connection = await _connect(self._url)
            try:
                await drop(
                    connection,
                    template_name(self._environment.engine, folder.name.rpartition("-")[2]),
                )
            finally:
                await connection.close()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _complete(self, connection: Connection) -> bool:
        name = self._environment.template_name
        allows = await connection.fetchval(
            "SELECT datallowconn FROM pg_database WHERE datname = $1", name
        )
        return allows is False and bool(read_json(self._folder / "template.json"))

    async def _fresh_database(self, connection: Connection) -> str:
        """An empty database with a role of its own; returns the role's password."""
        name, password = self._environment.template_name, secrets.token_urlsafe(24)
        await drop(connection, name)
        await run(connection, "CREATE ROLE %I LOGIN PASSWORD %L", name, password)
        await run(
            connection,
            "CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING 'UTF8' STRATEGY file_copy",
            name,
            name,
        )
        await run(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", name)
        return password

    async def _fill(self, password: str) -> None:
        """Run the engine's template command in an empty folder."""
        assert self._engine.local is not None  # noqa: S101 - an environment exists
        shutil.rmtree(self._folder, ignore_errors=True)
        give_folder(self._folder, self._account)
        files, mail = (
            give_folder(self._folder / name, self._account) for name in ("files", "mail")
        )
        configuration = self._folder / "store.json"
        write_json(
            configuration,
            self._configuration(password, files=files, mail=mail),
            owner=self._account,
        )
        child = Child(
            name=f"engine-{self._engine.name}-template",
            argv=self._environment.command(self._engine.local.template),
            cwd=files,
            log=self._log,
            env=self._environment.environment(
                STORE_CONFIG=str(configuration), STORE_ID="template", HOME=str(files)
            ),
            account=self._account,
            reach=(self._folder, *self._environment.reach),
        )
        try:
            code = await run_to_end(child, records=self._records, timeout=TIMEOUT)
        except TimeoutError as error:
            raise NodeError(
                f"The template of the engine {self._engine.name} is not ready in time: {error}."
            ) from None
        finally:
            configuration.unlink(missing_ok=True)
        if code != 0:
            raise NodeError(
                f"The template of the engine {self._engine.name} could not be made: {last_line(self._log)} "
                f"(more in {self._log})."
            )

    async def _seal(self, connection: Connection) -> None:
        """Nobody connects to it or changes its files again; refusing connections comes last and says it is whole."""
        name = self._environment.template_name
        database = await _connect(self._url, database=name)
        try:
            await database.execute("VACUUM (ANALYZE)")
        finally:
            await database.close()
        if self._account:
            give_tree(self._folder, Account("root", 0, 0))
        write_json(self._folder / "template.json", {"database": name, "role": name})
        # The database leaves the role's hands: REASSIGN OWNED in a clone would take it along, as a shared object.
        await run(connection, "ALTER DATABASE %I OWNER TO CURRENT_USER", name)
        await run(connection, "ALTER ROLE %I NOLOGIN PASSWORD NULL", name)
        await run(connection, "ALTER DATABASE %I ALLOW_CONNECTIONS false", name)

    def _configuration(self, password: str, *, files: Path, mail: Path) -> dict[str, Any]:
        name, server = self._environment.template_name, urlsplit(self._url)
        return {
            "store_id": "template",
            "name": "template",
            "host": "template.localhost",
            "port": 1,
            "url": "http://template.localhost/",
            "database": {
                "host": server.hostname or "127.0.0.1",
                "port": server.port or 5432,
                "name": name,
                "user": name,
                "password": password,
            },
            "secret_key": secrets.token_urlsafe(32),
            "admin": {
                "username": "admin@template.localhost",
                "password": secrets.token_urlsafe(24),
            },
            "parameters": self._engine.complete_parameters({}),
            "data_dir": str(files),
            "mail_dir": str(mail),
        }


async def drop(connection: Connection, name: str) -> None:
    """Take a template's database and role away; nothing happens when there are none."""
    if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await run(connection, "DROP DATABASE %I WITH (FORCE)", name)
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        await run(connection, "DROP ROLE %I", name)


async def _connect(url: str, database: str | None = None) -> Connection:
    try:
        return await connect(url, database=database)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise NodeError(f"The stores' database server does not answer: {error}.") from None
