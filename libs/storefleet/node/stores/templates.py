"""Build the template of an engine version: a template database and a folder of files.

New stores of the local runtime are copies of both. A complete template accepts no connections.
"""

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from storefleet.engines.descriptor import Engine
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import (
    change_tree_owner,
    create_owned_folder,
    read_json,
    write_json,
)
from storefleet.node.processes.launcher import ChildProcess, read_last_line, run_to_completion
from storefleet.node.servers.sql import (
    ServerConnection,
    ServerError,
    extract_address,
    open_connection,
)
from storefleet.node.stores.environments import (
    EngineEnvironment,
    ReportProgress,
    list_outdated_folders,
    make_template_name,
)
from storefleet.node.system_user import SystemAccount

TEMPLATE_TIMEOUT_S = 300.0


class EngineTemplate:
    """The template of one engine environment.

    Args:
        engine: The engine.
        environment: The environment whose template command fills the template.
        url: The stores' database server, as the role that owns the stores' databases.
        records_dir: The folder of the process records.
        log_file: The log of the template command.
        account: The system account that the engine runs as; None is the current user.
    """

    def __init__(
        self,
        engine: Engine,
        environment: EngineEnvironment,
        *,
        url: str,
        records_dir: Path,
        log_file: Path,
        account: SystemAccount | None,
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._url = url
        self._records_dir = records_dir
        self._log_file = log_file
        self._account = account
        self._folder = environment.folder / "template"

    async def ensure(self, report_progress: ReportProgress, *, record_file: Path) -> None:
        """Build the template unless it is complete; an incomplete one is rebuilt.

        Args:
            report_progress: Receives a status message before a build.
            record_file: The template's record, which exists while the runtime may use the
                template. It is deleted before a build; `publish_template` writes it afterwards.

        Raises:
            NodeError: The template cannot be built.
        """
        connection = await _connect(self._url)
        try:
            if await self._is_complete(connection):
                return
            await asyncio.to_thread(record_file.unlink, missing_ok=True)
            report_progress(f"preparing the template of {self._engine.title} (once)")
            password = await self._create_database(connection)
            await self._run_template_command(password)
            await self._seal_template(connection)
        except (ServerError, OSError) as error:
            raise NodeError(
                f"The template of the engine {self._engine.name} cannot be built: {error}. "
                f"Read the log {self._log_file}."
            ) from None
        finally:
            await connection.close()

    async def delete_outdated(self) -> None:
        """Delete the environments and templates of older content of this engine version.

        Stores are not affected: they have copies of their own.

        Raises:
            NodeError: The database server does not answer.
            ServerError: A template database cannot be dropped.
        """
        for folder in list_outdated_folders(self._environment):
            connection = await _connect(self._url)
            try:
                await drop_template(
                    connection,
                    make_template_name(self._environment.engine, folder.name.rpartition("-")[2]),
                )
            finally:
                await connection.close()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _is_complete(self, connection: ServerConnection) -> bool:
        name = self._environment.template_name
        allows_connections = await connection.fetch_value(
            "SELECT datallowconn FROM pg_database WHERE datname = $1", name
        )
        return allows_connections is False and bool(read_json(self._folder / "template.json"))

    async def _create_database(self, connection: ServerConnection) -> str:
        """Create an empty database with a role of its own, and return the role's password."""
        name, password = self._environment.template_name, secrets.token_urlsafe(24)
        await drop_template(connection, name)
        await connection.execute_formatted("CREATE ROLE %I LOGIN PASSWORD %L", name, password)
        await connection.execute_formatted(
            "CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING 'UTF8' STRATEGY file_copy",
            name,
            name,
        )
        await connection.execute_formatted("REVOKE ALL ON DATABASE %I FROM PUBLIC", name)
        return password

    async def _run_template_command(self, password: str) -> None:
        """Run the engine's template command in an empty folder."""
        assert self._engine.local is not None  # noqa: S101 - an environment exists
        shutil.rmtree(self._folder, ignore_errors=True)
        create_owned_folder(self._folder, self._account)
        files, mail = (
            create_owned_folder(self._folder / name, self._account) for name in ("files", "mail")
        )
        configuration = self._folder / "store.json"
        write_json(
            configuration,
            self._make_configuration(password, files=files, mail=mail),
            owner=self._account,
        )
        child = ChildProcess(
            name=f"engine-{self._engine.name}-template",
            argv=self._environment.make_command(self._engine.local.template),
            cwd=files,
            log_file=self._log_file,
            env=self._environment.make_variables(
                STORE_CONFIG=str(configuration), STORE_ID="template", HOME=str(files)
            ),
            account=self._account,
            readable_paths=(self._folder, *self._environment.readable_paths),
        )
        try:
            code = await run_to_completion(
                child, records_dir=self._records_dir, timeout_s=TEMPLATE_TIMEOUT_S
            )
        except TimeoutError as error:
            raise NodeError(
                f"The template of the engine {self._engine.name} is not ready in time: {error}. "
                f"Read the log {self._log_file}."
            ) from None
        finally:
            configuration.unlink(missing_ok=True)
        if code != 0:
            raise NodeError(
                f"The template of the engine {self._engine.name} cannot be built: "
                f"{read_last_line(self._log_file)}. Read the log {self._log_file}."
            )

    async def _seal_template(self, connection: ServerConnection) -> None:
        """Make database and files read-only; the last statement marks the template as complete."""
        name = self._environment.template_name
        database = await _connect(self._url, database=name)
        try:
            await database.execute("VACUUM (ANALYZE)")
        finally:
            await database.close()
        if self._account:
            change_tree_owner(self._folder, SystemAccount("root", 0, 0))
        write_json(self._folder / "template.json", {"database": name, "role": name})
        # The role must not own the template database: REASSIGN OWNED in a clone would also change
        # the owner of the template, because a database is a shared object.
        await connection.execute_formatted("ALTER DATABASE %I OWNER TO CURRENT_USER", name)
        await connection.execute_formatted("ALTER ROLE %I NOLOGIN PASSWORD NULL", name)
        await connection.execute_formatted("ALTER DATABASE %I ALLOW_CONNECTIONS false", name)

    def _make_configuration(self, password: str, *, files: Path, mail: Path) -> dict[str, Any]:
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


async def drop_template(connection: ServerConnection, name: str) -> None:
    """Drop a template's database and role if they exist.

    Args:
        connection: A connection as the role that created them.
        name: The name of both.

    Raises:
        ServerError: The server is unavailable or rejects a statement.
    """
    if await connection.fetch_value("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await connection.execute_formatted("DROP DATABASE %I WITH (FORCE)", name)
    if await connection.fetch_value("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        await connection.execute_formatted("DROP ROLE %I", name)


async def _connect(url: str, database: str | None = None) -> ServerConnection:
    try:
        return await open_connection(url, database=database)
    except ServerError as error:
        raise NodeError(
            f"The stores' database server at {extract_address(url)} cannot be used: {error}. "
            "Check its address, user and password."
        ) from None
