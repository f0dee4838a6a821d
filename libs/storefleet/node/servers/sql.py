"""The adapter to PostgreSQL servers for administrative statements about roles and databases.

It opens single connections and raises `ServerError` instead of the driver's errors. The
platform's own queries go through `storefleet.database`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from storefleet.core.errors import StorefleetError
from storefleet.database.connection import OwnedConnection


class ServerError(StorefleetError):
    """A PostgreSQL server cannot be used; the text is the server's or the driver's."""


class ServerUnavailable(ServerError):
    """The server does not answer, still starts, or has no free connection: retry later."""


class PasswordRejected(ServerError):
    """The server rejects the password of the role."""


class StatementRejected(ServerError):
    """The server rejects a statement or a connection for another reason."""


class ServerConnection:
    """A connection for administrative statements."""

    def __init__(self, connection: OwnedConnection) -> None:
        """Wrap an open connection of the driver."""
        self._connection = connection

    async def execute(self, statement: str) -> None:
        """Execute a statement without parameters.

        Raises:
            ServerError: The server is unavailable or rejects the statement.
        """
        with translate_errors():
            await self._connection.execute(statement)

    async def execute_formatted(self, statement: str, *values: str) -> None:
        """Execute a statement with quoted names and literals; the server quotes them.

        Args:
            statement: A statement with `%I` for names and `%L` for literals.
            values: The names and literals in their order.

        Raises:
            ServerError: The server is unavailable or rejects the statement.
        """
        formatted = await self.fetch_value(
            "SELECT format($1, VARIADIC $2::text[])", statement, list(values)
        )
        await self.execute(formatted)

    async def fetch_value(self, query: str, *args: Any) -> Any:
        """Run a query and return the first column of its first row.

        Args:
            query: A query with positional parameters (`$1`).
            args: The parameters.

        Returns:
            The value; None if there is no row.

        Raises:
            ServerError: The server is unavailable or rejects the query.
        """
        with translate_errors():
            return await self._connection.fetchval(query, *args)

    async def close(self) -> None:
        """Close the connection."""
        with translate_errors():
            await self._connection.close()


async def open_connection(
    url: str, *, database: str | None = None, timeout_s: float = 10
) -> ServerConnection:
    """Open a connection as the role of a URL; the caller closes it.

    The role may act as any role that it creates, whatever the server's default is.

    Args:
        url: `postgresql://role:password@host:port/database`
        database: The database to use instead of the URL's.
        timeout_s: The maximum time to connect, in seconds.

    Returns:
        The connection.

    Raises:
        ServerUnavailable: The server does not answer.
        PasswordRejected: The password is wrong.
        ServerError: The connection is rejected, or the URL is invalid.
    """
    settings = {"createrole_self_grant": "set, inherit", "application_name": "storefleet node"}
    with translate_errors():
        return ServerConnection(
            await asyncpg.connect(
                url, database=database, timeout=timeout_s, server_settings=settings
            )
        )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `ServerError` for every error of the driver.

    Raises:
        ServerUnavailable: A later attempt may succeed.
        PasswordRejected: The password is wrong.
        StatementRejected: The server reported another error.
        ServerError: The driver was used wrongly, for example with an invalid URL.
    """
    try:
        yield
    except asyncpg.InvalidPasswordError as error:
        raise PasswordRejected(str(error)) from error
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.TooManyConnectionsError,
    ) as error:
        raise ServerUnavailable(str(error) or type(error).__name__) from error
    except asyncpg.PostgresError as error:
        raise StatementRejected(str(error)) from error
    except asyncpg.InterfaceError as error:
        raise ServerError(str(error)) from error


def extract_address(url: str) -> str:
    """Extract host and port of a server from its URL, without user and password.

    Args:
        url: The URL, or several URLs separated by commas; the first one counts.

    Returns:
        `host:port`
    """
    return urlsplit(url.partition(",")[0]).netloc.rpartition("@")[2]
