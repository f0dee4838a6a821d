"""The connection pool: every wait has a limit, and the driver's errors become the platform's own.

`Database` yields `Repositories`. It also notifies and listens to PostgreSQL's channels.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import asyncpg

from storefleet.core.errors import DatabaseUnavailable
from storefleet.database.connection import Connection
from storefleet.database.errors import UNAVAILABLE_ERRORS, translate_errors
from storefleet.database.repositories import Repositories
from storefleet.observability import logs

log = logs.get_logger(__name__)

JSON_CODEC: dict[str, Any] = {
    "encoder": partial(json.dumps, separators=(",", ":")),
    "decoder": json.loads,
    "schema": "pg_catalog",
}
_CLOSE_TIMEOUT_S = 3
_RELISTEN_DELAY_S = 0.5


async def _register_json_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for type_name in ("json", "jsonb"):
        await connection.set_type_codec(type_name, **JSON_CODEC)


async def _skip_reset(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Save a round trip per use: no statement here changes a session's settings.

    The driver itself ends a transaction that is still open.
    """


class Database:
    """A pool of connections to the platform's database."""

    def __init__(self, url: str, *, max_connections: int = 10, timeout_s: float = 5) -> None:
        """Configure the pool without connecting.

        Args:
            url: `postgresql://…`
            max_connections: Limit of pooled connections; listeners have their own.
            timeout_s: Limit of waiting for a connection, and of each statement.
        """
        self._url = url
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._pending_channels: set[str] = set()
        self._local_wakes: dict[str, Callable[[], bool]] = {}
        self._notify_task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open_pool(self) -> AsyncIterator["Database"]:
        """Open the pool without connecting: PostgreSQL may become available later."""
        self._pool = pool = asyncpg.create_pool(
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
        await pool
        try:
            yield self
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(pool.close(), timeout=_CLOSE_TIMEOUT_S)
            pool.terminate()

    @asynccontextmanager
    async def autocommit(self, *, notify: str | None = None) -> AsyncIterator[Repositories]:
        """Yield repositories outside a transaction: every statement commits by itself.

        Args:
            notify: A channel that is notified after the block.

        Raises:
            DatabaseUnavailable: No connection is free in time, or PostgreSQL does not answer.
        """
        async with self._acquire_connection(notify) as connection:
            yield Repositories(connection)

    @asynccontextmanager
    async def transaction(self, *, notify: str | None = None) -> AsyncIterator[Repositories]:
        """Yield repositories inside a transaction, which an exception rolls back.

        Args:
            notify: A channel that is notified after the commit.

        Raises:
            DatabaseUnavailable: No connection is free in time, or PostgreSQL does not answer.
        """
        async with self._acquire_connection(notify) as connection, connection.transaction():
            yield Repositories(connection)

    @asynccontextmanager
    async def _acquire_connection(self, notify: str | None = None) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise RuntimeError("The pool is not open; use Database inside open_pool().")
        with translate_errors():
            async with self._pool.acquire(timeout=self._timeout_s) as connection:
                yield connection
        if notify is not None:
            self._schedule_notify(notify)

    def set_local_wake(self, channel: str, wake: Callable[[], bool] | None) -> None:
        """Wake a channel's only listener by a call in this process instead of NOTIFY.

        Args:
            channel: The channel that `transaction(notify=…)` names.
            wake: Called after each commit; NOTIFY is used when it returns False. None removes it.
        """
        if wake is not None:
            self._local_wakes[channel] = wake
        elif self._local_wakes.pop(channel, None):
            self._schedule_notify(channel)

    def _schedule_notify(self, channel: str) -> None:
        """Notify listeners once for many commits.

        A NOTIFY inside the transactions would make each commit wait for all before it.
        """
        wake = self._local_wakes.get(channel)
        if wake is not None and wake():
            return
        self._pending_channels.add(channel)
        if self._notify_task is None or self._notify_task.done():
            self._notify_task = asyncio.create_task(self._notify_channels())

    async def _notify_channels(self) -> None:
        while self._pending_channels:
            channels, self._pending_channels = list(self._pending_channels), set()
            with suppress(DatabaseUnavailable):  # listeners also poll, only less often
                async with self._acquire_connection() as connection:
                    await connection.execute(
                        "SELECT pg_notify(channel, '') FROM unnest($1::text[]) channel", channels
                    )

    async def check_connection(self) -> None:
        """Raise DatabaseUnavailable if PostgreSQL does not answer."""
        async with self._acquire_connection() as connection:
            await connection.fetchval("SELECT 1")

    async def listen(
        self, channel: str, on_payload: Callable[[str], Awaitable[None] | None]
    ) -> None:
        """Call `on_payload` with every payload of a channel; runs until it is cancelled.

        After each (re)connect it is called with "": notifications may have been missed before.
        """
        while True:
            try:
                await self._listen_once(channel, on_payload)
            except (*UNAVAILABLE_ERRORS, asyncpg.PostgresError) as error:
                log.warning("listener_connection_lost", channel=channel, error=str(error))
                await asyncio.sleep(_RELISTEN_DELAY_S)

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
