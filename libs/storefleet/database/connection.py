"""The part of a PostgreSQL connection that the repositories use, as types that mypy checks.

In asyncpg's types a connection from the pool is a proxy that shares no base class with a plain
connection. Both satisfy these protocols.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Record(Protocol):
    """A row of a result: values by column name or by position."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterator[str]:
        """Iterate over the column names."""


class Connection(Protocol):
    """A connection that runs statements with positional parameters (`$1`)."""

    async def execute(self, query: str, *args: Any) -> str:
        """Run a statement and return its command tag, such as `UPDATE 1`."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Record]:
        """Run a statement and return all its rows."""

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Run a statement and return its first row, or None if there is none."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Run a statement and return the first column of its first row, or None."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Open a transaction for an `async with` block; an exception rolls it back."""


class OwnedConnection(Connection, Protocol):
    """A connection outside the pool; the function that opened it closes it."""

    async def close(self) -> None:
        """Close the connection."""


async def fetch_one(connection: Connection, query: str, *args: Any) -> Record:
    """Run a statement that always returns a row, and return that row.

    Raises:
        LookupError: The statement returned no row.
    """
    record = await connection.fetchrow(query, *args)
    if record is None:
        raise LookupError(f"The statement returned no row: {query.strip().splitlines()[0]}")
    return record
