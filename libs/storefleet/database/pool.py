"""The pool: connections with a limit on every wait, and one place where the driver's errors become ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import asyncpg

from storefleet.core.errors import DatabaseUnavailable
from storefleet.observability import logs

log = logs.get_logger(__name__)

JSON_CODEC = {
    "encoder": partial(json.dumps, separators=(",", ":")),
    "decoder": json.loads,
    "schema": "pg_catalog",
}

Connection = Any  # an asyncpg connection; its stubs and the pool's proxy do not agree on a type
Record = asyncpg.Record

_UNAVAILABLE_ERRORS = (
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
def translate_errors() -> Iterator[None]:
    """Turn every way of being away into DatabaseAway."""
    try:
        yield
    except _UNAVAILABLE_ERRORS as error:
        raise DatabaseUnavailable(
            "The database does not answer at the moment; try again in a few seconds."
        ) from error


async def _register_json_codecs(connection: Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, **JSON_CODEC)


async def _skip_reset(_connection: Connection) -> None:
    """Nothing to reset: no statement of ours changes a session, and the driver itself ends an open transaction."""


class Database:
    """A pool of connections to the platform's database."""

    def __init__(self, url: str, *, max_connections: int = 10, timeout_s: float = 5) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._pool: Any = None
        self._pending_channels: set[str] = set()
        self._local_wakes: dict[str, Callable[[], bool]] = {}
        self._notify_task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open_pool(self) -> AsyncIterator["Database"]:
        """Open without a connection: a database that is away now may come later."""
        self._pool = asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._max_connections,
            max_inactive_connection_lifetime=60,
            max_queries=1_000_000,
            command_timeout=self._timeout_s,
            timeout=self._timeout_s,
            init=_register_json_codecs,
            reset=_skip_reset,
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
    async def connection(self, *, notify: str | None = None) -> AsyncIterator[Connection]:
        """Borrow a connection, and tell the channel `tells` after its work; raises DatabaseAway."""
        with translate_errors():
            async with self._pool.acquire(timeout=self._timeout_s) as connection:
                yield connection
        if notify is not None:
            self._schedule_notify(notify)

    @asynccontextmanager
    async def transaction(self, *, notify: str | None = None) -> AsyncIterator[Connection]:
        """Borrow a connection inside a transaction, and tell the channel after it; raises DatabaseAway."""
        async with self.connection(notify=notify) as connection, connection.transaction():
            yield connection

    def set_local_wake(self, channel: str, wake: Callable[[], bool] | None) -> None:
        """From now on tell the channel by this call, as long as it returns True, and not by NOTIFY; None ends it."""
        if wake is not None:
            self._local_wakes[channel] = wake
        elif self._local_wakes.pop(channel, None):
            self._schedule_notify(channel)

    def _schedule_notify(self, channel: str) -> None:
        """Wake whoever listens, once for many commits: a NOTIFY inside them would make each wait for all before it."""
        wake = self._local_wakes.get(channel)
        if wake is not None and wake():
            return
        self._pending_channels.add(channel)
        if self._notify_task is None or self._notify_task.done():
            self._notify_task = asyncio.create_task(self._notify_channels())

    async def _notify_channels(self) -> None:
        while self._pending_channels:
            channels, self._pending_channels = list(self._pending_channels), set()
            with suppress(DatabaseUnavailable):  # listeners look by themselves, too, only later
                async with self.connection() as connection:
                    await connection.execute(
                        "SELECT pg_notify(channel, '') FROM unnest($1::text[]) channel", channels
                    )

    async def check_connection(self) -> None:
        """Raise DatabaseAway if it does not answer."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def listen(
        self, channel: str, on_payload: Callable[[str], Awaitable[None] | None]
    ) -> None:
        """Call `heard` with every payload, and with "" after each (re)connect; runs until cancelled."""
        while True:
            try:
                await self._listen_once(channel, on_payload)
            except (*_UNAVAILABLE_ERRORS, asyncpg.PostgresError) as error:
                log.warning("listen_lost", channel=channel, error=str(error))
                await asyncio.sleep(0.5)

    async def _listen_once(
        self, channel: str, on_payload: Callable[[str], Awaitable[None] | None]
    ) -> None:
        connection = await asyncpg.connect(self._url, timeout=self._timeout_s)
        payloads: asyncio.Queue[str | None] = asyncio.Queue()
        try:
            connection.add_termination_listener(lambda *_: payloads.put_nowait(None))
            await connection.add_listener(channel, lambda *args: payloads.put_nowait(str(args[3])))
            payloads.put_nowait("")
            while (payload := await payloads.get()) is not None:
                result = on_payload(payload)
                if result is not None:
                    await result
        finally:
            connection.terminate()
