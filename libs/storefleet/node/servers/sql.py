"""What the node says to PostgreSQL beyond the platform's queries: about roles and databases by name."""

from urllib.parse import urlsplit

import asyncpg

from storefleet.database.connection import OwnedConnection

Connection = OwnedConnection


def extract_address(url: str) -> str:
    """Host and port of a URL, without its secrets."""
    return urlsplit(url.partition(",")[0]).netloc.rpartition("@")[2]


async def open_connection(
    url: str, *, database: str | None = None, timeout_s: float = 10
) -> Connection:
    """A connection as the role of the URL; roles that it makes are its own to use, whatever the server's default."""
    settings = {"createrole_self_grant": "set, inherit", "application_name": "storefleet node"}
    return await asyncpg.connect(
        url, database=database, timeout=timeout_s, server_settings=settings
    )


async def execute_formatted(connection: Connection, statement: str, *names: str) -> None:
    """Execute a statement, its %I and %L filled in and quoted by the server."""
    filled = await connection.fetchval(
        "SELECT format($1, VARIADIC $2::text[])", statement, list(names)
    )
    await connection.execute(filled)
