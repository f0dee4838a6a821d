"""The pool: connections with a limit on every wait, and one place where the driver's errors become ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import asyncpg

from storefleet.core.errors import DatabaseAway
from storefleet.observability import logs

log = logs.get(__name__)

type_codec = {
    "encoder": partial(json.dumps, separators=(",", ":")),
    "decoder": json.loads,
    "schema": "pg_catalog",
}

Connection = Any  # an asyncpg connection; its stubs and the pool's proxy do not agree on a type
Record = asyncpg.Record

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.exceptions.OperatorInterventionError,  # shutting down, starting up, terminated, statement timeout
    asyncpg.exceptions.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.exceptions.PostgresSystemError,
    asyncpg.exceptions.TransactionRollbackError,  # a deadlock's victim may simply come again
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn every way of being away into DatabaseAway."""
    try:
        yield
    except _AWAY as error:
        raise DatabaseAway(
            "The database does not answer at the moment; try again in a few seconds."
        ) from error


async def _prepare(connection: Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, **type_codec)


async def _keep(_connection: Connection) -> None:
    """Nothing to reset: no statement of ours changes a session, and the driver itself ends an open transaction."""


class Database:
    """A pool of connections to the platform's database."""

    def __init__(self, url: str, *, connections: int = 10, timeout: float = 5) -> None:
        self._url = url
        self._timeout = timeout
        self._connections = connections
        self._pool: Any = None
        self._told: set[str] = set()
        self._served: dict[str, Callable[[], bool]] = {}
        self._teller: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Database"]:
        """Open without a connection: a database that is away now may come later."""
        self._pool = asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections,
            max_inactive_connection_lifetime=60,
            max_queries=1_000_000,
            command_timeout=self._timeout,
            timeout=self._timeout,
            init=_prepare,
            reset=_keep,
            server_settings={
                "application_name": "storefleet",
                "idle_in_transaction_session_timeout": "30000",
            },
        )
        await self._pool
        try:
            yield self
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), timeout=3)
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self, *, tells: str | None = None) -> AsyncIterator[Connection]:
        """Borrow a connection, and tell the channel `tells` after its work; raises DatabaseAway."""
        with translated():
            async with self._pool.acquire(timeout=self._timeout) as connection:
                yield connection
        if tells is not None:
            self._tell_soon(tells)

    @asynccontextmanager
    async def transaction(self, *, tells: str | None = None) -> AsyncIterator[Connection]:
        """Borrow a connection inside a transaction, and tell the channel after it; raises DatabaseAway."""
        async with self.connection(tells=tells) as connection, connection.transaction():
            yield connection

    def serve(self, channel: str, wake: Callable[[], bool] | None) -> None:
        """From now on tell the channel by this call, as long as it returns True, and not by NOTIFY; None ends it."""
        if wake is not None:
            self._served[channel] = wake
        elif self._served.pop(channel, None):
            self._tell_soon(channel)

    def _tell_soon(self, channel: str) -> None:
        """Wake whoever listens, once for many commits: a NOTIFY inside them would make each wait for all before it."""
        wake = self._served.get(channel)
        if wake is not None and wake():
            return
        self._told.add(channel)
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._told:
            channels, self._told = list(self._told), set()
            with suppress(DatabaseAway):  # listeners look by themselves, too, only later
                async with self.connection() as connection:
                    await connection.execute(
                        "SELECT pg_notify(channel, '') FROM unnest($1::text[]) channel", channels
                    )

    async def check(self) -> None:
        """Raise DatabaseAway if it does not answer."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def listen(self, channel: str, heard: Callable[[str], Awaitable[None] | None]) -> None:
        """Call `heard` with every payload, and with "" after each (re)connect; runs until cancelled."""
        while True:
            try:
                await self._listen_once(channel, heard)
            except (*_AWAY, asyncpg.PostgresError) as error:
                log.warning("listen_lost", channel=channel, error=str(error))
                await asyncio.sleep(0.5)

    async def _listen_once(
        self, channel: str, heard: Callable[[str], Awaitable[None] | None]
    ) -> None:
        connection = await asyncpg.connect(self._url, timeout=self._timeout)
        payloads: asyncio.Queue[str | None] = asyncio.Queue()
        try:
            connection.add_termination_listener(lambda *_: payloads.put_nowait(None))
            await connection.add_listener(channel, lambda *args: payloads.put_nowait(str(args[3])))
            payloads.put_nowait("")
            while (payload := await payloads.get()) is not None:
                result = heard(payload)
                if result is not None:
                    await result
        finally:
            connection.terminate()
