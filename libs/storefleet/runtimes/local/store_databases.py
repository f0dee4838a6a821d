"""Adapter to the PostgreSQL server of the local stores' databases.

It clones and drops databases and roles. The platform's own database has another adapter,
`storefleet.database`.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from storefleet.core.errors import DatabaseUnavailable, RuntimeUnavailable
from storefleet.database.connection import Connection
from storefleet.database.errors import translate_errors
from storefleet.observability.failpoints import effect
from storefleet.runtimes.local.file_layout import StoreTemplate

_SCRAM_ITERATIONS = 4096
#: Lets a role assign a database to a role that it has created, whatever the server's default is.
_SESSION_SETTINGS = {
    "createrole_self_grant": "set, inherit",
    "application_name": "storefleet stores",
}


class StoreDatabases:
    """Access to the server, as a role that may create databases and roles and owns no other."""

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5432

    @asynccontextmanager
    async def lock_store(self, name: str) -> AsyncIterator["StoreSession"]:
        """Lock one store's role and database for the time of the context.

        The caller owns the operation's lease. Any other holder of the lock has lost its lease, so
        its session is terminated.

        Args:
            name: The store's database and role.

        Raises:
            RuntimeUnavailable: The server does not answer.
        """
        async with self._connect(self._url) as connection:
            await self._acquire_lock(connection, name)
            yield StoreSession(self, connection, name)

    async def check_available(self) -> None:
        """Check that the server answers.

        Raises:
            RuntimeUnavailable: It does not.
        """
        async with self._connect(self._url) as connection:
            await connection.fetchval("SELECT 1")

    @asynccontextmanager
    async def connect_to(self, database: str) -> AsyncIterator[Connection]:
        """Connect to the database of one store."""
        parts = urlsplit(self._url)
        async with self._connect(parts._replace(path=f"/{database}").geturl()) as connection:
            yield connection

    @asynccontextmanager
    async def _connect(self, url: str) -> AsyncIterator[Connection]:
        try:
            with translate_errors():
                connection = await asyncpg.connect(
                    url, timeout=5, command_timeout=60, server_settings=_SESSION_SETTINGS
                )
                try:
                    yield connection
                finally:
                    connection.terminate()
        except DatabaseUnavailable as error:
            raise RuntimeUnavailable(
                "The stores' database server does not answer. Retry in a few seconds."
            ) from error

    async def _acquire_lock(self, connection: Connection, name: str) -> None:
        while not await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name
        ):
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, 0)",
                name,
            )


class StoreSession:
    """One store's role and database, under the store's lock."""

    def __init__(self, server: StoreDatabases, connection: Connection, name: str) -> None:
        self._server = server
        self._connection = connection
        self._name = name

    async def ensure_role(self, password: str) -> None:
        """Create the role or set its password; only a SCRAM verifier is sent."""
        verb = "ALTER" if await self._role_exists() else "CREATE"
        with effect("role"):
            await self._execute_formatted(
                f"{verb} ROLE %I LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT 20 PASSWORD %L",
                make_scram_verifier(password),
            )

    async def clone_template(self, template: StoreTemplate) -> None:
        """Clone the template database and assign everything in it to the store's role."""
        if not await self._database_exists():
            with effect("clone_database"):
                pattern = "CREATE DATABASE %I TEMPLATE %I OWNER %I STRATEGY file_copy"
                await self._execute_formatted(pattern, template.database, self._name)
        with effect("own_database"):
            await self._execute_formatted("REVOKE ALL ON DATABASE %I FROM PUBLIC")
            async with self._server.connect_to(self._name) as inside:
                statement = await inside.fetchval(
                    "SELECT format('REASSIGN OWNED BY %I TO %I', $1::text, $2::text)",
                    template.role,
                    self._name,
                )
                await inside.execute(statement)

    async def drop_database_and_role(self) -> None:
        """Drop database and role, if they exist."""
        with effect("drop_database"):
            await self._execute_formatted("DROP DATABASE IF EXISTS %I WITH (FORCE)")
        with effect("drop_role"):
            await self._execute_formatted("DROP ROLE IF EXISTS %I")

    async def list_leftovers(self) -> list[str]:
        """List which of database and role still exist, for people."""
        found = []
        if await self._database_exists():
            found.append(f"database {self._name}")
        if await self._role_exists():
            found.append(f"role {self._name}")
        return found

    async def _database_exists(self) -> bool:
        return bool(
            await self._connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", self._name
            )
        )

    async def _role_exists(self) -> bool:
        return bool(
            await self._connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", self._name)
        )

    async def _execute_formatted(self, pattern: str, *arguments: str) -> None:
        """Execute a statement with identifiers, which cannot be parameters.

        The server quotes them (`format`); the store's name is the first argument.
        """
        values = (self._name, *arguments)
        placeholders = ", ".join(f"${number}::text" for number in range(2, len(values) + 2))
        statement = await self._connection.fetchval(
            f"SELECT format($1, {placeholders})", pattern, *values
        )
        await self._connection.execute(statement)


def make_scram_verifier(password: str) -> str:
    """Make a SCRAM-SHA-256 verifier (RFC 5803); no statement or log contains the password."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(part).decode() for part in (salt, stored, server)
    )
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt64}${stored64}:{server64}"
